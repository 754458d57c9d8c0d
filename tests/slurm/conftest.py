"""What the tests of the queue share: scripts in the place of Slurm's commands."""

import json
import os
from pathlib import Path

import pytest

from rlpt.slurm.queue import user


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script in the place of squeue, beside which others can lie."""
    script = tmp_path / "bin" / "squeue"
    script.parent.mkdir()
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    return script


def write_note(runs: Path, array: int, tasks: list[list[str]], owner: str | None = None) -> Path:
    note = runs / "slurm" / f"{array}.json"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps({"user": owner or user(), "tasks": tasks}))
    return note


def answers(script: Path, text: str) -> None:
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)
