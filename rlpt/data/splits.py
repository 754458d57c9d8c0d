"""Which transitions train and which test, in what batches, and when the test is passed."""

from collections.abc import Iterator

import numpy as np

LEARNED_R2 = 0.02
"""Share of the variance of held-out actions that an encoder explains once it has begun to learn. On the plateau before
(docs/fidelity.md) it wavers around 0, by less than 0.015."""


def held_out(transitions: int, test_fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows to train on, int64 [examples], and the last part, of at least one row, to test on, likewise."""
    first_test = transitions - max(1, round(transitions * test_fraction))
    return np.arange(first_test), np.arange(first_test, transitions)


def batches(rows: np.ndarray, batch_size: int, stack: int = 1, least: int = 2) -> Iterator[np.ndarray]:
    """Cuts rows into batches of whole stacks.

    Args:
        rows: of examples, [examples].
        batch_size: rows in a batch, a multiple of `stack`.
        stack: rows that the network sees at once; what does not fill one is left out.
        least: stacks in the last batch, which is else left out; batch norm in training mode needs two.
    """
    filled = len(rows) - len(rows) % stack
    for first in range(0, filled, batch_size):
        batch = rows[first : min(first + batch_size, filled)]
        if len(batch) >= least * stack:
            yield batch


def update_count(examples: int, batch_size: int, epochs: int, stack: int = 1) -> int:
    """Returns how many gradient steps `epochs` over so many examples to train on take."""
    return epochs * sum(1 for _ in batches(np.arange(examples), batch_size, stack))
