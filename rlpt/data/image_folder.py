"""Labelled image folders in ImageNet's layout: listed, checked and decoded.

Layout: `train/<WordNet id>/*.JPEG` and `val/<WordNet id>/*.JPEG`; also .jpg, .jpeg and .png, in either case. A class's
label is its position among the sorted ids.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from PIL import Image

from rlpt.errors import UsageError
from rlpt.progress import Report
from rlpt.workers import worker_pool

Split = Literal["train", "val"]
ClassChoice = Literal["paper", "all"]

SPLITS: tuple[Split, ...] = ("train", "val")
SUFFIXES = frozenset({".jpeg", ".jpg", ".png"})
_FORMATS = ("JPEG", "PNG")  # whatever the suffix says: other decoders start programs

_FILES_A_TASK = 32
_NAMED_PROBLEMS = 3
_MEND_IMAGES = "restore from the archive, or take out of the folder"

_Result = TypeVar("_Result")


def paper_classes() -> tuple[str, ...]:
    """Returns the WordNet ids of the 100 published classes: every second one of ImageNet-R's 200 (fidelity item 7)."""
    return tuple((resources.files("rlpt.data") / "imagenet_classes.txt").read_text(encoding="ascii").split())


def class_names(path: Path, classes: ClassChoice) -> tuple[str, ...]:
    """Returns the sorted WordNet ids of the chosen classes; "all" is every folder in `path`/train.

    Raises:
        UsageError: if `path` does not have ImageNet's layout.
    """
    found = {split: _class_folders(path, split) for split in SPLITS}
    return tuple(sorted(paper_classes())) if classes == "paper" else tuple(found["train"])


def _class_folders(path: Path, split: Split) -> list[str]:
    layout = "ImageNet's layout is train/<WordNet id>/*.JPEG and val/<WordNet id>/*.JPEG"
    if not (path / split).is_dir():
        raise UsageError(f"{path}: has no folder {split!r}: {layout}; give the folder that holds train and val")
    folders = sorted(entry.name for entry in (path / split).iterdir() if entry.is_dir() and entry.name[0] != ".")
    if not folders:
        raise UsageError(f"{path / split}: has no folder of a class: {layout}; sort the images into such folders")
    return folders


@dataclass(frozen=True)
class LabelledFile:
    """An image file and its class's number."""

    path: Path
    label: int


def list_images(path: Path, split: Split, classes: Sequence[str]) -> list[LabelledFile]:
    """Returns a split's image files, by class and then by name; a class without a folder has none."""
    files = []
    for label, name in enumerate(classes):
        folder = path / split / name
        found = sorted(folder.iterdir()) if folder.is_dir() else []
        files += [LabelledFile(file, label) for file in found if file.suffix.lower() in SUFFIXES]
    return files


@dataclass(frozen=True)
class FolderFindings:
    """What `check_folder` found."""

    path: Path
    classes: tuple[str, ...]
    "WordNet ids by label"
    images: dict[Split, int]
    "Image files of the chosen classes, the unreadable ones among them"
    missing: tuple[str, ...]
    "Class folders that are not there or hold no image, such as val/n01443537"
    unreadable: tuple[Path, ...]
    "Image files that cannot be decoded"

    def require_usable(self) -> None:
        """Refuses a folder with findings.

        Raises:
            UsageError: one line with the first few missing classes or, if none is, unreadable images.
        """
        if self.missing:
            raise _missing_error(self.path, self.missing)
        if self.unreadable:
            names = _few([str(file.relative_to(self.path)) for file in self.unreadable])
            raise UsageError(f"{self.path}: {len(self.unreadable)} images cannot be decoded: {names}: {_MEND_IMAGES}")


def _missing_error(path: Path, missing: Sequence[str]) -> UsageError:
    return UsageError(
        f"{path}: {len(missing)} class folders are missing or hold no image: {_few(missing)}: "
        'add their images, or take all classes that are there (--classes all; imagenet.classes = "all")'
    )


def _few(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED_PROBLEMS
    return ", ".join(names[:_NAMED_PROBLEMS]) + (f" and {rest} more" if rest > 0 else "")


def _missing(path: Path, split: Split, classes: Sequence[str], files: Sequence[LabelledFile]) -> list[str]:
    """Names a split's class folders that are not there or hold no image."""
    counts = Counter(file.label for file in files)
    return [f"{split}/{name}" for label, name in enumerate(classes) if not counts[label]]


def require_all_classes(path: Path, split: Split, classes: Sequence[str], files: Sequence[LabelledFile]) -> None:
    """Refuses a split in which a class has no image.

    Raises:
        UsageError: one line with the first few such classes.
    """
    missing = _missing(path, split, classes, files)
    if missing:
        raise _missing_error(path, missing)


def _silent(done: int, note: str) -> None:
    """Reports nothing."""


def check_folder(path: Path, classes: ClassChoice, workers: int = 1, report: Report = _silent) -> FolderFindings:
    """Counts the images of the chosen classes and decodes every one of them.

    Args:
        path: the folder that holds train/ and val/.
        classes: "paper" for the 100 published ones, "all" for every folder in train/.
        workers: processes that decode.
        report: called with the number of images checked.

    Raises:
        UsageError: if `path` does not have ImageNet's layout. What else is wrong is in the findings.
    """
    names = class_names(path, classes)
    files = {split: list_images(path, split, names) for split in SPLITS}
    missing = [name for split in SPLITS for name in _missing(path, split, names, files[split])]
    everything = [file.path for split in SPLITS for file in files[split]]
    unreadable: list[Path] = []
    done = 0
    with in_blocks(_unreadable, everything, workers) as blocks:
        for block, bad in blocks:
            unreadable += bad
            done += len(block)
            report(done, f"{len(unreadable)} unreadable")
    counts = {split: len(files[split]) for split in SPLITS}
    return FolderFindings(path, names, counts, tuple(missing), tuple(unreadable))


def _unreadable(paths: Sequence[Path]) -> list[Path]:
    bad = []
    for path in paths:
        try:
            decode(path)
        except UsageError:
            bad.append(path)
    return bad


def decode(path: Path) -> Image.Image:
    """Returns an image file's pixels as RGB.

    Raises:
        UsageError: if it cannot be decoded.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UsageError(f"{path}: cannot be decoded ({error}): {_MEND_IMAGES}") from None


def middle_square(image: Image.Image, size: int) -> np.ndarray:
    """Scales the shorter side to `size` pixels (bilinear, antialiased) and cuts out the middle square.

    The rounding is torchvision's, of `Resize(size)` and `CenterCrop`, which the published code used.

    Args:
        image: RGB.
        size: height and width of the result.

    Returns:
        uint8 [size, size, 3].
    """
    short = min(image.size)
    width, height = (size * side // short for side in image.size)
    left, top = (round((side - size) / 2) for side in (width, height))
    scaled = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(scaled.crop((left, top, left + size, top + size)))


@contextmanager
def in_blocks(
    work: Callable[[Sequence[Path]], _Result], paths: Sequence[Path], workers: int
) -> Iterator[Iterator[tuple[Sequence[Path], _Result]]]:
    """Yields blocks of paths, in order, each with what `work` makes of it, here or in several processes."""
    blocks = [paths[first : first + _FILES_A_TASK] for first in range(0, len(paths), _FILES_A_TASK)]
    if workers == 1:
        yield zip(blocks, map(work, blocks), strict=True)
        return
    with worker_pool(workers) as pool:
        try:
            yield zip(blocks, pool.map(work, blocks), strict=True)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
