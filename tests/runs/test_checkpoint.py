"""What a checkpoint holds, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rlpt.errors import UsageError
from rlpt.runs.checkpoint import (
    global_random_state,
    load_checkpoint,
    save_checkpoint,
    set_global_random_state,
    set_network_state,
)


def test_a_checkpoint_brings_back_what_was_saved(tmp_path: Path) -> None:
    state = {"a": {"b": torch.arange(3), "c": [1, {"d": None}]}, "big": 2**100, "empty": np.zeros((0, 2)), "x": 0.1}
    save_checkpoint(tmp_path / "c.safetensors", state, "job")
    loaded = load_checkpoint(tmp_path / "c.safetensors", "job")
    assert torch.equal(loaded["a"].pop("b"), torch.arange(3))
    assert tuple(loaded.pop("empty").shape) == (0, 2)
    assert loaded == {"a": {"c": [1, {"d": None}]}, "big": 2**100, "x": 0.1}


def test_random_numbers_of_another_kind_of_device_are_refused() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    state = global_random_state(cpu)
    drawn = torch.rand(3)
    set_global_random_state(cpu, state)
    assert torch.equal(torch.rand(3), drawn)
    with pytest.raises(UsageError, match="began on another kind of device than cuda"):
        set_global_random_state(cuda, state)
    with pytest.raises(UsageError, match="began on another kind of device than cpu"):
        set_global_random_state(cpu, state | {"cuda": torch.zeros(16, dtype=torch.uint8)})


def test_tensors_that_are_no_checkpoint_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(UsageError, match=r"c\.safetensors: not readable as a checkpoint .*the job starts anew"):
        load_checkpoint(path, "job")


def test_a_checkpoint_that_lacks_something_is_another_version_s(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.safetensors", {"agent": {"noise": torch.zeros(1)}}, "job")
    state = load_checkpoint(tmp_path / "c.safetensors", "job")
    assert state["agent"]["noise"] == 0
    assert state.get("step", 3) == 3
    with pytest.raises(UsageError, match=r"c\.safetensors: a checkpoint of another version of rlpt.* knew no 'flips'"):
        state["agent"]["flips"]
    with pytest.raises(UsageError, match=r"^the checkpoint is another version's of rlpt \(.*Missing key.* \"bias\""):
        set_network_state(torch.nn.Linear(1, 1), {"weight": torch.zeros(1, 1)})


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.safetensors", {"a": torch.zeros(1)}, "one job")
    with pytest.raises(UsageError, match="a checkpoint of another job, with other settings"):
        load_checkpoint(tmp_path / "c.safetensors", "another job")
