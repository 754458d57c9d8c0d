"""A small labelled image folder of our own in ImageNet's layout, for tests and the smoke profile: not ImageNet."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from rlpt.errors import UsageError
from rlpt.runs.files import whole_folder
from rlpt.streams import stream

_README = """These images are not ImageNet.

They are striped patterns drawn by rlpt (rlpt/data/synthetic_images.py) in ImageNet's folder layout, to try the
software without the data: each class has its own direction, width and colour of stripes. The names of the class folders
say nothing about what is in them. Results on these images cannot be compared with anyone's.
"""


_CLASSES, _TRAIN_IMAGES, _VAL_IMAGES = 6, 25, 10


def provide_synthetic_folder(path: Path) -> None:
    """Draws the folder that the smoke profile pretrains on, six classes, unless it is there."""
    if path.exists():
        return
    try:
        write_synthetic_folder(path, [f"n{number:08}" for number in range(_CLASSES)], _TRAIN_IMAGES, _VAL_IMAGES)
    except (OSError, UsageError):
        if not path.exists():  # else another process was quicker, with the same images
            raise


def write_synthetic_folder(
    path: Path, classes: Sequence[str], train_images: int, val_images: int, seed: int = 0
) -> None:
    """Draws a labelled JPEG folder in ImageNet's layout, whose classes can be learned.

    A class is a direction, width and colour of stripes; phase, contrast, aspect and noise differ from image to image.
    The bytes depend on the arguments alone (and the version of the JPEG library).

    Args:
        path: the folder to make, whole or not at all.
        classes: names of the class folders, WordNet ids or others.
        train_images: images of each class in train/.
        val_images: images of each class in val/.
        seed: of every random draw.

    Raises:
        UsageError: if `path` is there already and is not an empty folder.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UsageError(f"{path}: is there already: remove it, or choose another folder for the synthetic images")
    with whole_folder(path) as aside:
        _draw_splits(aside, classes, {"train": train_images, "val": val_images}, seed)
        (aside / "README.txt").write_text(_README, encoding="utf-8")


def _draw_splits(folder: Path, classes: Sequence[str], counts: Mapping[str, int], seed: int) -> None:
    for split, count in counts.items():
        for label, name in enumerate(classes):
            place = folder / split / name
            place.mkdir(parents=True)
            for index in range(count):
                random = stream(seed, f"{split} {name}", index)
                pixels = _striped_image(label, len(classes), random)
                Image.fromarray(pixels).save(place / f"{name}_{index:04d}.JPEG", quality=90)


def _striped_image(label: int, classes: int, random: np.random.Generator) -> np.ndarray:
    """Returns uint8 [height, width, 3], each side 104…160 pixels."""
    height, width = random.integers(104, 161, 2)
    angle = np.pi * (label + random.uniform(-0.15, 0.15)) / classes
    stripes = 2 + 2 * (label % 3)
    phase, contrast = random.uniform(0, 2 * np.pi), random.uniform(50, 90)
    row, column = np.ogrid[:height, :width]
    across = (row * np.sin(angle) + column * np.cos(angle)) / min(height, width)
    wave = np.sin(2 * np.pi * stripes * across + phase)
    hue = np.pi * label / classes  # stripes run from a colour to its opposite, which is half a circle away
    colour = np.cos(hue + 2 * np.pi * np.arange(3) / 3)
    image = 128 + contrast * wave[..., None] * colour + random.normal(0, 20, (height, width, 3))
    pixels: np.ndarray = np.clip(image, 0, 255).astype(np.uint8)
    return pixels
