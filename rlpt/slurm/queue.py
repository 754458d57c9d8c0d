"""Slurm's queue: putting arrays in, seeing where jobs are, taking tasks out.

Slurm knows arrays and task numbers; which jobs these are is in one small file an array, `<runs>/slurm/<array>.json`.
"""

import fcntl
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from rlpt.errors import UsageError, trouble
from rlpt.runs.files import write_json
from rlpt.runs.locks import lock_file

# Environment variables of sbatch go before what a script says. SBATCH_<OPTION> but for these:
_VARIABLES = {
    "array": ("ARRAY_INX",),
    "mem": ("MEM_PER_NODE", "MEM_PER_CPU", "MEM_PER_GPU"),
    "requeue": ("REQUEUE", "NO_REQUEUE"),
    "time": ("TIMELIMIT",),
}


@dataclass(frozen=True)
class QueuedTask:
    """One task of an array, as `squeue` sees it."""

    array: str
    index: int
    state: str
    "Slurm's word, such as PENDING or RUNNING."
    user: str
    reason: str
    "Why it is pending, or on which node it runs."

    @property
    def id(self) -> str:
        """What `scancel` and `scontrol` take."""
        return f"{self.array}_{self.index}"


class _Note(BaseModel):
    """What is known of an array besides what Slurm says."""

    user: str
    tasks: list[list[str]]
    "The jobs' ids of each task."


class Queue:
    """The part of Slurm's queue that belongs to one runs folder."""

    def __init__(self, runs: Path) -> None:
        """Looks at nothing yet."""
        self._records = runs / "slurm"

    def is_used(self) -> bool:
        """Says whether anything was ever submitted for this runs folder."""
        return any(self._files())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from submitting to this runs folder while the block runs."""
        self._records.mkdir(parents=True, exist_ok=True)
        with (self._records / ".lock").open("w") as lock:
            lock_file(lock, fcntl.LOCK_EX)
            yield

    def tasks(self) -> dict[str, QueuedTask]:
        """Returns the task of each queued job, by the job's id; those of other users as far as Slurm shows them.

        Raises:
            UsageError: if Slurm is not there or does not answer, or a note is damaged.
        """
        notes = self._notes()
        users = sorted({user(), *(note.user for note in notes.values())})
        found: dict[str, QueuedTask] = {}
        form = "--format=%F|%K|%T|%u|%R"
        # Without --all, squeue hides partitions that are hidden from ordinary users.
        looked = _slurm("squeue", "--all", f"--user={','.join(users)}", "--array", "--noheader", form)
        for line in looked.splitlines():
            array, index, state, owner, reason = line.strip().split("|", 4)
            note = notes.get(array)
            if note and note.user == owner and index.isdecimal():
                task = QueuedTask(array, int(index), state, owner, reason.strip("()"))
                if task.index >= len(note.tasks):
                    fault = f"knows {len(note.tasks)} tasks, Slurm one numbered {index}"
                    raise _damaged(self._file(array), fault)
                found |= dict.fromkeys(note.tasks[task.index], task)
        return found

    def _notes(self) -> dict[str, _Note]:
        return {file.stem: note for file in self._files() if (note := _read_note(file))}

    def _files(self) -> Iterator[Path]:
        return self._records.glob("[0-9]*.json")  # one that is being written lies in a folder of its own

    def _file(self, array: str) -> Path:
        return self._records / f"{array}.json"

    def submit(self, script: str, tasks: Sequence[Sequence[str]], after: Iterable[str]) -> str:
        """Submits an array, and notes which jobs its tasks are.

        Args:
            script: the batch script.
            tasks: ids of each task's jobs.
            after: Slurm's numbers of arrays all of whose tasks must have ended, well or not, before one begins.

        Returns:
            Slurm's number of the array.

        Raises:
            UsageError: if Slurm is not there or refuses, or the array cannot be noted and was therefore cancelled.
        """
        waits = ":".join(after)
        options = [f"--dependency=afterany:{waits}"] if waits else []
        said = _slurm("sbatch", "--parsable", *options, text=script, without=_overriding(script))
        array = said.strip().partition(";")[0]
        try:
            write_json(self._file(array), {"user": user(), "tasks": tasks})
        except OSError as error:
            _slurm("scancel", array)
            raise UsageError(f"array {array} is cancelled, since it cannot be noted: {trouble(error)}") from None
        return array

    def forget_ended(self, tasks: Iterable[QueuedTask]) -> None:
        """Deletes the notes on this user's arrays of which no task is in the queue any more.

        Of other users' arrays Slurm may say nothing (PrivateData), which does not mean that they have ended.
        """
        present = {task.array for task in tasks}
        for array, note in self._notes().items():
            if array not in present and note.user == user():
                self._file(array).unlink()

    def cancel(self, tasks: Iterable[QueuedTask]) -> None:
        """Takes tasks out of the queue; running ones have Slurm's KillWait to save."""
        _slurm("scancel", *sorted({task.id for task in tasks}))


def _read_note(file: Path) -> _Note | None:
    """Reads the note on an array; None: it has just been deleted.

    Raises:
        UsageError: if the note is damaged.
    """
    try:
        return _Note.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors()[0]
        raise _damaged(file, ": ".join([*map(str, first["loc"]), first["msg"]])) from None


def _damaged(file: Path, fault: str) -> UsageError:
    return UsageError(f"{file}: damaged ({fault}): delete it; `squeue --me` shows what is queued")


def user() -> str:
    """Returns the name of who runs this process, as Slurm knows it; the number where it has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _overriding(script: str) -> set[str]:
    """Returns the environment variables that would go before the options in a batch script."""
    options = re.findall(r"^#SBATCH --([\w-]+)", script, flags=re.MULTILINE)
    names = (_VARIABLES.get(option, (option.upper().replace("-", "_"),)) for option in options)
    return {f"SBATCH_{name}" for several in names for name in several}


def is_installed() -> bool:
    """Says whether Slurm's commands are on this machine."""
    return shutil.which("squeue") is not None


def _slurm(program: str, *arguments: str, text: str | None = None, without: Container[str] = ()) -> str:
    """Runs one of Slurm's commands.

    Of the environment it does not see the variables `without`, nor those that let a user's squeue and scancel see less.
    """
    variables = {
        name: value
        for name, value in os.environ.items()
        if name not in without and not name.startswith(("SQUEUE_", "SCANCEL_"))
    }
    command = [program, *arguments]
    try:
        done = subprocess.run(command, input=text, env=variables, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UsageError(
            f"{program}: not found: Slurm's commands are needed here: run this on a login node of the cluster "
            "(or `rlpt run` without --executor slurm)"
        ) from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise UsageError(f"{program} did not succeed: {'; '.join(lines)}")
    return done.stdout
