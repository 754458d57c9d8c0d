"""Checkpoints: everything a job needs to go on exactly where it was, in one file that appears whole or not at all.

A state is a nested dictionary of tensors, NumPy arrays and JSON values. Tensors and arrays are stored as safetensors,
the rest as JSON in the file's metadata; nothing is pickled.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rlpt.errors import UsageError
from rlpt.files import write_safetensors

State = dict[str, Any]

_SEPARATOR = "/"


def save_checkpoint(path: Path, state: State) -> None:
    """Writes `state`; keys must be strings without "/"."""
    tensors: dict[str, Tensor] = {}
    values = _separate(state, "", tensors)
    write_safetensors(path, tensors, values)


def load_checkpoint(path: Path) -> State:
    """Returns what `save_checkpoint` wrote; arrays come back as tensors on the CPU.

    Raises:
        UsageError: if the file is not readable as a checkpoint.
    """
    try:
        with safe_open(path, "pt") as file:
            state: State = json.loads(file.metadata()["rlpt"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
    except (OSError, SafetensorError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path}: not readable as a checkpoint ({error}): delete its folder, and the job starts anew"
        ) from None
    for name, tensor in tensors.items():
        *groups, last = name.split(_SEPARATOR)
        place = state
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = tensor
    return state


def _separate(state: State, prefix: str, tensors: dict[str, Tensor]) -> State:
    """Moves tensors and arrays into `tensors` by their path, and returns what is left."""
    values: State = {}
    for key, value in state.items():
        if isinstance(value, dict):
            values[key] = _separate(value, f"{prefix}{key}{_SEPARATOR}", tensors)
        elif isinstance(value, Tensor):
            tensors[prefix + key] = value
        elif isinstance(value, np.ndarray):
            tensors[prefix + key] = torch.from_numpy(value)
        else:
            values[key] = value
    return values


def optimiser_state(optimiser: torch.optim.Optimizer) -> State:
    """Returns the optimiser's tensors by parameter number; its settings are the job's own."""
    return {str(number): dict(values) for number, values in optimiser.state_dict()["state"].items()}


def set_optimiser_state(optimiser: torch.optim.Optimizer, state: State) -> None:
    """Puts an optimiser back where `optimiser_state` saw it."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    own = optimiser.state_dict()
    own["state"] = {
        int(number): {name: _laid_out_like(parameters[int(number)], value) for name, value in values.items()}
        for number, values in state.items()
    }
    optimiser.load_state_dict(own)


def _laid_out_like(parameter: Tensor, value: Tensor) -> Tensor:
    """Gives a moment its parameter's memory layout, which fused optimisers take for granted."""
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value


def global_random_state(device: torch.device) -> State:
    """Returns the state of PyTorch's own generator, which dropout draws from."""
    return {"cpu": torch.get_rng_state()} | (
        {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    )


def set_global_random_state(device: torch.device, state: State) -> None:
    """Puts PyTorch's own generator back where `global_random_state` saw it."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
