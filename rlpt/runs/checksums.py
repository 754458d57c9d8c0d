"""Checksums of finished runs: what a job wrote, and whether it is still the same."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field

from rlpt.errors import UsageError

PROVENANCE_FILE = "provenance.json"


def _inside(name: str) -> str:
    """Accepts names of files below a folder: a record from elsewhere must not name others."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError("not below the run's folder")
    return name


_Name = Annotated[str, AfterValidator(_inside)]


class _Output(BaseModel):
    bytes: int
    sha256: str


class _Input(BaseModel):
    stage: _Name
    id: _Name
    file: _Name
    sha256: str


class _Session(BaseModel, extra="allow"):
    started: str
    ended: str | None = None  # a killed one has none
    seconds: float | None = None
    end: str = "killed"
    machine: dict[str, Any] = {}
    renderer: str | None = None
    commit: str | None = None


class _Record(BaseModel, extra="allow"):
    job: dict[str, str]
    manifest: dict[str, Any] | None = None
    inputs: list[_Input] = []
    outputs: dict[_Name, _Output]
    code: dict[str, Any]
    packages: dict[str, str]
    left_out: list[str] = []  # of the outputs, by a collection of what is small
    sessions: Annotated[list[_Session], Field(min_length=1)]


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        UsageError: if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); check the path") from None


def checksums(folder: Path, without: Iterable[str] = ()) -> dict[str, dict[str, Any]]:
    """Returns "bytes" and "sha256" of every file below `folder`, by its path there.

    But of its record, of what is called as one of `without`, and of what is hidden, as a leftover is.
    """
    left_out = {PROVENANCE_FILE, *without}
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in left_out)
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in files
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def read_provenance(folder: Path) -> dict[str, Any]:
    """Returns what a finished run recorded about itself.

    Raises:
        UsageError: if `folder` is not a finished run, or its record is damaged.
    """
    path = folder / PROVENANCE_FILE
    try:
        return _Record.model_validate_json(path.read_bytes()).model_dump()
    except FileNotFoundError:
        raise UsageError(
            f"{folder}: not a finished run: it has no {PROVENANCE_FILE}: delete it, and run its job again"
        ) from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}): make it readable") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path}: not readable as a run's record: delete {folder}, and run its job again") from None


def damage(path: Path, recorded: Mapping[str, Any]) -> str:
    """Says in what a file differs from the "bytes" and "sha256" that were recorded; empty if in nothing."""
    if not path.is_file():
        return "missing"
    size = path.stat().st_size
    if size != recorded["bytes"]:
        return f"damaged: {size:,} bytes instead of {recorded['bytes']:,}"
    return "" if file_sha256(path) == recorded["sha256"] else "damaged: its checksum (SHA-256) differs"


def verified(folder: Path, name: str) -> tuple[Path, str]:
    """Returns the path and the SHA-256 of one file of a finished run.

    Raises:
        UsageError: if it is missing, or not what the job wrote.
    """
    record = read_provenance(folder)
    if name in record["left_out"]:
        raise UsageError(f"{folder / name}: left out of this collection: use the runs that it was made from (--runs)")
    recorded = record["outputs"].get(name)
    complaint = damage(folder / name, recorded) if recorded else "not among what this run wrote"
    if complaint:
        raise UsageError(f"{folder / name}: {complaint}: delete {folder}, and run its job again")
    return folder / name, recorded["sha256"]
