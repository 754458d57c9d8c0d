"""Which transitions train and which test, and in what batches."""

from collections.abc import Iterator

import numpy as np


def held_out(transitions: int, test_fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows to train on and the last part, of at least one row, to test on."""
    first_test = transitions - max(1, round(transitions * test_fraction))
    return np.arange(first_test), np.arange(first_test, transitions)


def batches(rows: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Cuts rows into batches; a last batch of one row, which batch norm cannot take, is left out."""
    for first in range(0, len(rows), batch_size):
        if len(rows) - first > 1:
            yield rows[first : first + batch_size]


def update_count(transitions: int, batch_size: int, epochs: int, test_fraction: float) -> int:
    """Returns how many gradient steps `epochs` take."""
    training, _ = held_out(transitions, test_fraction)
    return epochs * sum(1 for _ in batches(training, batch_size))
