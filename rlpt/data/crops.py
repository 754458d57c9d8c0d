"""Cutting the network's input out of frames (reference: random crops in training, the centre in acting)."""

import numpy as np


def center_crop(images: np.ndarray, crop: int) -> np.ndarray:
    """Returns the middle crop × crop pixels of uint8 images [..., height, width]."""
    top, left = (images.shape[-2] - crop) // 2, (images.shape[-1] - crop) // 2
    return images[..., top : top + crop, left : left + crop]


def random_offsets(random: np.random.Generator, count: int, size: int, crop: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws where `count` crops begin, two int64 arrays [count].

    As in the published code the last offset is left out: 0…15, not 0…16, for a crop of 84 from 100.
    """
    rows, columns = random.integers(0, max(1, size - crop), size=(2, count))
    return rows, columns
