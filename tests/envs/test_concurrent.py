"""The environment in its own thread: the same steps, all from one thread, beside the update."""

import threading
from pathlib import Path
from typing import Any

import dm_env
import numpy as np
import pytest
import torch

from rlpt.agents.sac import SAC
from rlpt.envs.concurrent import ConcurrentEnvironment
from rlpt.envs.pixels import PixelEnvironment
from rlpt.errors import UsageError
from rlpt.settings import Settings
from rlpt.train import Training
from tests.conftest import no_checkpoints, silent

LONG = 60
"Seconds that a test waits for another thread before it fails."


def train(settings: Settings, folder: Path) -> dict[str, bytes]:
    """Runs a short training; returns the contents of its CSV files and weights."""
    folder.mkdir()
    Training("reacher-easy", settings, 37, None, folder, torch.device("cpu")).run(no_checkpoints(folder), silent)
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".csv", ".safetensors")}


def test_training_writes_the_same_as_one_step_after_the_other(
    tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 40 steps and the end of an episode: reacher's takes 250.
    settings = tiny_settings.model_copy(update={"train": tiny_settings.train.model_copy(update={"steps": 270})})
    overlapping = train(settings, tmp_path / "overlapping")

    finish_step = ConcurrentEnvironment.finish_step
    begin_step = ConcurrentEnvironment.begin_step
    action = np.empty(0)

    def only_note(env: ConcurrentEnvironment, chosen: np.ndarray) -> None:
        nonlocal action
        action = chosen

    def whole_step(env: ConcurrentEnvironment) -> dm_env.TimeStep:
        begin_step(env, action)
        return finish_step(env)

    monkeypatch.setattr(ConcurrentEnvironment, "begin_step", only_note)
    monkeypatch.setattr(ConcurrentEnvironment, "finish_step", whole_step)
    one_after_the_other = train(settings, tmp_path / "serial")
    assert set(overlapping) == {"episodes.csv", "evaluations.csv", "updates.csv", "policy.safetensors"}
    assert overlapping["episodes.csv"].count(b"\n") == 2
    assert one_after_the_other == overlapping


def test_the_step_runs_while_the_last_update_does(
    tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They meet at a barrier, which lets only both of them through at once."""
    train_settings = tiny_settings.train
    barrier = threading.Barrier(2, timeout=LONG)
    step, update = PixelEnvironment.step, SAC.update
    steps, updates = [0], [0]

    def step_within_update(env: PixelEnvironment, action: np.ndarray) -> dm_env.TimeStep:
        if threading.current_thread() is not threading.main_thread():  # where evaluation plays
            steps[0] += 1
            if steps[0] > train_settings.random_steps:
                barrier.wait()
        return step(env, action)

    def update_beside_step(agent: SAC, *arguments: Any) -> Any:
        updates[0] += 1
        if updates[0] >= train_settings.initial_updates:
            barrier.wait()
        return update(agent, *arguments)

    monkeypatch.setattr(PixelEnvironment, "step", step_within_update)
    monkeypatch.setattr(SAC, "update", update_beside_step)
    train(tiny_settings, tmp_path / "run")
    overlapping = train_settings.steps - train_settings.random_steps
    assert steps == [train_settings.steps]
    assert updates == [train_settings.initial_updates + overlapping - 1]


def test_one_thread_makes_all_calls(tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: dict[str, int] = {}

    def noting(name: str) -> Any:
        original = getattr(PixelEnvironment, name)

        def call(*arguments: Any, **named: Any) -> Any:
            threads[name] = threading.get_ident()
            return original(*arguments, **named)

        return call

    names = ("__init__", "reset", "step", "restore", "close")
    for name in names:
        monkeypatch.setattr(PixelEnvironment, name, noting(name))
    env = ConcurrentEnvironment(lambda: PixelEnvironment("reacher-easy", tiny_settings.environment))
    env.reset()
    env.begin_step(np.zeros(2))
    assert env.finish_step().observation.shape == (9, 24, 24)
    env.restore(env.state())
    env.begin_step(np.zeros(2))
    env.close()
    assert not any(thread.ident == threads["close"] for thread in threading.enumerate())
    assert set(threads) == set(names)
    assert set(threads.values()) != {threading.get_ident()}
    assert len(set(threads.values())) == 1


def test_errors_come_out_where_the_result_is_asked_for(tiny_settings: Settings) -> None:
    with pytest.raises(UsageError, match="walker-fly"):
        ConcurrentEnvironment(lambda: PixelEnvironment("walker-fly", tiny_settings.environment))
    env = ConcurrentEnvironment(lambda: PixelEnvironment("reacher-easy", tiny_settings.environment))
    env.reset()
    env.begin_step(np.zeros(7))  # reacher has two actions
    with pytest.raises(ValueError, match="shape"):
        env.finish_step()
    env.close()
