#!/usr/bin/env bash
# Checks and measures everything that needs a GPU, the most telling first: bash benchmarks/gpu.sh FOLDER [STEP ...]
#
# Each step has a time limit and is on its own: what fails or takes too long leaves the others alone. FOLDER gets
# steps.txt, a log of each step and the benchmarks' rows as JSON. Exit status: 0 all steps went well, 1 one did not.
#   LIMIT=540       seconds after which no step begins, and the one that runs is cut off   (default: none)
#   PYTHON=python3  the interpreter that has rlpt's packages                              (default: .venv/bin/python)
set -u
folder=$(realpath -m "${1:?usage: bash benchmarks/gpu.sh FOLDER [STEP ...]}")
shift
cd "$(dirname "$0")/.." || exit
python=${PYTHON:-.venv/bin/python}
limit=${LIMIT:-86400}
declare -A chosen=()
for name in "$@"; do chosen[$name]=1; done
all=$((${#chosen[@]} == 0))
failed=0

"$python" -c "import sys, torch; sys.exit(not torch.cuda.is_available())" >/dev/null || {
  echo "gpu.sh: PyTorch sees no CUDA device, or $python has no PyTorch: \`rlpt doctor\` says more" >&2
  exit 1
}
mkdir -p "$folder"

step() { # NAME SECONDS COMMAND...: unless other steps are chosen
  local name=$1 seconds=$2 left=$((limit - SECONDS)) begun=$SECONDS status
  shift 2
  ((all)) || [[ ${chosen[$name]:-} ]] || return 0
  unset "chosen[$name]"
  if ((left <= 0)); then
    echo "$name: not begun, the time is over" | tee -a "$folder/steps.txt"
    failed=1
    return 0
  fi
  timeout --kill-after=10 $((seconds < left ? seconds : left)) "$@" >"$folder/$name.out" 2>"$folder/$name.log" </dev/null
  status=$?
  ((status == 0)) || failed=1
  echo "$name: exit status $status after $((SECONDS - begun)) s" | tee -a "$folder/steps.txt"
}

tests() { # NAME SECONDS FILE: those of a file that need a GPU, in a process of their own, since an error may spoil it
  step "$1" "$2" "$python" -m pytest -n 0 -x -q --tb=long -m gpu "$3"
}

bench() { # NAME SECONDS ROW [PRECISION]
  step "$1" "$2" "$python" -m rlpt --debug bench --device cuda --json --only "$3" --precision "${4:-float32}"
}

step doctor 60 "$python" -m rlpt doctor
tests test_captured 90 tests/agents/test_captured.py
step forms_tried 120 "$python" -m benchmarks.convolution_forms --device cuda --tried
bench sac_update_ik 120 sac_update_ik
bench sac_update_ik_tf32 90 sac_update_ik tf32
bench sac_update_ik_bfloat16 90 sac_update_ik bfloat16
bench train_loop 150 train_loop
bench ik_step 90 ik_step
bench replay_sample 60 replay_sample
tests test_batch_norm 60 tests/models/test_batch_norm.py
tests test_device_frames 60 tests/data/test_device_frames.py
tests test_paper_scale 90 tests/test_paper_scale.py
tests test_resume 120 tests/test_resume.py
bench sac_update_imagenet 180 sac_update_imagenet
bench sac_update_lite 60 sac_update_lite
step forms 90 "$python" -m benchmarks.convolution_forms --device cuda
bench imagenet_step 90 imagenet_step
bench render 90 render
bench env_step 90 env_step

for name in "${!chosen[@]}"; do
  echo "gpu.sh: no step is called $name" >&2
  failed=1
done
exit "$failed"
