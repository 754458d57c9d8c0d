"""Independent random streams, each named after what consumes it.

One seed per job; every consumer (environment, random actions, replay, crops, policy noise, ...) has its own stream, so
that changing how often one of them draws leaves all others alone. Acting and updating share the policy's noise.
"""

import zlib
from typing import TYPE_CHECKING, Any

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


def generator_state(generator: np.random.Generator) -> dict[str, Any]:
    """Returns a NumPy generator's state."""
    return dict(generator.bit_generator.state)


def set_generator_state(generator: np.random.Generator, state: dict[str, Any]) -> None:
    """Puts a generator back where `generator_state` saw it."""
    generator.bit_generator.state = state


def legacy_random_state(random: np.random.RandomState) -> dict[str, Any]:
    """Returns the state of a generator as dm_control's tasks use it."""
    state = random.get_state(legacy=False)
    assert isinstance(state, dict)
    return {
        "key": state["state"]["key"].astype(np.int64),
        "pos": int(state["state"]["pos"]),
        "has_gauss": int(state["has_gauss"]),
        "gauss": float(state["gauss"]),
    }


def set_legacy_random_state(random: np.random.RandomState, state: dict[str, Any]) -> None:
    """Puts a generator back where `legacy_random_state` saw it."""
    key = np.asarray(state["key"]).astype(np.uint32)
    random.set_state(("MT19937", key, state["pos"], state["has_gauss"], state["gauss"]))
