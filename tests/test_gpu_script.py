"""`benchmarks/gpu.sh`: what is checked and measured where there is a GPU."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.cases import BUILDERS
from tests.conftest import REPOSITORY

SCRIPT = REPOSITORY / "benchmarks" / "gpu.sh"


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An interpreter that says what it is asked to do, and finds it well done but for rows of imagenet."""
    path = tmp_path / "python"
    path.write_text('#!/bin/sh\necho "$@"\ncase "$*" in *imagenet*) exit 3;; esac\n')
    path.chmod(0o755)
    return path


def run(python: Path, *arguments: object, limit: int = 60) -> tuple[list[str], subprocess.CompletedProcess[str]]:
    """Runs the script; returns what it says of its steps, and the process."""
    environment = os.environ | {"PYTHON": str(python), "LIMIT": str(limit)}
    command = ["bash", str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, env=environment, cwd=python.parent, capture_output=True, text=True, check=False)
    return done.stdout.splitlines(), done


def test_every_row_and_test_that_needs_a_gpu_has_a_step(python: Path) -> None:
    steps, done = run(python, "out")
    names = [line.partition(":")[0] for line in steps]
    assert (python.parent / "out" / "steps.txt").read_text().splitlines() == steps
    failing = {line.partition(":")[0] for line in steps if "exit status 0 after" not in line}
    assert failing == {"sac_update_imagenet", "imagenet_step"}
    assert (done.returncode, done.stderr) == (1, "")
    asked = [(python.parent / "out" / f"{name}.out").read_text().split() for name in names]
    rows = [words[words.index("--only") + 1] for words in asked if "--only" in words]
    assert {"sac_update_ik", "sac_update_imagenet", "ik_step", "train_loop"} <= set(rows) <= set(BUILDERS)
    files = [path for path in (REPOSITORY / "tests").rglob("test_*.py") if path.name != Path(__file__).name]
    needing = {path for path in files if re.search(r"\b(mark\.gpu|DEVICES)\b", path.read_text(encoding="utf-8"))}
    assert {REPOSITORY / words[-1] for words in asked if "pytest" in words} == needing


def test_steps_can_be_chosen_and_do_not_begin_when_the_time_is_over(python: Path) -> None:
    steps, done = run(python, "out", "ik_step", "doctor")
    assert [line.partition(" after")[0] for line in steps] == ["doctor: exit status 0", "ik_step: exit status 0"]
    assert done.returncode == 0
    steps, done = run(python, "out", "ik_step", limit=0)
    assert (steps, done.returncode) == (["ik_step: not begun, the time is over"], 1)


def test_what_cannot_be_done_is_said(python: Path) -> None:
    steps, done = run(python, "out", "ik_stpe")
    assert (steps, done.returncode, done.stderr) == ([], 1, "gpu.sh: no step is called ik_stpe\n")
    steps, done = run(Path("/bin/false"), python.parent / "other")
    assert (steps, done.returncode) == ([], 1)
    assert "PyTorch sees no CUDA device" in done.stderr
    assert not (python.parent / "other").exists()
