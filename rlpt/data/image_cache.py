"""A folder of labelled images decoded once, so that hundreds of epochs need not.

A cache is one HDF5 file a split, read by memory map:

    images   uint8   [images, size, size, 3]   uncompressed and contiguous; by class, then by file name
    labels   int64   [images]

Fidelity: the published pipeline scales an image's shorter side to 100 pixels, keeping its aspect, and crops 84×84 from
the middle (validation) or anywhere (training). The cache keeps the scaled image's middle square. Validation sees the
same pixels as published; a random crop in training does not reach the two ends of the longer side.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from rlpt.data.hdf5 import whole_hdf5
from rlpt.data.image_folder import (
    SPLITS,
    ClassChoice,
    LabelledFile,
    Split,
    class_names,
    decode,
    in_blocks,
    list_images,
    middle_square,
    require_all_classes,
    undecodable,
)
from rlpt.errors import Busy, UsageError
from rlpt.progress import Report, progress_bar
from rlpt.runs.files import remove_leftovers
from rlpt.runs.locks import claimed
from rlpt.runs.provenance import available_cores

_FORMAT = "rlpt labelled images 1"
_IMAGES_HASHED_AT_ONCE = 1024
_WAIT_SECONDS = 2.0


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


def cache_path(cache: Path, folder: Path, split: Split, classes: Sequence[str], size: int) -> Path:
    """Returns the file in `cache` that holds these classes of a split of the images in `folder`, at `size` pixels."""
    names = hashlib.sha256("\n".join(classes).encode()).hexdigest()[:8]
    return cache / f"{folder.name}-{split}-{len(classes)}-classes-{names}-{size}px.h5"


def load_split(
    path: Path, split: Split, classes: Sequence[str], size: int, cache: Path, workers: int, report: Report
) -> LabelledImages:
    """Opens a split's cache, which is built first where there is none of the folder as it is now.

    Whether it is, is told by the files' names, sizes and times of modification. The cache's bytes do not depend on
    `workers`. Of several processes one builds it, and the others wait.

    Args:
        path: the folder that holds train/ and val/.
        split: which of them.
        classes: WordNet ids; labels count from 0 in this order (`class_names`).
        size: height and width to decode to.
        cache: folder of the caches; made if need be.
        workers: processes that decode.
        report: called with how many images of how many are decoded, and while waiting; not if the cache is there.

    Raises:
        UsageError: if a class has no image in either split, or images cannot be decoded: names the first few. No cache
            is left behind.
    """
    require_all_classes(path, classes)
    files = list_images(path, split, classes)
    file, source = cache_path(cache, path, split, classes, size), _source_digest(files, classes, size)
    while (found := _read_cache(file, source)) is None:
        try:
            with claimed(file.with_name(f".{file.name}.lock")):
                if _read_cache(file, source) is None:  # nobody has built it meanwhile
                    remove_leftovers(file.parent, f"{file.stem}-")
                    _build_cache(file, source, files, classes, size, workers, report)
        except Busy:
            report(0, len(files), "waiting for another process, which decodes these images")
            time.sleep(_WAIT_SECONDS)
    return found


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
    done, bad = 0, list[Path]()
    work = partial(_decode_block, size)
    with (
        whole_hdf5(path) as cache,
        in_blocks(work, [file.path for file in files], workers) as blocks,
    ):
        images = cache.create_dataset("images", (len(files), size, size, 3), np.uint8)
        for block, block_bad in blocks:
            images[done : done + len(block)] = block
            digest.update(block.tobytes())
            bad += block_bad
            done += len(block)
            report(done, len(files), f"{len(bad)} cannot be decoded" if bad else "decoding")
        if bad:
            raise undecodable(bad)
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


def _decode_block(size: int, paths: Sequence[Path]) -> tuple[np.ndarray, list[Path]]:
    """Returns the images, zeros where one cannot be decoded, and the paths of those."""
    images, bad = np.zeros((len(paths), size, size, 3), np.uint8), []
    for at, path in enumerate(paths):
        image = decode(path)
        if image is None:
            bad.append(path)
        else:
            images[at] = middle_square(image, size)
    return images, bad


def _begun_digest(classes: Sequence[str], labels: np.ndarray) -> "hashlib._Hash":
    return hashlib.sha256(json.dumps(list(classes)).encode() + labels.astype("<i8").tobytes())


def check_and_cache(
    path: Path, classes: ClassChoice, size: int, cache: Path, workers: int, quiet: bool
) -> Iterator[str]:
    """Decodes a folder into `cache`, as far as that has not been done, and yields what was found, line by line.

    Raises:
        UsageError: if classes are missing, or images of either split cannot be decoded; names the first few.
    """
    names = class_names(path, classes)
    require_all_classes(path, names)
    problems = []
    for split in SPLITS:
        try:
            with progress_bar(f"decoding {split}", quiet) as report:
                images = load_split(path, split, names, size, cache, workers or available_cores(), report)
        except UsageError as error:
            problems.append(f"{split}: {error}")
            continue
        file = cache_path(cache, path, split, names, size)
        size_text = f"{file.stat().st_size / 1e9:.2f} GB"
        yield f"{split}: {len(images.labels):,} images of {len(names)} classes, {file} ({size_text})"
    if problems:
        raise UsageError("; ".join(problems))
