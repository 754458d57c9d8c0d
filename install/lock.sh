#!/usr/bin/env bash
# Writes the lock files from pyproject.toml: `make lock`, after changing a dependency. Needs uv (a Python package).
# requirements.lock: what rlpt needs beside PyTorch. torch-cuda.lock: PyTorch's standard build and what it brings along.
# dev.lock: what only working on rlpt needs; images leave it out.
set -euo pipefail
cd "$(dirname "$0")"

all=$(mktemp) needed=$(mktemp)
trap 'rm -f "$all" "$needed"' EXIT
compile() {
  uv pip compile -q --universal --generate-hashes --no-annotate --no-header --python-version 3.11 ../pyproject.toml "$@"
}
compile --extra dev -o "$all"
compile --constraint "$all" -o "$needed" # the same versions

python3 - "$all" "$needed" <<'PY'
import pathlib, re, sys

everything, needed = (re.split(r"\n(?=\S)", pathlib.Path(path).read_text().rstrip("\n")) for path in sys.argv[1:])
torch = [package for package in everything if re.match(r"(torch|triton)==|nvidia-|cuda-", package)]
names = {package.partition("==")[0] for package in needed}
files = {"torch-cuda.lock": torch, "requirements.lock": [], "dev.lock": []}
for package in everything:
    if package not in torch:
        files["requirements.lock" if package.partition("==")[0] in names else "dev.lock"].append(package)
for path, content in files.items():
    pathlib.Path(path).write_text("# Written by lock.sh; do not edit.\n" + "\n".join(content) + "\n")
PY
