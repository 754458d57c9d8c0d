"""Image folders in ImageNet's layout, and our own stripes in place of the data."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rlpt.data import synthetic_images
from rlpt.data.crops import center_crop
from rlpt.data.image_folder import class_names, decode, list_images, middle_square, paper_classes, require_all_classes
from rlpt.data.synthetic_images import provide_synthetic_folder, write_synthetic_folder
from rlpt.errors import UsageError
from tests.conftest import REFERENCE
from tests.data.conftest import CLASSES


def test_the_papers_classes_are_the_published_ones() -> None:
    classes = paper_classes()
    assert len(set(classes)) == 100
    assert list(classes) == sorted(classes)
    digest = hashlib.sha256("".join(f"{name}\n" for name in classes).encode()).hexdigest()
    assert digest == "b7180035cd745636c6532a16a10e676bbcb73ecc79d7680d575763f6b5297886"
    published = REFERENCE / "imagenet_classes.txt"
    if published.is_file():
        assert list(classes) == published.read_text().split()


def test_every_suffix_of_an_image_counts_and_nothing_else(folder: Path) -> None:
    home = folder / "train" / CLASSES[0]
    for name in ("a.PNG", "b.jpg", "c.Jpeg"):
        Image.new("L", (30, 20)).save(home / name)
    (home / "notes.txt").write_text("no image")
    assert len(list_images(folder, "train", CLASSES)) == 12 + 3
    assert len(list_images(folder, "val", CLASSES)) == 6


def test_missing_classes_are_named(folder: Path) -> None:
    require_all_classes(folder, class_names(folder, "all"))
    for file in (folder / "val" / CLASSES[1]).iterdir():
        file.unlink()
    with pytest.raises(UsageError, match=rf"images: 1 class folders are missing .*: val/{CLASSES[1]}: add"):
        require_all_classes(folder, class_names(folder, "all"))
    with pytest.raises(UsageError, match=r"200 class folders are missing .*: train/n01443537, .* and 197 more: add"):
        require_all_classes(folder, class_names(folder, "paper"))


@pytest.mark.parametrize("kind", ["truncated", "text", "bomb", "EPS"])  # the last: Pillow would start a program for it
def test_what_is_no_image_is_not_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    file = folder / "train" / CLASSES[1] / f"{CLASSES[1]}_0002.JPEG"
    assert decode(file) is not None
    if kind == "EPS":
        Image.new("RGB", (20, 20)).save(file, "EPS")
    elif kind == "bomb":
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    else:
        file.write_bytes(file.read_bytes()[:500] if kind == "truncated" else b"no image")
    assert decode(file) is None


def test_another_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="absent: no such folder: check the path"):
        class_names(tmp_path / "absent", "all")
    with pytest.raises(UsageError, match="has no folder 'train': ImageNet's layout is"):
        class_names(tmp_path, "all")
    (tmp_path / "train" / CLASSES[0]).mkdir(parents=True)
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG").touch()
    with pytest.raises(UsageError, match="val: has no folder of a class"):
        class_names(tmp_path, "paper")


@pytest.mark.parametrize("shape", [(120, 161), (203, 140), (100, 100), (60, 90), (101, 500)])
def test_validation_sees_the_pixels_of_the_published_pipeline(shape: tuple[int, int]) -> None:
    """torchvision's Resize(100), CenterCrop(84), written out, against the middle of what the cache keeps."""
    height, width = shape
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    wide, high = (100, int(100 * height / width)) if width < height else (int(100 * width / height), 100)
    scaled = np.asarray(image.resize((wide, high), Image.Resampling.BILINEAR))
    top, left = round((high - 84) / 2.0), round((wide - 84) / 2.0)
    kept = middle_square(image, 100)
    assert kept.shape == (100, 100, 3)
    assert kept.dtype == np.uint8
    np.testing.assert_array_equal(
        center_crop(kept.transpose(2, 0, 1), 84).transpose(1, 2, 0), scaled[top : top + 84, left : left + 84]
    )


def test_synthetic_folders_are_the_same_bytes_and_say_what_they_are(folder: Path, tmp_path: Path) -> None:
    write_synthetic_folder(tmp_path / "again", CLASSES, train_images=4, val_images=2)
    for file in list_images(folder, "train", CLASSES) + list_images(folder, "val", CLASSES):
        assert (tmp_path / "again" / file.path.relative_to(folder)).read_bytes() == file.path.read_bytes()
    assert "not ImageNet" in (folder / "README.txt").read_text()
    write_synthetic_folder(tmp_path / "other", CLASSES, train_images=1, val_images=1, seed=1)
    name = f"train/{CLASSES[0]}/{CLASSES[0]}_0000.JPEG"
    assert (tmp_path / "other" / name).read_bytes() != (folder / name).read_bytes()


def test_a_synthetic_folder_replaces_nothing(folder: Path) -> None:
    with pytest.raises(UsageError, match="images: is there already"):
        write_synthetic_folder(folder, CLASSES, train_images=1, val_images=1)
    assert len(list_images(folder, "train", CLASSES)) == 12


def test_drawing_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(synthetic_images, "_striped_image", fail)
    with pytest.raises(OSError, match="no space left"):
        provide_synthetic_folder(tmp_path / "synthetic")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("mode", "name"), [("L", "g.jpg"), ("CMYK", "c.jpg"), ("P", "p.png"), ("RGBA", "a.png")])
def test_images_of_any_kind_become_rgb(tmp_path: Path, mode: str, name: str) -> None:
    Image.new(mode, (40, 30)).save(tmp_path / name)
    image = decode(tmp_path / name)
    assert image is not None and image.mode == "RGB"


def test_classes_are_sorted_as_text_and_hidden_folders_are_none(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("n9", "n10", "n05", "n3", ".cache"):
            (tmp_path / split / name).mkdir(parents=True)
    assert class_names(tmp_path, "all") == ("n05", "n10", "n3", "n9")
