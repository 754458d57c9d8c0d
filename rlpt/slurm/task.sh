# Runs the jobs of one task side by side. SIGUSR1, some time before the time limit, makes them save and stop, and the
# task puts itself back into the queue. SIGTERM makes them save and stop, and no more: a cancelled task stays away, and
# a preempted one is put back by Slurm. Slurm may send either to this script alone, which passes it on.
read -ra jobs <<<"${tasks[SLURM_ARRAY_TASK_ID]}"
if [[ $image_state && $(stat -L -c "%s %Y" "$image" 2>&1) != "$image_state" ]]; then
  echo "failed: ${jobs[*]}: $image is not what it was when they were submitted: \`rlpt run\` submits them again"
  exit 1
fi
# The packages are those of the lock files, whatever a module of the cluster puts before them.
unset PYTHONPATH PYTHONHOME

# By the number of a job: its process, where this task's part of its log begins, how often it was held elsewhere.
pids=() begin=() busy=()
paused=() failed=0 asked="" repeat=""

stop() { # signal, reason: the first one counts, since a time limit has its SIGTERM too
  asked=${asked:-$2} repeat=$1
  kill "-$1" "${pids[@]}" 2>/dev/null
}
trap 'stop USR1 "to make room"' USR1
trap 'stop TERM "by Slurm"' TERM

start() { # a job's number, seconds to wait before
  local job=${jobs[$1]}
  { sleep "$2" && exec "${rlpt[@]}" "$stage" "${options[@]}" --job="$job"; } >>"$runs/logs/$job.log" 2>&1 &
  pids[$1]=$!
}

conclude() { # a job's number, its status
  local job=${jobs[$1]} line
  line=$(tail -c +$((begin[$1] + 1)) "$runs/logs/$job.log" | tail -n 1)
  if [[ -d $runs/$stage/$job ]]; then
    echo "done: $job"
  elif [[ $asked && $2 =~ ^(0|75|138|143|-1)$ ]]; then # saved, held elsewhere, not yet listening, unknown
    echo "stopped $asked: $job"
    paused+=("$job")
  elif [[ $2 == 75 && ${busy[$1]:=0} -lt 20 ]]; then # for 10 minutes
    [[ ${busy[$1]} -gt 0 ]] || echo "waiting: $job: $line"
    busy[$1]=$((busy[$1] + 1))
    start "$1" 30
  elif [[ $2 == 75 ]]; then
    echo "busy: $job: still, after 10 minutes: $line"
    failed=1
  else
    echo "failed: $job: status $2: $line"
    failed=1
  fi
}

mkdir -p "$runs/logs"
for n in "${!jobs[@]}"; do
  begin[n]=$(stat -c %s "$runs/logs/${jobs[n]}.log" 2>/dev/null || echo 0)
  start "$n" 0
done
while [[ ${#pids[@]} -gt 0 ]]; do
  sleep 2 &
  wait $! # unlike a program in the foreground, a signal ends it
  if [[ $repeat ]]; then # once more for a process that was not on the list, or not yet itself, a moment ago
    sleep 2
    kill "-$repeat" "${pids[@]}" 2>/dev/null
    repeat=""
  fi
  for n in "${!pids[@]}"; do
    kill -0 "${pids[n]}" 2>/dev/null && continue
    wait "${pids[n]}" # which a signal ends too, with 138, 143 or, in bash 5.2, -1
    status=$?
    unset "pids[n]"
    conclude "$n" "$status"
  done
done

if [[ ${#paused[@]} -gt 0 && $asked == "to make room" ]]; then
  for _ in 1 2 3 4 5; do
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" && exit
    sleep 10
  done
  echo "failed: ${paused[*]}: saved, but Slurm does not take the task back: \`rlpt run\` submits them again"
  failed=1
fi
exit "$failed"
