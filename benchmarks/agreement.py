"""Showing, before anything is measured, that both sides compute the same."""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from rlpt.settings import Precision

LOSS_TOLERANCE: Mapping[Precision, float] = {"float32": 1e-4, "tf32": 2e-2, "bfloat16": 2e-2}
"Relative, of losses in a precision to those in float32."


def require_same_losses(
    ours: Mapping[str, float | Tensor], reference: Mapping[str, float], precision: Precision = "float32"
) -> None:
    """Checks that all values are the same but for the precision's `LOSS_TOLERANCE`.

    Raises:
        ArithmeticError: if they are not.
    """
    if ours.keys() != reference.keys():
        raise ArithmeticError(f"different losses: {sorted(ours)} and {sorted(reference)}")
    for name, expected in reference.items():
        found = float(ours[name])
        if abs(found - expected) > LOSS_TOLERANCE[precision] * abs(expected):
            raise ArithmeticError(f"{name} is {found}, and {expected} in the plain implementation")


def require_same_pixels(name: str, ours: np.ndarray, reference: np.ndarray) -> None:
    """Checks that two uint8 arrays are equal.

    Raises:
        ArithmeticError: if they are not.
    """
    if not np.array_equal(ours, reference):
        raise ArithmeticError(f"{name}: not the pixels of the plain implementation")
