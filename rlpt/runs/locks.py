"""A claim on a run that dies with its process, on one machine and between machines that share storage."""

import errno
import fcntl
import json
import os
import secrets
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rlpt.errors import BUSY_STATUS, Busy, UsageError
from rlpt.runs.files import make_folder, writing_to

_BEAT_SECONDS = 15.0
_STALE_SECONDS = 60.0
_ATTEMPTS, _PAUSE_SECONDS = 10, 0.05
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Holds the lock file at `path` while the block runs.

    The lock is the system's (flock), which ends with its process, and which NFS and most cluster file systems share
    between machines. For storage that does not, the file names its holder, who touches it every 15 seconds: another
    machine waits until that has stopped for a minute. A holder who was suspended for so long that another took over
    ends its process at once, without writing anything more.

    Raises:
        Busy: if another process holds it.
        UsageError: if the file cannot be written or locked.
    """
    make_folder(path.parent)
    with writing_to(path.parent):
        file = path.open("a+", encoding="utf-8")
    with file:
        if not _locked(file, fcntl.LOCK_EX) or _is_held_elsewhere(file, path):
            raise Busy(f"{path}: another process is working on this run{_named(_holder(file))}")
        own = {"host": socket.gethostname(), "pid": os.getpid(), "token": secrets.token_hex(8)}
        _write(file, json.dumps(own))
        time.sleep(_PAUSE_SECONDS)
        if _holder_at(path) != own:  # another machine began in the same moment, and wrote later
            raise Busy(f"{path}: another process is working on this run{_named(_holder_at(path))}")
        ended = threading.Event()
        heart = threading.Thread(target=_beat, args=(path, own, ended), daemon=True)
        heart.start()
        try:
            yield
        finally:
            ended.set()
            heart.join()
            if _holder_at(path) == own:
                _write(file, "")


def is_claimed(path: Path) -> bool:
    """Says whether a process holds the lock file at `path`."""
    try:
        with path.open("r", encoding="utf-8") as file:
            return not _locked(file, fcntl.LOCK_SH, attempts=1) or _is_held_elsewhere(file, path)
    except (OSError, UsageError):
        return False


def _locked(file: IO[str], kind: int, attempts: int = _ATTEMPTS) -> bool:
    """Takes the lock, unless another process has it for longer than a look at the state takes."""
    for attempt in range(attempts):
        try:
            lock_file(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt + 1 < attempts:
                time.sleep(_PAUSE_SECONDS)
        else:
            return True
    return False


def lock_file(file: IO[str], kind: int) -> None:
    """Takes the system's lock of a file, as `fcntl.flock` does.

    Raises:
        UsageError: if the file system has none.
        OSError: if another process has it, and `kind` says not to wait.
    """
    try:
        fcntl.flock(file, kind)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        raise UsageError(
            f"{file.name}: this file system has no locks ({error.strerror}): mount it with flock, "
            "or choose another folder"
        ) from None


def _holder(file: IO[str]) -> dict[str, Any]:
    file.seek(0)
    try:
        found = json.loads(file.read() or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _named(holder: dict[str, Any]) -> str:
    return f" (process {holder.get('pid')} on {holder.get('host')})" if holder else ""


def _is_held_elsewhere(file: IO[str], path: Path) -> bool:
    """Says whether another machine's holder has touched the file lately, by the storage's own clock."""
    if _holder(file).get("host", socket.gethostname()) == socket.gethostname():
        return False  # on this machine the system's lock tells
    try:
        with tempfile.TemporaryFile(dir=path.parent) as clock:
            now = os.fstat(clock.fileno()).st_mtime
    except OSError:  # a reader who may not write there has its own clock alone
        now = time.time()
    return now - os.fstat(file.fileno()).st_mtime < _STALE_SECONDS


def _write(file: IO[str], text: str) -> None:
    file.truncate(0)
    file.write(text)
    file.flush()
    os.fsync(file.fileno())  # for another machine to see it at once


def _holder_at(path: Path) -> dict[str, Any]:
    with path.open(encoding="utf-8") as file:
        return _holder(file)


def _beat(path: Path, own: dict[str, Any], ended: threading.Event) -> None:
    while not ended.wait(_BEAT_SECONDS):
        try:
            if _holder_at(path) != own:
                print(f"rlpt: {path}: another machine has taken this run over", file=sys.stderr, flush=True)
                os._exit(BUSY_STATUS)
            os.utime(path)
        except OSError:
            continue
