"""Showing, before anything is measured, that both sides compute the same."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

LOSS_TOLERANCE = 1e-4
"Relative."


@contextmanager
def full_float32() -> Iterator[None]:
    """Within the block, a GPU computes convolutions and products without TF32."""
    backends = torch.backends
    before = backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32
    backends.cudnn.allow_tf32 = backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32 = before


def require_same_losses(ours: Mapping[str, float | Tensor], reference: Mapping[str, float]) -> None:
    """Checks that all values are the same but for `LOSS_TOLERANCE`.

    Raises:
        ArithmeticError: if they are not.
    """
    if ours.keys() != reference.keys():
        raise ArithmeticError(f"different losses: {sorted(ours)} and {sorted(reference)}")
    for name, expected in reference.items():
        found = float(ours[name])
        if abs(found - expected) > LOSS_TOLERANCE * abs(expected):
            raise ArithmeticError(f"{name} is {found}, and {expected} in the plain implementation")


def require_same_pixels(name: str, ours: np.ndarray, reference: np.ndarray) -> None:
    """Checks that two uint8 arrays are equal.

    Raises:
        ArithmeticError: if they are not.
    """
    if not np.array_equal(ours, reference):
        raise ArithmeticError(f"{name}: not the pixels of the plain implementation")
