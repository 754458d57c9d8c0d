#!/usr/bin/env bash
# Writes the lock files from pyproject.toml: `make lock`, after changing a dependency. Needs uv (a Python package).
# requirements.lock: everything but PyTorch. torch-cuda.lock: PyTorch's standard build and what it brings along.
set -euo pipefail
cd "$(dirname "$0")"

resolved=$(mktemp)
trap 'rm -f "$resolved"' EXIT
uv pip compile -q --universal --generate-hashes --no-annotate --no-header --python-version 3.11 --extra dev \
  ../pyproject.toml -o "$resolved"

python3 - "$resolved" <<'PY'
import pathlib, re, sys

packages = re.split(r"\n(?=\S)", pathlib.Path(sys.argv[1]).read_text().rstrip("\n"))
torch = [package for package in packages if re.match(r"(torch|triton)==|nvidia-|cuda-", package)]
others = [package for package in packages if package not in torch]
for path, content in {"requirements.lock": others, "torch-cuda.lock": torch}.items():
    pathlib.Path(path).write_text("# Written by lock.sh; do not edit.\n" + "\n".join(content) + "\n")
PY
