"""Checkpoints: everything a job needs to go on exactly where it was, in one file that appears whole or not at all.

A state is a nested dictionary of tensors, NumPy arrays and JSON values. Tensors and arrays are stored as safetensors,
the rest as JSON in the file's metadata; nothing is pickled.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rlpt.errors import UsageError
from rlpt.runs.files import write_safetensors

State = dict[str, Any]

_SEPARATOR = "/"
_START_ANEW = "delete its folder, and the job starts anew"


class _Saved(dict[str, Any]):
    """A state that was read; a key that it lacks was not there when it was saved."""

    def __init__(self, path: Path, values: State) -> None:
        super().__init__({key: _Saved(path, own) if isinstance(own, dict) else own for key, own in values.items()})
        self._path = path

    def __missing__(self, key: str) -> Any:
        raise UsageError(
            f"{self._path}: a checkpoint of another version of rlpt, which knew no {key!r}: go on with that version, "
            f"or {_START_ANEW}"
        )


def save_checkpoint(path: Path, state: State, job: str) -> None:
    """Writes `state`, whose keys must be strings without "/", as a checkpoint of `job` (a `Job.digest`).

    Raises:
        Diverged: if a number in it is not finite; the file that is there stays.
    """
    tensors: dict[str, Tensor] = {}
    values = _separate(state, "", tensors)
    contents = {"job": job, "sha256": _digest(values, tensors), "state": values}
    write_safetensors(path, tensors, contents)


def load_checkpoint(path: Path, job: str) -> State:
    """Returns what `save_checkpoint` wrote; arrays come back as tensors on the CPU.

    Raises:
        UsageError: if the file is not a whole checkpoint, or one of another job; later, if a key is asked for that it
            lacks.
    """
    try:
        with safe_open(path, "pt") as file:
            contents = json.loads(file.metadata()["rlpt"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
        state: State = contents["state"]
        owner, whole = contents["job"], contents["sha256"] == _digest(state, tensors)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path}: not readable as a checkpoint ({error}): {_START_ANEW}") from None
    if not whole:
        raise UsageError(f"{path}: a damaged checkpoint (its checksum differs): {_START_ANEW}")
    if owner != job:
        raise UsageError(f"{path}: a checkpoint of another job, with other settings: {_START_ANEW}")
    for name, tensor in tensors.items():
        *groups, last = name.split(_SEPARATOR)
        place = state
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = tensor
    return _Saved(path, state)


def _digest(values: State, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {array.dtype} {list(array.shape)}".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


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


def set_network_state(network: torch.nn.Module, state: State) -> None:
    """Puts a network back where its `state_dict` was taken.

    Raises:
        UsageError: if that was another network, as other versions of rlpt may have built.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        fault = " ".join(str(error).split())
        raise UsageError(f"the checkpoint is another version's of rlpt ({fault}): {_START_ANEW}") from None


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


def require_same_device(same: bool, device: torch.device) -> None:
    """Raises UsageError, with what to do, if a job is about to go on on another kind of device than it began on."""
    if not same:
        raise UsageError(
            f"this run began on another kind of device than {device.type}, which draws other random numbers: go on "
            "there (--device), or delete its folder, and it begins anew"
        )


def global_random_state(device: torch.device) -> State:
    """Returns the state of PyTorch's own generator, which dropout draws from."""
    return {"cpu": torch.get_rng_state()} | (
        {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    )


def set_global_random_state(device: torch.device, state: State) -> None:
    """Puts PyTorch's own generator back where `global_random_state` saw it.

    Raises:
        UsageError: if that was on another kind of device.
    """
    require_same_device(("cuda" in state) == (device.type == "cuda"), device)
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
