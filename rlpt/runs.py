"""Run folders: complete or absent, claimed by one process at a time, and saying what made them.

A job works in `<runs>/<stage>/<id>.partial` and the folder becomes `<runs>/<stage>/<id>` when it is done.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import yaml

from rlpt.errors import UsageError
from rlpt.files import write_json, write_text
from rlpt.interruption import Paused
from rlpt.provenance import describe_run

State = Literal["done", "running", "paused", "failed", "missing"]
CHECKPOINT_FILE = "checkpoint.safetensors"
_ERROR_FILE = "error.txt"
_INTERRUPTIONS_FILE = "sessions.json"


class Busy(UsageError):
    """Another process holds the run."""


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
            Busy: if another process works on the run. Its lock dies with it.
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
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy(f"{self.path}: another process is working on this run") from None
            self.partial.mkdir(exist_ok=True)
            (self.partial / _ERROR_FILE).unlink(missing_ok=True)
            write_text(self.partial / "settings.yaml", yaml.safe_dump(settings, sort_keys=False))
            try:
                with describe_run(self.partial / _INTERRUPTIONS_FILE) as provenance:
                    yield self.partial
            except (Paused, KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                line = str(error).splitlines()[0] if str(error) else type(error).__name__
                write_text(self.partial / _ERROR_FILE, f"{line}\n")
                raise
            write_json(self.partial / "provenance.json", provenance)
            for name in (CHECKPOINT_FILE, _INTERRUPTIONS_FILE):
                (self.partial / name).unlink(missing_ok=True)
            self.partial.replace(self.path)
            self._lock.unlink()
