"""The loop of reinforcement learning against a plain one, and what decides a run."""

import csv
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import dm_env
import numpy as np
import pytest
import torch

from benchmarks import plain_training
from benchmarks.plain_data import PlainReplay
from benchmarks.plain_sac import PlainSAC
from benchmarks.plain_training import train_plainly
from benchmarks.workload import changed
from rlpt.agents.sac import SAC
from rlpt.data.stacks import stack_indices
from rlpt.settings import Settings
from rlpt.train import Training
from tests.conftest import no_checkpoints, silent

CPU = torch.device("cpu")


@pytest.fixture
def plain_replay(monkeypatch: pytest.MonkeyPatch) -> list[PlainReplay]:
    """Where plain training leaves its buffer; its agent begins with the weights of ours."""
    kept: list[PlainReplay] = []

    class KeptReplay(PlainReplay):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            kept.append(self)

    class SameSAC(PlainSAC):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.load(SAC(*arguments))

    monkeypatch.setattr(plain_training, "PlainReplay", KeptReplay)
    monkeypatch.setattr(plain_training, "PlainSAC", SameSAC)
    return kept


def test_training_is_what_a_plain_loop_does(
    tiny_settings: Settings, plain_replay: list[PlainReplay], tmp_path: Path
) -> None:
    """Two whole episodes of random actions, and the policy's first actions of a third."""
    steps = {"steps": 520, "random_steps": 515, "initial_updates": 3, "evaluate_every": 1000}
    settings = changed(tiny_settings, "train", **steps)
    training = Training("reacher-easy", settings, 37, None, tmp_path, CPU)
    training.run(no_checkpoints(tmp_path), silent)
    train_plainly("reacher-easy", settings, 37, CPU, silent)
    own, (plain,) = training._replay, plain_replay

    np.testing.assert_array_equal(own._actions[:515], plain.actions[:515])
    np.testing.assert_allclose(own._actions[515:], plain.actions[515:], atol=1e-3)
    np.testing.assert_allclose(own._rewards, plain.rewards[:, 0], atol=1e-2)
    np.testing.assert_array_equal(own._discounts, plain.discounts[:, 0])
    assert own._rewards.any() and np.abs(own._actions[515:]).max() > 0.1
    rows = np.arange(515)
    for ahead, stacks in ((0, plain.observations), (1, plain.next_observations)):
        frames = stack_indices(own._frame[rows] + ahead, own._age[rows] + ahead, 3)
        np.testing.assert_array_equal(own._frames[frames].reshape(stacks[rows].shape), stacks[rows])
    assert own._index_random.bit_generator.state == plain._index_random.bit_generator.state

    with (tmp_path / "episodes.csv").open() as file:
        returns = [float(row["return"]) for row in csv.DictReader(file)]
    assert returns == pytest.approx([plain.rewards[first : first + 250].sum() for first in (0, 250)], rel=1e-5)


def test_evaluation_plays_the_mean_action(
    tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[np.ndarray] = []
    training = Training("reacher-easy", changed(tiny_settings, "train", steps=21), 37, None, tmp_path, CPU)
    step = training._evaluation_env.step

    def noted_step(action: np.ndarray) -> dm_env.TimeStep:
        played.append(action)
        return step(action)

    monkeypatch.setattr(training._evaluation_env, "step", noted_step)
    means = [np.full(2, number / 1000, np.float32) for number in range(500)]
    chosen = iter(means)
    monkeypatch.setattr(training._agent, "act", lambda observation: next(chosen))
    training.run(no_checkpoints(tmp_path), silent)
    np.testing.assert_array_equal(played, means)  # an episode at the beginning, one at the end


@contextmanager
def begun(settings: Settings, folder: Path, seed: int, video: np.ndarray | None = None) -> Iterator[Training]:
    training = Training("reacher-easy", settings, seed, None, folder, CPU, video)
    with closing(training._env), closing(training._evaluation_env):
        training._start_episode()
        yield training


def test_the_seed_decides_weights_and_the_first_state(tiny_settings: Settings, tmp_path: Path) -> None:
    found = []
    for seed in (1, 1, 2):
        with begun(tiny_settings, tmp_path, seed) as training:
            weights = [parameter.detach().numpy().tobytes() for parameter in training._agent.actor.parameters()]
            found.append((weights, training._env.frame.tobytes()))
    first, again, other = found
    assert first == again
    assert first[0] != other[0] and first[1] != other[1]


def test_a_video_is_behind_training_and_evaluation(tiny_settings: Settings, tmp_path: Path) -> None:
    video = np.full((2, 24, 24, 3), (250, 0, 250), np.uint8)
    with begun(tiny_settings, tmp_path, 37, video) as training:
        training._evaluation_env.reset()
        for frame in (training._env.frame, training._evaluation_env.frame):
            assert (frame == video[0]).all(-1).mean() > 0.3
        np.testing.assert_array_equal(training._replay._frames[0], training._env.frame.transpose(2, 0, 1))


def test_progress_tells_of_the_last_episode_once_there_is_one(tiny_settings: Settings, tmp_path: Path) -> None:
    settings = changed(tiny_settings, "train", steps=260, random_steps=20, initial_updates=5)
    told: list[tuple[int, int, str]] = []
    training = Training("reacher-easy", settings, 37, None, tmp_path, CPU)
    training.run(no_checkpoints(tmp_path), lambda *each: told.append(each))
    assert told[0] == (0, 260, "")
    assert {total for _, total, _ in told} == {260}
    notes = {done: note for done, _, note in told}
    assert (notes[19], notes[20], notes[22], notes[249]) == ("", "update 5/5", "", "")
    assert notes[250] == notes[260] == f"return {training._last_return:.0f}"
