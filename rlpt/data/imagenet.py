"""Labelled image folders in ImageNet's layout: checked, and decoded once into a cache.

Layout: `train/<WordNet id>/*.JPEG` and `val/<WordNet id>/*.JPEG`; also .jpg, .jpeg and .png, in either case. A class's
label is its position among the sorted ids.

A cache is one HDF5 file a split, read by memory map, so that hundreds of epochs decode each image once:

    images   uint8   [images, size, size, 3]   uncompressed and contiguous; by class, then by file name
    labels   int64   [images]

Fidelity: the published pipeline scales an image's shorter side to 100 pixels, keeping its aspect, and crops 84×84 from
the middle (validation) or anywhere (training). The cache keeps the scaled image's middle square. Validation sees the
same pixels as published; a random crop in training does not reach the two ends of the longer side.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Literal, TypeVar

import h5py
import numpy as np
from PIL import Image

from rlpt.data.hdf5 import whole_hdf5
from rlpt.errors import UsageError
from rlpt.progress import Report, progress_bar
from rlpt.provenance import available_cores
from rlpt.workers import worker_pool

Split = Literal["train", "val"]
ClassChoice = Literal["paper", "all"]

SPLITS: tuple[Split, ...] = ("train", "val")
SUFFIXES = frozenset({".jpeg", ".jpg", ".png"})

_FORMAT = "rlpt labelled images 1"
_FILES_A_TASK = 32
_NAMED_PROBLEMS = 3
_IMAGES_HASHED_AT_ONCE = 1024
_MEND_IMAGES = "restore from the archive, or take out of the folder"

_Result = TypeVar("_Result")


def paper_classes() -> tuple[str, ...]:
    """Returns the WordNet ids of the 100 published classes: every second one of ImageNet-R's 200 (fidelity item 6)."""
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
        "add their images, or choose classes that are there"
    )


def _few(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED_PROBLEMS
    return ", ".join(names[:_NAMED_PROBLEMS]) + (f" and {rest} more" if rest > 0 else "")


def _missing(path: Path, split: Split, classes: Sequence[str], files: Sequence[LabelledFile]) -> list[str]:
    """Names a split's class folders that are not there or hold no image."""
    counts = Counter(file.label for file in files)
    return [f"{split}/{name}" for label, name in enumerate(classes) if not counts[label]]


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
    with _in_blocks(_unreadable, everything, workers) as blocks:
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
            _decode(path)
        except UsageError:
            bad.append(path)
    return bad


def _decode(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
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


def _decode_block(size: int, paths: Sequence[Path]) -> np.ndarray:
    return np.stack([middle_square(_decode(path), size) for path in paths])


@contextmanager
def _in_blocks(
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


@dataclass(frozen=True)
class LabelledImages:
    """One split, decoded."""

    images: np.ndarray
    "uint8 [images, size, size, 3]; a read-only memory map of the cache"
    labels: np.ndarray
    "int64 [images]"
    classes: tuple[str, ...]
    "WordNet ids by label"
    digest: str
    "SHA-256 of pixels, labels and classes, in hex: the same wherever the folder lies"


def cache_path(cache: Path, split: Split, classes: Sequence[str], size: int) -> Path:
    """Returns the file in folder `cache` that holds a split of these classes at `size` pixels."""
    names = hashlib.sha256("\n".join(classes).encode()).hexdigest()[:8]
    return cache / f"{split}-{len(classes)}-classes-{names}-{size}px.h5"


def load_split(
    path: Path, split: Split, classes: Sequence[str], size: int, cache: Path, workers: int, report: Report
) -> LabelledImages:
    """Opens a split's cache, which is built first where there is none of the folder as it is now.

    Whether it is, is told by the files' names, sizes and times of modification. The cache's bytes do not depend on
    `workers`.

    Args:
        path: the folder that holds train/ and val/.
        split: which of them.
        classes: WordNet ids; labels count from 0 in this order (`class_names`).
        size: height and width to decode to.
        cache: folder of the caches; made if need be.
        workers: processes that decode.
        report: called with the number of images decoded; not at all if the cache is there.

    Raises:
        UsageError: if a class has no image, or an image cannot be decoded. No cache is left behind.
    """
    files = list_images(path, split, classes)
    missing = _missing(path, split, classes, files)
    if missing:
        raise _missing_error(path, missing)
    file, source = cache_path(cache, split, classes, size), _source_digest(files, classes, size)
    built = _read_cache(file, source)
    if built is None:
        _build_cache(file, source, files, classes, size, workers, report)
        built = _read_cache(file, source)
        assert built is not None
    return built


def _source_digest(files: Sequence[LabelledFile], classes: Sequence[str], size: int) -> str:
    digest = hashlib.sha256(json.dumps([_FORMAT, size, *classes]).encode())
    for file in files:
        status = file.path.stat()
        digest.update(json.dumps([file.label, file.path.name, status.st_size, status.st_mtime_ns]).encode())
    return digest.hexdigest()


def _build_cache(
    path: Path,
    source: str,
    files: Sequence[LabelledFile],
    classes: Sequence[str],
    size: int,
    workers: int,
    report: Report,
) -> None:
    labels = np.array([file.label for file in files], np.int64)
    digest = _begun_digest(classes, labels)
    done = 0
    work = partial(_decode_block, size)
    with (
        whole_hdf5(path) as cache,
        _in_blocks(work, [file.path for file in files], workers) as blocks,
    ):
        images = cache.create_dataset("images", (len(files), size, size, 3), np.uint8)
        for _, block in blocks:
            images[done : done + len(block)] = block
            digest.update(block.tobytes())
            done += len(block)
            report(done, "decoding")
        cache["labels"] = labels
        cache.attrs.update(
            {"format": _FORMAT, "source": source, "digest": digest.hexdigest(), "classes": json.dumps(list(classes))}
        )


def _read_cache(path: Path, source: str) -> LabelledImages | None:
    """Returns None if there is no whole and undamaged cache of this source at `path`."""
    try:
        with h5py.File(path, "r") as cache:
            if cache.attrs.get("source") != source:
                return None
            classes, digest = tuple(json.loads(cache.attrs["classes"])), str(cache.attrs["digest"])
            labels = cache["labels"][:]
            shape, offset = cache["images"].shape, cache["images"].id.get_offset()
        images = np.memmap(path, np.uint8, "r", offset, shape)
    except (OSError, KeyError, ValueError, AttributeError, TypeError, RuntimeError):  # damaged in whatever way
        return None
    found = _begun_digest(classes, labels)
    for first in range(0, len(images), _IMAGES_HASHED_AT_ONCE):
        found.update(images[first : first + _IMAGES_HASHED_AT_ONCE].data)
    return LabelledImages(images, labels, classes, digest) if found.hexdigest() == digest else None


def _begun_digest(classes: Sequence[str], labels: np.ndarray) -> "hashlib._Hash":
    return hashlib.sha256(json.dumps(list(classes)).encode() + labels.astype("<i8").tobytes())


def check_and_cache(
    path: Path, classes: ClassChoice, size: int, cache: Path, workers: int, quiet: bool
) -> Iterator[str]:
    """Checks a folder, decodes it into `cache`, and yields what was found, line by line.

    Raises:
        UsageError: if classes are missing or images are unreadable; names the first few.
    """
    workers = workers or available_cores()
    names = class_names(path, classes)
    count = sum(len(list_images(path, split, names)) for split in SPLITS)
    with progress_bar("reading every image", count, quiet) as report:
        findings = check_folder(path, classes, workers, report)
    findings.require_usable()
    for split in SPLITS:
        with progress_bar(f"decoding {split}", findings.images[split], quiet) as report:
            images = load_split(path, split, names, size, cache, workers, report)
        file = cache_path(cache, split, names, size)
        size_text = f"{file.stat().st_size / 1e9:.2f} GB"
        yield f"{split}: {len(images.labels):,} images of {len(names)} classes, {file} ({size_text})"
