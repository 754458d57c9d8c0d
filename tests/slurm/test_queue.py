"""The queue, where Slurm or its notes are not in order."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from rlpt.cli import main
from rlpt.errors import UsageError
from rlpt.slurm.queue import Queue
from tests.conftest import REPOSITORY


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script in the place of squeue."""
    script = tmp_path / "bin" / "squeue"
    script.parent.mkdir()
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    return script


def answers(script: Path, text: str) -> None:
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)


def test_states_are_shown_when_slurm_does_not_answer(answer: Path, tmp_path: Path) -> None:
    answers(answer, "echo slurmctld is down >&2; exit 1")
    note = tmp_path / "runs" / "slurm" / "7.json"
    note.parent.mkdir(parents=True)
    note.write_text(json.dumps({"tasks": [["one"]]}))
    command = ["status", str(REPOSITORY / "experiments" / "demo.toml"), "--runs", str(tmp_path / "runs")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0
    assert "4 missing" in result.stdout
    assert result.stderr == "rlpt: the queue is not known: squeue did not succeed: slurmctld is down\n"


@pytest.mark.parametrize("text", ["", "[]", '{"tasks": 3}', '{"tasks": [3]}'])
def test_a_damaged_note_is_one_line(answer: Path, tmp_path: Path, text: str) -> None:
    answers(answer, "echo '7|0|PENDING|(Resources)'")
    note = tmp_path / "slurm" / "7.json"
    note.parent.mkdir()
    note.write_text(text)
    with pytest.raises(UsageError, match=r"7\.json: damaged .*: delete it"):
        Queue(tmp_path).tasks()


def test_a_task_s_jobs_are_those_of_its_note(answer: Path, tmp_path: Path) -> None:
    answers(answer, "echo '7|1|PENDING|(Resources)'; echo '8|0|RUNNING|node1'")
    note = tmp_path / "slurm" / "7.json"
    note.parent.mkdir()
    note.write_text(json.dumps({"tasks": [["one"], ["two", "three"]]}))
    found = Queue(tmp_path).tasks()
    assert {job: (task.id, task.state, task.reason) for job, task in found.items()} == {
        "two": ("7_1", "PENDING", "Resources"),
        "three": ("7_1", "PENDING", "Resources"),
    }
