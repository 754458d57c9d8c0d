"""Labelled images decoded once."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from rlpt.data import image_cache, image_folder
from rlpt.data.image_cache import LabelledImages, cache_path, load_split
from rlpt.data.image_folder import list_images, middle_square
from rlpt.errors import UsageError
from rlpt.runs.locks import claimed
from tests.data.conftest import CLASSES


def load(folder: Path, workers: int = 1) -> tuple[LabelledImages, list[tuple[int, int, str]]]:
    """Loads what is trained on at 24 pixels, and returns what was reported meanwhile, too."""
    reported: list[tuple[int, int, str]] = []
    cache = folder.parent / "cache"
    loaded = load_split(folder, "train", CLASSES, 24, cache, workers, lambda *told: reported.append(told))
    return loaded, reported


def spoil(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:500])
    return path


def test_a_cache_holds_every_image_in_order(folder: Path) -> None:
    loaded, reported = load(folder)
    assert loaded.images.shape == (12, 24, 24, 3)
    assert loaded.images.dtype == np.uint8
    assert isinstance(loaded.images, np.memmap)
    assert not loaded.images.flags.writeable
    assert loaded.classes == CLASSES
    assert loaded.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert reported[-1] == (12, 12, "decoding")
    for kept, file in zip(loaded.images, list_images(folder, "train", CLASSES), strict=True):
        with Image.open(file.path) as image:
            np.testing.assert_array_equal(kept, middle_square(image.convert("RGB"), 24))


def test_a_cache_is_reused_until_an_image_changes(folder: Path) -> None:
    first, _ = load(folder)
    again, reported = load(folder)
    assert reported == []
    np.testing.assert_array_equal(first.images, again.images)

    changed = folder / "train" / CLASSES[0] / f"{CLASSES[0]}_0000.JPEG"
    before = changed.stat()
    Image.new("RGB", (40, 40), "red").save(changed)
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    rebuilt, reported = load(folder)
    assert reported[-1] == (12, 12, "decoding")
    assert rebuilt.digest != first.digest
    assert rebuilt.images[0].mean((0, 1)).argmax() == 0
    np.testing.assert_array_equal(rebuilt.images[1:], first.images[1:])

    changed.unlink()
    assert len(load(folder)[0].labels) == 11
    assert len(list((folder.parent / "cache").glob("*.h5"))) == 1


def test_a_folder_with_a_fault_leaves_no_cache(folder: Path) -> None:
    for number in range(4):
        spoil(folder / "train" / CLASSES[1] / f"{CLASSES[1]}_000{number}.JPEG")
    spoil(folder / "train" / CLASSES[2] / f"{CLASSES[2]}_0001.JPEG")
    named = r"/train/n00000002/n00000002_0000\.JPEG, .*_0001\.JPEG, .*_0002\.JPEG and 2 more: restore"
    with pytest.raises(UsageError, match=rf"^5 images cannot be decoded: .*{named}"):
        load(folder)
    for file in (folder / "val" / CLASSES[1]).iterdir():
        file.unlink()
    with pytest.raises(UsageError, match=rf"images: 1 class folders are missing .*: val/{CLASSES[1]}: add"):
        load(folder)
    assert list((folder.parent / "cache").glob("*.h5")) == []


def test_a_damaged_cache_is_built_again(folder: Path) -> None:
    first, _ = load(folder)
    digest = first.digest
    del first
    spoil(cache_path(folder.parent / "cache", folder, "train", CLASSES, 24))
    rebuilt, reported = load(folder)
    assert (rebuilt.digest, reported[-1][0]) == (digest, 12)


def test_what_a_killed_process_left_is_deleted(folder: Path) -> None:
    file = cache_path(folder.parent / "cache", folder, "train", CLASSES, 24)
    file.parent.mkdir()
    leftover, another = (file.with_name(f".rlpt-{stem}-0a1b2c3d") for stem in (file.stem, "other"))
    for path in (leftover, another):
        path.mkdir()
        (path / file.name).write_bytes(b"half")
    load(folder)
    assert file.is_file()
    assert (leftover.exists(), another.exists()) == (False, True)


def test_a_caches_bytes_do_not_depend_on_the_number_of_workers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_folder, "_FILES_A_TASK", 5)
    path = cache_path(folder.parent / "cache", folder, "train", CLASSES, 24)
    contents = []
    for workers in (1, 2):
        path.unlink(missing_ok=True)
        load(folder, workers)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_other_folders_classes_and_sizes_have_caches_of_their_own(tmp_path: Path) -> None:
    paths = {
        cache_path(tmp_path, Path(folder), "train", classes, size)
        for folder in ("data/imagenet", "data/mine")
        for classes in (CLASSES, CLASSES[:2])
        for size in (24, 100)
    }
    assert len(paths) == 8


def test_a_process_waits_for_another_that_decodes_the_same_images(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = load(folder)
    path = cache_path(folder.parent / "cache", folder, "train", CLASSES, 24)
    content = path.read_bytes()
    path.unlink()
    other = ExitStack()
    other.enter_context(claimed(path.with_name(f".{path.name}.lock")))

    def finish_the_other(done: int, total: int, note: str) -> None:
        assert (done, note.partition(",")[0]) == (0, "waiting for another process"), "decodes nothing itself"
        path.write_bytes(content)
        other.close()

    monkeypatch.setattr(image_cache, "_WAIT_SECONDS", 0)
    again = load_split(folder, "train", CLASSES, 24, path.parent, 1, finish_the_other)
    assert again.digest == first.digest


@pytest.mark.parametrize("what", ["time", "size"])
def test_time_and_size_of_an_image_count_each_by_itself(folder: Path, what: str) -> None:
    load(folder)
    changed = folder / "train" / CLASSES[0] / f"{CLASSES[0]}_0000.JPEG"
    before = changed.stat()
    if what == "size":
        changed.write_bytes(changed.read_bytes() + b"\0")
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns + (what == "time")))
    assert load(folder)[1]


def test_one_changed_pixel_is_noticed(folder: Path) -> None:
    first, _ = load(folder)
    del first
    path = cache_path(folder.parent / "cache", folder, "train", CLASSES, 24)
    with h5py.File(path, "r") as cache:
        offset = cache["images"].id.get_offset()
    with path.open("r+b") as file:
        file.seek(offset + 5)
        (byte,) = file.read(1)
        file.seek(offset + 5)
        file.write(bytes([byte ^ 1]))
    assert load(folder)[1][-1:] == [(12, 12, "decoding")]


def test_labels_are_part_of_the_digest(folder: Path) -> None:
    digest = load(folder)[0].digest
    name = f"{CLASSES[0]}_0003.JPEG"  # the last of the first class becomes the first of the second
    (folder / "train" / CLASSES[0] / name).rename(folder / "train" / CLASSES[1] / name)
    assert load(folder)[0].digest != digest


def test_a_cache_is_checked_in_blocks_of_any_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build, built = image_cache._build_cache, list[None]()

    def once(*arguments: Any) -> None:
        assert not built, "a cache that was just built is not recognised"
        built.append(build(*arguments))

    monkeypatch.setattr(image_cache, "_IMAGES_HASHED_AT_ONCE", 5)
    monkeypatch.setattr(image_cache, "_build_cache", once)
    load(folder)
    load(folder)
