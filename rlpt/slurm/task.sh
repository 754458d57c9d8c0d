# Runs the jobs of one task side by side. SIGUSR1, some time before the time limit, makes them save and stop, and the
# task puts itself back into the queue. SIGTERM comes from Slurm, to the jobs as well: a cancelled task stays away, and
# a preempted one is put back by Slurm.
read -ra jobs <<<"${tasks[SLURM_ARRAY_TASK_ID]}"
pids=() begin=() paused=() failed=0 asked=""
trap 'asked="to make room"; kill -USR1 "${pids[@]}" 2>/dev/null' USR1
trap 'asked="by Slurm"' TERM
mkdir -p "$runs/logs"
for job in "${jobs[@]}"; do
  begin+=("$(stat -c %s "$runs/logs/$job.log" 2>/dev/null || echo 0)")
  "${rlpt[@]}" "$stage" "${options[@]}" --job="$job" >>"$runs/logs/$job.log" 2>&1 &
  pids+=($!)
done
for n in "${!jobs[@]}"; do
  job=${jobs[n]}
  while kill -0 "${pids[n]}" 2>/dev/null; do wait "${pids[n]}"; done # a signal ends `wait` early
  wait "${pids[n]}"
  status=$?
  if [[ -d $runs/$stage/$job ]]; then
    echo "done: $job"
  elif [[ $asked && $status =~ ^(0|138|143)$ ]]; then # saved, or not yet listening
    echo "stopped $asked: $job"
    paused+=("$job")
  else
    echo "failed: $job: status $status: $(tail -c +$((begin[n] + 1)) "$runs/logs/$job.log" | tail -n 1)"
    failed=1
  fi
done
if [[ ${#paused[@]} -gt 0 && $asked == "to make room" ]]; then
  exec scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
exit "$failed"
