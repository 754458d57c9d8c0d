"""Independent random streams, each named after what consumes it.

One seed per job; every consumer (environment, exploration, replay, crops, noise, ...) has a stream of its own, so that
changing how often one of them draws leaves all others alone.
"""

import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def _sequence(seed: int, name: str, index: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(entropy=seed, spawn_key=(zlib.crc32(name.encode()), index))


def stream(seed: int, name: str, index: int = 0) -> np.random.Generator:
    """Returns the NumPy generator of consumer `name`; `index` counts its repetitions (episodes, evaluations)."""
    return np.random.Generator(np.random.PCG64(_sequence(seed, name, index)))


def integer_seed(seed: int, name: str, index: int = 0) -> int:
    """Returns a seed below 2**32, for libraries that take nothing else (dm_control's tasks, PyTorch)."""
    return int(_sequence(seed, name, index).generate_state(1)[0])


def torch_stream(seed: int, name: str, device: "torch.device | str" = "cpu") -> "torch.Generator":
    """Returns the PyTorch generator of consumer `name` on `device`."""
    import torch

    return torch.Generator(device).manual_seed(integer_seed(seed, name))
