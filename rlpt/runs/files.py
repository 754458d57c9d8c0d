"""Files that appear whole or not at all."""

import errno
import glob
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlpt.errors import LOWER_RATE, Diverged, UsageError

if TYPE_CHECKING:
    from torch import Tensor

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TEMPORARY_PREFIX = ".rlpt-"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a path to an empty file to write to; when the block ends well it becomes `path`, else it vanishes.

    It lies in a folder of its own beside `path`: a library may write to yet another file beside the one it is told,
    which a kill would leave there under a name that nobody knows.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = _aside(path)
    aside = folder / path.name
    try:
        folder.mkdir()
        aside.touch()
        permissions = aside.stat().st_mode
        yield aside
        aside.chmod(permissions)  # some libraries put a file of their own in its place
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _aside(path: Path) -> Path:
    """Returns an unused name beside `path`; what is made there has the permissions that the user's umask leaves."""
    return path.with_name(f"{TEMPORARY_PREFIX}{path.stem}-{secrets.token_hex(4)}")


def remove_leftovers(folder: Path, beginning: str = "") -> None:
    """Deletes what was being written there when a process was killed, as far as the names begin like this."""
    for leftover in folder.glob(f"{TEMPORARY_PREFIX}{glob.escape(beginning)}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields a folder to fill, beside `path`; when the block ends well it becomes `path`, else it vanishes.

    Raises:
        UsageError: if there can be no folder in that place.
        OSError: if `path` is there by then, and is not an empty folder.
    """
    make_folder(path.parent)
    aside = _aside(path)
    aside.mkdir()
    try:
        yield aside
        aside.replace(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turns what keeps the block from writing to a folder into one line; a full disk stays an OSError.

    Raises:
        UsageError: if the system refuses.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL_DISK:
            raise
        remedy = "make it writable, or choose another folder (--runs, --data, --out)"
        raise UsageError(f"{folder}: cannot write there ({error.strerror}): {remedy}") from None


def make_folder(path: Path) -> None:
    """Makes a folder for results, and those above it.

    Raises:
        UsageError: if it cannot be made.
    """
    with writing_to(path):
        path.mkdir(parents=True, exist_ok=True)


def sync_files(folder: Path) -> None:
    """Makes sure that everything below a folder outlasts a loss of power."""
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        elif path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


def sync_folder(path: Path) -> None:
    """Makes sure that the names in a folder outlast a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8."""
    with whole_file(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_safetensors(path: Path, tensors: "dict[str, Tensor]", metadata: dict[str, Any] | None = None) -> None:
    """Writes named tensors (moved to the CPU, contiguous) and metadata.

    The metadata is one JSON text under the key "rlpt": the library writes several keys in no fixed order.

    Raises:
        Diverged: if a number is not finite; a file that is there stays.
        OSError: if it cannot be written, for example because the disk is full.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    for name, tensor in plain.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise Diverged(f"{name} is no longer finite; what was saved before is kept: {LOWER_RATE}")
    with whole_file(path) as aside:
        try:
            save_file(plain, aside, {"rlpt": json.dumps(metadata or {})})
        except SafetensorError as error:
            number = re.search(r"os error (\d+)", str(error))
            raise OSError(int(number[1]) if number else errno.EIO, str(error), str(path)) from None
