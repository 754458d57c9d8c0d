"""Labelled image folders in ImageNet's layout: listed and decoded.

Layout: `train/<WordNet id>/*.JPEG` and `val/<WordNet id>/*.JPEG`; also .jpg, .jpeg and .png, in either case. A class's
label is its position among the sorted ids.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from PIL import Image

from rlpt.errors import UsageError
from rlpt.workers import worker_pool

Split = Literal["train", "val"]
ClassChoice = Literal["paper", "all"]

SPLITS: tuple[Split, ...] = ("train", "val")
SUFFIXES = frozenset({".jpeg", ".jpg", ".png"})
_FORMATS = ("JPEG", "PNG")  # whatever the suffix says: other decoders start programs

_FILES_A_TASK = 32
_NAMED_PROBLEMS = 3

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
    if not path.is_dir():
        raise UsageError(f"{path}: no such folder: check the path, or make it a link to the images")
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
    return [
        LabelledFile(file, label)
        for label, name in enumerate(classes)
        for file in sorted(_images_in(path / split / name))
    ]


def _images_in(folder: Path) -> Iterator[Path]:
    entries = folder.iterdir() if folder.is_dir() else ()
    return (file for file in entries if file.suffix.lower() in SUFFIXES)


def require_all_classes(path: Path, classes: Sequence[str]) -> None:
    """Refuses a folder in which a class has no image, in either split.

    Raises:
        UsageError: one line with the first few such classes.
    """
    missing = [f"{split}/{name}" for split in SPLITS for name in classes if not any(_images_in(path / split / name))]
    if missing:
        raise UsageError(
            f"{path}: {len(missing)} class folders are missing or hold no image ({', '.join(sorted(SUFFIXES))}): "
            f"{_few(missing)}: add their images, or take all classes of train (--classes all; "
            'imagenet.classes = "all")'
        )


def undecodable(images: Sequence[Path]) -> UsageError:
    """Returns one line about images that `decode` refuses, with the first few of them."""
    names = _few([str(image) for image in images])
    return UsageError(f"{len(images)} images cannot be decoded: {names}: restore them, or take them out of the folder")


def _few(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED_PROBLEMS
    return ", ".join(names[:_NAMED_PROBLEMS]) + (f" and {rest} more" if rest > 0 else "")


def decode(path: Path) -> Image.Image | None:
    """Returns an image file's pixels as RGB; None if it cannot be decoded."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


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
) -> Iterator[Iterator[_Result]]:
    """Yields what `work` makes of blocks of paths, in order, here or in several processes."""
    blocks = [paths[first : first + _FILES_A_TASK] for first in range(0, len(paths), _FILES_A_TASK)]
    if workers == 1:
        yield map(work, blocks)
        return
    with worker_pool(workers) as pool:
        yield pool.map(work, blocks)
