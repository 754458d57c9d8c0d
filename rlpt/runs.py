"""Run folders: complete or absent, claimed by one process at a time, and saying what made them.

A job works in `<runs>/<stage>/<id>.partial` and the folder becomes `<runs>/<stage>/<id>` when it is done.
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import yaml

from rlpt.errors import Busy, UsageError
from rlpt.files import write_json, write_text
from rlpt.interruption import Paused
from rlpt.provenance import describe_run

State = Literal["done", "running", "paused", "failed", "missing"]
CHECKPOINT_FILE = "checkpoint.safetensors"
REPLAY_FILE = "replay.frames"
PROGRESS_FILE = "progress.txt"
_ERROR_FILE = "error.txt"
_SESSIONS_FILE = "sessions.json"
TEMPORARY_FILES = (CHECKPOINT_FILE, REPLAY_FILE, PROGRESS_FILE, _SESSIONS_FILE)
"What a job needs only to go on; deleted when it is done."


class RunFolder:
    """Where one job writes."""

    def __init__(self, runs: Path, stage: str, identity: str) -> None:
        """Names the folders; makes nothing."""
        self.path = runs / stage / identity
        self.partial = self.path.with_name(f"{identity}.partial")
        self._lock = self.path.with_name(f".{identity}.lock")

    def state(self) -> State:
        """Says how far the run is; "paused" is also one whose process was killed."""
        if self.path.is_dir():
            return "done"
        if self._is_locked():
            return "running"
        if (self.partial / _ERROR_FILE).is_file():
            return "failed"
        return "paused" if self.partial.is_dir() else "missing"

    def error(self) -> str:
        """Returns the one line that a failed run left behind."""
        file = self.partial / _ERROR_FILE
        return file.read_text(encoding="utf-8").strip() if file.is_file() else ""

    def _is_locked(self) -> bool:
        if not self._lock.exists():
            return False
        with self._lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    @contextmanager
    def claim(self, settings: dict[str, Any]) -> Iterator[Path]:
        """Yields the folder to write to; when the block ends well it becomes the finished run.

        What an interrupted process left there is still there, for the job to go on from.

        Args:
            settings: what identifies the job; written as settings.yaml.

        Raises:
            Busy: if another process works on the run, or has just finished it. Its lock dies with it.
            UsageError: if the runs folder cannot be written.
        """
        try:
            self._lock.parent.mkdir(parents=True, exist_ok=True)
            lock = self._lock.open("w")
        except OSError as error:
            raise UsageError(
                f"{self._lock.parent}: cannot write there ({error.strerror}): choose another --runs"
            ) from None
        with lock:
            if not _locked(lock) or self.path.is_dir():
                raise Busy(f"{self.path}: another process is working on this run")
            self.partial.mkdir(exist_ok=True)
            (self.partial / _ERROR_FILE).unlink(missing_ok=True)
            write_text(self.partial / "settings.yaml", yaml.safe_dump(settings, sort_keys=False))
            try:
                with describe_run(self.partial / _SESSIONS_FILE) as provenance:
                    yield self.partial
            except (Paused, KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                line = str(error).splitlines()[0] if str(error) else type(error).__name__
                write_text(self.partial / _ERROR_FILE, f"{line}\n")
                raise
            write_json(self.partial / "provenance.json", provenance)
            for leftover in self.partial.glob(".*"):  # of a write that was killed
                leftover.unlink()
            # A kill before this line leaves the whole checkpoint; one after it a run that is done.
            self.partial.replace(self.path)
            for name in TEMPORARY_FILES:
                (self.path / name).unlink(missing_ok=True)


def _locked(lock: IO[str]) -> bool:
    """Takes the lock, unless another process has it for longer than a look at the state takes."""
    for _ in range(10):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return True
    return False
