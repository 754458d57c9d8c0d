"""Run folders: complete or absent, claimed by one process at a time, and saying what made them.

A job works in `<runs>/<stage>/<id>.partial` and the folder becomes `<runs>/<stage>/<id>` when it is done.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import yaml

from rlpt.errors import Busy, UsageError
from rlpt.runs.checksums import PROVENANCE_FILE, checksums
from rlpt.runs.files import TEMPORARY_PREFIX, remove_leftovers, sync_files, sync_folder, write_json, write_text
from rlpt.runs.interruption import Paused
from rlpt.runs.locks import claimed, is_claimed
from rlpt.runs.provenance import describe_session

State = Literal["done", "running", "paused", "failed", "missing"]
SETTINGS_FILE = "settings.yaml"
CHECKPOINT_FILE = "checkpoint.safetensors"
REPLAY_FILE = "replay.frames"
PROGRESS_FILE = "progress.txt"
_ERROR_FILE = "error.txt"
SESSIONS_FILE = "sessions.json"
TEMPORARY_FILES = (CHECKPOINT_FILE, REPLAY_FILE, PROGRESS_FILE, SESSIONS_FILE)
"What a job needs only to go on; deleted when it is done."


class RunFolder:
    """Where one job writes."""

    def __init__(self, runs: Path, stage: str, identity: str) -> None:
        """Names the folders; makes nothing."""
        self.path = runs / stage / identity
        self._renders = stage != "pretrain"
        self.partial = self.path.with_name(f"{identity}.partial")
        self._lock = self.path.with_name(f".{identity}.lock")

    def state(self) -> State:
        """Says how far the run is; "paused" is also one whose process was killed."""
        if self.is_done():
            return "done"
        if is_claimed(self._lock):
            return "running"
        if (self.partial / _ERROR_FILE).is_file():
            return "failed"
        return "paused" if self.partial.is_dir() else "missing"

    def is_done(self) -> bool:
        """Says whether the run is finished."""
        return self.path.is_dir()

    def _is_done_by_now(self) -> bool:
        """Says whether the run is finished, whatever this machine remembers of the folder.

        A network file system's client believes for half a minute what it last saw there, unless it has changed the
        folder itself.
        """
        with tempfile.NamedTemporaryFile(prefix=TEMPORARY_PREFIX, dir=self.path.parent):
            return any(entry.name == self.path.name and entry.is_dir() for entry in os.scandir(self.path.parent))

    def newest(self) -> Path:
        """Returns the folder that holds its files: the finished one, or the one that is worked on, if there is any."""
        return self.path if self.is_done() else self.partial

    def error(self) -> str:
        """Returns the one line that a failed run left behind."""
        file = self.partial / _ERROR_FILE
        return file.read_text(encoding="utf-8", errors="replace").strip() if file.is_file() else ""

    @contextmanager
    def claim(self, settings: dict[str, Any], record: dict[str, Any], how: dict[str, Any]) -> Iterator[Path]:
        """Yields the folder to write to; when the block ends well it becomes the finished run.

        What an interrupted process left there is still there, for the job to go on from.

        Args:
            settings: what identifies the job; written as settings.yaml.
            record: what else is to be in provenance.json; the block may add to it.
            how: what this session is to be remembered by beside the machine: its `device`, and anything else.

        Raises:
            Busy: if another process works on the run, or has just finished it. Its lock dies with it.
            UsageError: if the runs folder cannot be written.
        """
        with claimed(self._lock):
            if self._is_done_by_now():
                raise Busy(f"{self.path}: another process has just finished this run")
            for place in (self.path, self.partial):
                if place.is_symlink() or (place.exists() and not place.is_dir()):
                    raise UsageError(f"{place}: is in the way of a run's folder: move it away")
            self.partial.mkdir(exist_ok=True)
            (self.partial / _ERROR_FILE).unlink(missing_ok=True)
            remove_leftovers(self.partial)
            write_text(self.partial / SETTINGS_FILE, yaml.safe_dump(settings, sort_keys=False))
            with describe_session(self.partial / SESSIONS_FILE, self._renders, how) as session:
                try:
                    yield self.partial
                except (Paused, KeyboardInterrupt, SystemExit):
                    raise
                except BaseException as error:
                    line = str(error).splitlines()[0] if str(error) else type(error).__name__
                    with suppress(OSError):  # the disk may be full
                        write_text(self.partial / _ERROR_FILE, f"{line}\n")
                    raise
            sync_files(self.partial)
            outputs = checksums(self.partial, TEMPORARY_FILES)
            write_json(self.partial / PROVENANCE_FILE, {**record, **session, "outputs": outputs})
            # A kill before this line leaves the whole checkpoint; one after it a run that is done.
            self.partial.replace(self.path)
            sync_folder(self.path.parent)
            self.remove_temporary_files()

    def remove_temporary_files(self) -> None:
        """Deletes what a finished run needed only to go on; a kill in its last moment may have left it there."""
        for name in TEMPORARY_FILES:
            (self.path / name).unlink(missing_ok=True)
