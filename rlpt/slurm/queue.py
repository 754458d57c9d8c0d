"""Slurm's queue: putting arrays in, seeing where jobs are, taking tasks out.

Slurm knows arrays and task numbers; which jobs these are is in one small file an array, `<runs>/slurm/<array>.json`.
"""

import fcntl
import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rlpt.errors import UsageError
from rlpt.files import write_json


@dataclass(frozen=True)
class QueuedTask:
    """One task of an array, as `squeue` sees it."""

    array: str
    index: int
    state: str
    "Slurm's word, such as PENDING or RUNNING."
    reason: str
    "Why it is pending, or on which node it runs."

    @property
    def id(self) -> str:
        """What `scancel` and `scontrol` take."""
        return f"{self.array}_{self.index}"


class Queue:
    """The part of Slurm's queue that belongs to one runs folder."""

    def __init__(self, runs: Path) -> None:
        """Looks at nothing yet."""
        self._records = runs / "slurm"

    def is_used(self) -> bool:
        """Says whether anything was ever submitted for this runs folder."""
        return any(self._records.glob("*.json"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from submitting to this runs folder while the block runs."""
        self._records.mkdir(parents=True, exist_ok=True)
        with (self._records / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def tasks(self) -> dict[str, QueuedTask]:
        """Returns the task of each queued job, by the job's id.

        Raises:
            UsageError: if Slurm is not there or does not answer.
        """
        records = {file.stem: _tasks_of(file) for file in self._records.glob("*.json")}
        found: dict[str, QueuedTask] = {}
        for line in _slurm("squeue", "--me", "--array", "--noheader", "--format=%F|%K|%T|%R").splitlines():
            array, index, state, reason = line.strip().split("|", 3)
            if array in records and index.isdecimal():
                task = QueuedTask(array, int(index), state, reason.strip("()"))
                found |= dict.fromkeys(records[array][task.index], task)
        return found

    def submit(self, script: str, tasks: Sequence[Sequence[str]], after: Iterable[str]) -> str:
        """Submits an array, and notes which jobs its tasks are.

        Args:
            script: the batch script.
            tasks: ids of each task's jobs.
            after: Slurm's numbers of arrays all of whose tasks must have ended, well or not, before one begins.

        Returns:
            Slurm's number of the array.

        Raises:
            UsageError: if Slurm is not there or refuses.
        """
        waits = ":".join(after)
        options = [f"--dependency=afterany:{waits}"] if waits else []
        array = _slurm("sbatch", "--parsable", *options, text=script).strip().partition(";")[0]
        write_json(self._records / f"{array}.json", {"tasks": tasks})
        return array

    def forget_ended(self, tasks: Iterable[QueuedTask]) -> None:
        """Deletes the notes on arrays of which no task is in the queue any more."""
        present = {task.array for task in tasks}
        for file in self._records.glob("*.json"):
            if file.stem not in present:
                file.unlink()

    def cancel(self, tasks: Iterable[QueuedTask]) -> None:
        """Takes tasks out of the queue; running ones have Slurm's KillWait to save."""
        _slurm("scancel", *sorted({task.id for task in tasks}))


def _tasks_of(file: Path) -> list[list[str]]:
    """Returns the jobs' ids of each task of an array.

    Raises:
        UsageError: if the note is damaged.
    """
    try:
        tasks = json.loads(file.read_text(encoding="utf-8"))["tasks"]
        return [[str(job) for job in task] for task in tasks]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{file}: damaged ({error!r}): delete it; `squeue --me` shows what is queued") from None


def is_installed() -> bool:
    """Says whether Slurm's commands are on this machine."""
    return shutil.which("squeue") is not None


def _slurm(program: str, *arguments: str, text: str | None = None) -> str:
    try:
        done = subprocess.run([program, *arguments], input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UsageError(
            f"{program}: not found: Slurm's commands are needed here: run this on a login node of the cluster "
            "(or `rlpt run` without --executor slurm)"
        ) from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise UsageError(f"{program} did not succeed: {'; '.join(lines)}")
    return done.stdout
