"""Frames in a GPU's memory.

Written for any device, so that tests can compare it with the host's way, which is several times faster on a CPU.
"""

import numpy as np
import torch
from torch import Tensor

from rlpt.data.batch import DrawnBatch


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

    def drawn(self, places: np.ndarray, outcomes: np.ndarray, crop: int) -> DrawnBatch:
        """Returns a batch of crops of these frames; see `DrawnBatch` for the arguments."""
        device = self._frames.device
        return DrawnBatch(self._frames, crop, on_device(places, device), on_device(outcomes, device))


def on_device(array: np.ndarray, device: torch.device) -> Tensor:
    """Returns an array's contents on a device, without waiting for a GPU."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
