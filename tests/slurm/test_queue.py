"""The queue, where Slurm or its notes are not in order."""

import errno
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from rlpt.cli import main
from rlpt.errors import UsageError
from rlpt.runs.files import whole_file
from rlpt.slurm.queue import Queue, QueuedTask, user
from tests.conftest import REPOSITORY
from tests.slurm.conftest import answers, write_note


def test_states_are_shown_when_slurm_does_not_answer(answer: Path, tmp_path: Path) -> None:
    answers(answer, "echo slurmctld is down >&2; exit 1")
    write_note(tmp_path / "runs", 7, [["one"]])
    command = ["status", str(REPOSITORY / "experiments" / "demo.toml"), "--runs", str(tmp_path / "runs")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0
    assert "4 missing" in result.stdout
    assert result.stderr == "rlpt: the queue is not known: squeue did not succeed: slurmctld is down\n"


_NO_TASKS = json.dumps({"user": user(), "tasks": []})


@pytest.mark.parametrize("text", ["", "[]", '{"tasks": [[]]}', '{"user": "a", "tasks": 3}', _NO_TASKS])
def test_a_damaged_note_is_one_line(answer: Path, tmp_path: Path, text: str) -> None:
    answers(answer, f"echo '7|0|PENDING|{user()}|(Resources)'")
    note = tmp_path / "slurm" / "7.json"
    note.parent.mkdir()
    note.write_text(text)
    with pytest.raises(UsageError, match=r"7\.json: damaged .*: delete it"):
        Queue(tmp_path).tasks()


def test_a_task_s_jobs_are_those_of_its_note(answer: Path, tmp_path: Path) -> None:
    answers(answer, f"echo '7|1|PENDING|{user()}|(Resources)'; echo '8|0|RUNNING|{user()}|node1'")
    write_note(tmp_path, 7, [["one"], ["two", "three"]])
    found = Queue(tmp_path).tasks()
    assert {job: (task.id, task.state, task.reason) for job, task in found.items()} == {
        "two": ("7_1", "PENDING", "Resources"),
        "three": ("7_1", "PENDING", "Resources"),
    }


def test_other_users_arrays_are_in_the_queue_and_their_notes_stay(answer: Path, tmp_path: Path) -> None:
    """Arrays 1 to 3 are someone else's, the third no longer in the queue; 4 and 5 are ours, the fifth has ended."""
    lines = ["1|0|RUNNING|someone|node1", "2|0|PENDING|stranger|(Resources)", f"4|0|RUNNING|{user()}|node1"]
    answers(answer, "\n".join([f'echo "$@" >{tmp_path}/asked', *(f"echo '{line}'" for line in lines)]))
    for array, owner in enumerate(["someone", "someone", "someone", user(), user()], start=1):
        write_note(tmp_path, array, [[f"job-{array}"]], owner)
    queue = Queue(tmp_path)
    found = queue.tasks()
    assert {job: task.user for job, task in found.items()} == {"job-1": "someone", "job-4": user()}
    assert f"--user={','.join(sorted(['someone', user()]))} " in (tmp_path / "asked").read_text()
    queue.forget_ended(found.values())
    assert sorted(file.stem for file in (tmp_path / "slurm").glob("*.json")) == ["1", "2", "3", "4"]


def test_an_array_that_cannot_be_noted_is_cancelled(
    answer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(answer.with_name("sbatch"), "cat >/dev/null; echo '7;cluster'")
    answers(answer.with_name("scancel"), f'echo "$@" >{tmp_path}/cancelled')

    def full(path: Path, value: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("rlpt.slurm.queue.write_json", full)
    with pytest.raises(UsageError, match=r"^array 7 is cancelled, since it cannot be noted: .*7\.json: No space left"):
        Queue(tmp_path).submit("#!/bin/sh\n", [["one"]], [])
    assert (tmp_path / "cancelled").read_text() == "7\n"


def test_the_caller_s_variables_do_not_go_before_the_script(
    answer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(answer.with_name("sbatch"), f"cat >/dev/null; env | grep ^SBATCH_ | sort >{tmp_path}/variables; echo 7")
    kept = {"SBATCH_RESERVATION": "course", "SBATCH_QOS": "normal", "SBATCH_EXPORT": "ALL"}
    ours = ("JOB_NAME", "ARRAY_INX", "TIMELIMIT", "OUTPUT", "NO_REQUEUE", "OPEN_MODE", "MEM_PER_CPU", "PARTITION")
    for name, value in (kept | {f"SBATCH_{name}": "other" for name in ours}).items():
        monkeypatch.setenv(name, value)
    options = ["requeue", "job-name=a", "array=0-1", "time=1", "output=x", "open-mode=append", "mem=1G", "partition=p"]
    script = "\n".join(["#!/bin/sh", *(f"#SBATCH --{option}" for option in options), "echo '#SBATCH --qos=x'", ""])
    (tmp_path / "slurm").mkdir()
    Queue(tmp_path).submit(script, [["one"]], [])
    expected = sorted(f"{name}={value}" for name, value in kept.items())
    assert (tmp_path / "variables").read_text().splitlines() == expected
    assert json.loads((tmp_path / "slurm" / "7.json").read_text()) == {"user": user(), "tasks": [["one"]]}


def test_all_of_the_queue_is_seen_whatever_the_user_prefers(
    answer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Partitions can be hidden from squeue, and variables make it show less; what is not seen is submitted again."""
    answers(answer, f'echo "$@" >{tmp_path}/asked; env | grep -c ^SQUEUE_ >>{tmp_path}/asked; true')
    monkeypatch.setenv("SQUEUE_STATES", "RUNNING")
    monkeypatch.setenv("SQUEUE_PARTITION", "gpu")
    assert Queue(tmp_path).tasks() == {}
    options, variables = (tmp_path / "asked").read_text().splitlines()
    assert "--all" in options.split()
    assert variables == "0"


def test_a_note_that_is_being_written_or_has_just_gone_is_none(answer: Path, tmp_path: Path) -> None:
    answers(answer, f"echo '7|0|PENDING|{user()}|(Resources)'")
    queue = Queue(tmp_path)
    with whole_file(tmp_path / "slurm" / "7.json"):
        assert not queue.is_used()
        assert queue.tasks() == {}
    (tmp_path / "slurm" / "7.json").unlink()
    (tmp_path / "slurm" / "7.json").symlink_to("gone")
    assert queue.tasks() == {}


def test_a_file_system_without_locks_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(UsageError, match=r"has no locks .*: mount it with flock"), Queue(tmp_path).locked():
        pass


def test_tasks_are_listed_one_by_one_and_wait_for_all_arrays(answer: Path, tmp_path: Path) -> None:
    answers(answer, f'echo "$@" >{tmp_path}/asked')
    Queue(tmp_path).tasks()
    assert "--array" in (tmp_path / "asked").read_text().split()
    answers(answer.with_name("sbatch"), f'echo "$@" >{tmp_path}/asked; cat >/dev/null; echo 9')
    (tmp_path / "slurm").mkdir()
    Queue(tmp_path).submit("#!/bin/sh\n", [["one"]], ["7", "8"])
    assert "--dependency=afterany:7:8" in (tmp_path / "asked").read_text().split()


def test_the_user_s_preferences_do_not_spare_a_task_from_being_cancelled(
    answer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(answer.parent / "scancel", f'echo "$@" >{tmp_path}/asked; env | grep -c ^SCANCEL_ >>{tmp_path}/asked; true')
    monkeypatch.setenv("SCANCEL_STATE", "RUNNING")
    Queue(tmp_path).cancel([QueuedTask("7", 1, "PENDING", user(), "(Resources)")])
    assert (tmp_path / "asked").read_text().splitlines() == ["7_1", "0"]
