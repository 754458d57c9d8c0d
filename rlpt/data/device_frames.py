"""Frames in a GPU's memory, and what is cut out of them there.

Written for any device, so that tests can compare it with the host's way, which is several times faster on a CPU.
"""

import numpy as np
import torch
from torch import Tensor


class DeviceFrames:
    """A growing array of frames on a device: uint8 [frames, 3, size, size]."""

    def __init__(self, expected: int, size: int, device: torch.device) -> None:
        """Reserves memory for `expected` frames, and for half as many again whenever there are more."""
        self._frames = torch.empty((expected, 3, size, size), dtype=torch.uint8, device=device)

    def put(self, first: int, planes: np.ndarray) -> None:
        """Writes uint8 [n, 3, size, size] as the frames `first`, `first` + 1, ..."""
        end = first + len(planes)
        if end > len(self._frames):
            larger = self._frames.new_empty((max(end, len(self._frames) * 3 // 2), *self._frames.shape[1:]))
            larger[:first] = self._frames[:first]
            self._frames = larger
        self._frames[first:end] = on_device(planes, self._frames.device)

    def stacks(self, numbers: np.ndarray, tops: np.ndarray, lefts: np.ndarray, crop: int) -> Tensor:
        """Cuts each stack's frames at the stack's own offset.

        Args:
            numbers: int64 [batch, frame_stack], frames of each stack.
            tops: int64 [batch], first row of each crop.
            lefts: int64 [batch], first column.
            crop: height and width of the crops.

        Returns:
            uint8 [batch, 3 · frame_stack, crop, crop].
        """
        windows = self._frames.unfold(2, crop, 1).unfold(3, crop, 1)  # [frames, 3, tops, lefts, crop, crop]
        index, top, left = (
            on_device(values, self._frames.device) for values in (numbers, tops[:, None], lefts[:, None])
        )
        return windows[index, :, top, left].reshape(len(numbers), -1, crop, crop)


def on_device(array: np.ndarray, device: torch.device) -> Tensor:
    """Returns an array's contents on a device, without waiting for a GPU."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
