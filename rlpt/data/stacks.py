"""Frame stacks by index: every frame is stored once, and a stack is a list of frame numbers."""

import numpy as np


def stack_indices(newest: np.ndarray, age: np.ndarray, frame_stack: int) -> np.ndarray:
    """Returns which frames make up each observation.

    Args:
        newest: int64 [batch], the number of each observation's newest frame.
        age: int [batch], how many frames of the same episode lie before it (may be cut off at frame_stack - 1).
        frame_stack: frames in a stack.

    Returns:
        int64 [batch, frame_stack], oldest first; an episode's first frame is repeated where the stack begins before it.
    """
    back = np.arange(frame_stack - 1, -1, -1)
    indices: np.ndarray = newest[:, None] - np.minimum(back[None, :], age[:, None])
    return indices


def as_channels(stacks: np.ndarray) -> np.ndarray:
    """Views uint8 [batch, frame_stack, height, width, 3] as [batch, 3 · frame_stack, height, width].

    The result is contiguous with channels last, the layout that convolutions are fastest in.
    """
    batch, frames, height, width, colours = stacks.shape
    last = np.ascontiguousarray(stacks.transpose(0, 2, 3, 1, 4)).reshape(batch, height, width, frames * colours)
    return last.transpose(0, 3, 1, 2)
