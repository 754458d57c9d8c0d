"""The command that starts rlpt in a task, here or in an Apptainer image."""

import os
import shlex
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from rlpt.errors import UsageError
from rlpt.pipeline.execution import Execution
from rlpt.pipeline.scheduler import RLPT
from rlpt.runs.checksums import file_sha256


def program(manifest: Path, execution: Execution, sif: str | None, gpu: bool) -> str:
    """Returns the words of a shell array that start rlpt.

    Args:
        manifest: the file that it reads.
        execution: says which folders it reads and writes.
        sif: the image's path; None: this installation.
        gpu: whether the image is to see GPUs.

    Raises:
        UsageError: if the image is not there, or cannot see a folder because of its name.
    """
    if sif is None:
        return shlex.join(RLPT)
    image = _existing(sif)
    binds = [f"--bind={bind}" for bind in _binds(manifest, execution)]
    digest = [f"--env=RLPT_CONTAINER_DIGEST=sha256:{_sha256(image, image_state(sif))}"] if image.is_file() else []
    words = ["exec", *(["--nv"] if gpu else []), f"--pwd={Path.cwd()}", *binds, *digest, str(image.absolute()), "rlpt"]
    return '"${APPTAINER:-apptainer}" ' + shlex.join(words)


def _binds(manifest: Path, execution: Execution) -> list[str]:
    """Returns what the image is to see, as Apptainer's --bind takes it: folders under their real and their given names.

    A cluster's /scratch or /datasets is often a link, and options and links in the data folder name things below it.
    """
    # What links in the data folder point to is often where a cluster keeps its data sets. None need be there.
    inputs = [execution.data, *(path for path in execution.data.glob("*") if path.is_symlink())]
    bound: dict[str, str] = {}
    for path in (Path.cwd(), execution.runs, *(path for path in inputs if path.exists()), manifest.parent):
        real = _without_links(path)
        for place in (_seen_as(path, bound), real):
            bound.setdefault(place, real)
            if {":", ","} & {*place}:
                raise UsageError(
                    f"{place}: --sif cannot take a folder with a colon or comma in its name: choose another"
                )
    return [real if real == place else f"{real}:{place}" for place, real in bound.items()]


def _seen_as(path: Path, bound: Iterable[str]) -> str:
    """Returns a path's name after following links that lie in a bound folder, and so are links in the image too."""
    # What ".." leads to is known only when links are followed.
    name = _without_links(path) if ".." in path.parts else os.path.abspath(path)  # noqa: PTH100
    for place in (*reversed(Path(name).parents), Path(name)):
        if place.is_symlink() and any(Path(folder) in place.parents for folder in bound):
            target = os.path.normpath(place.parent / place.readlink())
            return _seen_as(target / Path(name).relative_to(place), bound)
    return name


def _without_links(path: Path) -> str:
    try:
        return str(path.resolve())
    except (OSError, RuntimeError):
        raise UsageError(f"{path}: a link that leads back to itself: choose another folder") from None


def image_state(sif: str | None) -> str:
    """Returns what an image's file is known again by without reading it, as `stat -c "%s %Y"` puts it: bytes, seconds.

    Empty without an image; an image that is a folder is not known again either.

    Raises:
        UsageError: if the image is not there.
    """
    if sif is None or not _existing(sif).is_file():
        return ""
    status = Path(sif).stat()
    return f"{status.st_size} {status.st_mtime_ns // 10**9}"


def _existing(sif: str) -> Path:
    if not Path(sif).exists():
        raise UsageError(f"slurm.sif: {sif}: no such file: `make sif` builds one, --sif names it")
    return Path(sif)


@cache
def _sha256(image: Path, _state: str) -> str:
    """Returns the digest of some gigabytes once for all arrays, as long as the file is the same."""
    return file_sha256(image)
