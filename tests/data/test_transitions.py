"""Transition datasets: written by any number of workers, read back by index."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from rlpt.data.transitions import TransitionDataset, write_transitions
from rlpt.envs.pixels import PixelEnvironment
from rlpt.errors import UsageError
from rlpt.generate import RandomEpisodes, generate
from rlpt.settings import EnvironmentSettings, GenerateSettings, Settings
from rlpt.streams import integer_seed
from tests.conftest import no_checkpoints, silent


def make(path: Path, settings: Settings, workers: int = 1, **changes: int) -> TransitionDataset:
    wanted = settings.generate.model_copy(update=changes)
    generate(
        RandomEpisodes("reacher-easy", settings.environment, wanted), path, workers, no_checkpoints(path.parent), silent
    )
    return TransitionDataset(path, settings.environment.frame_stack)


def test_the_bytes_do_not_depend_on_the_number_of_workers(tiny_settings: Settings, tmp_path: Path) -> None:
    for workers in (1, 2):
        make(tmp_path / f"{workers}.h5", tiny_settings, workers)
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "2.h5").read_bytes()


def test_a_dataset_of_several_parts_is_the_same_as_one_of_one(
    tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "one.h5", tiny_settings)
    monkeypatch.setattr("rlpt.generate._PART", 1)
    make(tmp_path / "many.h5", tiny_settings)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "many.h5").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many.h5", "one.h5"]


def test_the_last_episode_ends_at_t(tiny_settings: Settings, tmp_path: Path) -> None:
    """60 transitions with a reset every 25 agent steps (100 control steps): episodes of 25, 25 and 10."""
    with make(tmp_path / "data.h5", tiny_settings) as dataset:
        assert len(dataset) == 60
        assert dataset.frame_count == 26 + 26 + 11


def test_stacks_begin_anew_with_every_episode(tiny_settings: Settings, tmp_path: Path) -> None:
    with make(tmp_path / "data.h5", tiny_settings) as dataset:
        for index in (0, 25, 50):
            observation, _, next_observation = dataset[index]
            np.testing.assert_array_equal(observation[:3], observation[6:])
            np.testing.assert_array_equal(observation[3:], next_observation[:6])
        for index in (0, 7, 24, 58):
            _, _, after = dataset[index]
            before, _, _ = dataset[index + 1]
            assert np.array_equal(after, before) == (index != 24)
        with pytest.raises(IndexError):
            dataset[60]
        np.testing.assert_array_equal(dataset[-1][1], dataset.actions[59])


def test_playing_the_recorded_actions_gives_the_recorded_frames(tiny_settings: Settings, tmp_path: Path) -> None:
    with make(tmp_path / "data.h5", tiny_settings) as dataset:
        stored = np.concatenate(list(dataset.load_frames(24)))
        env = PixelEnvironment("reacher-easy", tiny_settings.environment)
        for episode, first in enumerate((0, 25, 50)):
            env.seed(integer_seed(tiny_settings.generate.seed, "episode", episode))
            env.reset()
            frames = [env.frame]
            for action in dataset.actions[first : first + 25]:
                env.step(action)
                frames.append(env.frame)
            at = first + episode  # an episode has a frame more than transitions
            np.testing.assert_array_equal(np.stack(frames).transpose(0, 3, 1, 2), stored[at : at + len(frames)])
        env.close()


def test_loading_cuts_out_the_middle(tiny_settings: Settings, tmp_path: Path) -> None:
    with make(tmp_path / "data.h5", tiny_settings) as dataset:
        whole = np.concatenate(list(dataset.load_frames(24)))
        np.testing.assert_array_equal(np.concatenate(list(dataset.load_frames(20))), whole[..., 2:22, 2:22])


def test_actions_are_uniform_and_decided_by_the_seed(tiny_settings: Settings, tmp_path: Path) -> None:
    random = RandomEpisodes("reacher-easy", tiny_settings.environment, GenerateSettings(transitions=1000))
    env = PixelEnvironment("reacher-easy", tiny_settings.environment)
    actions = np.concatenate([random.play(episode, env)[1] for episode in range(8)])
    assert actions.shape == (200, 2)
    assert abs(actions.mean()) < 0.1
    assert np.square(actions).mean() == pytest.approx(1 / 3, abs=0.04)
    one, other = (make(tmp_path / f"{seed}.h5", tiny_settings, seed=seed).actions for seed in (0, 1))
    assert not np.array_equal(one, other)
    env.close()


@pytest.mark.parametrize(("task", "limit"), [("reacher-easy", 2_000), ("cheetah-run", 6_000), ("walker-walk", 9_000)])
def test_a_frame_at_the_papers_size_is_small(tmp_path: Path, task: str, limit: int) -> None:
    path = tmp_path / "data.h5"
    episodes = RandomEpisodes(task, EnvironmentSettings(), GenerateSettings(transitions=100))
    generate(episodes, path, 1, no_checkpoints(tmp_path), silent)
    with TransitionDataset(path, 3) as dataset:
        assert path.stat().st_size / dataset.frame_count < limit


@pytest.mark.parametrize("damage", ["truncated", "newer", "foreign", "text", "absent"])
def test_a_bad_file_is_refused_by_name(tiny_settings: Settings, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "data.h5"
    if damage == "truncated":
        make(path, tiny_settings)
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "newer":
        with make(path, tiny_settings):
            pass
        with h5py.File(path, "r+") as file:
            file.attrs["format"] = "rlpt transitions 2"
    elif damage == "foreign":
        with h5py.File(path, "w") as file:
            file["frames"] = np.zeros(3)
    elif damage == "text":
        path.write_text("no dataset")
    with pytest.raises(UsageError, match=r"data\.h5: not"):
        TransitionDataset(path, 3)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), write_transitions(tmp_path / "data.h5", 10, 5, 8, 2):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_episode_that_ends_before_its_reset_is_refused(tiny_settings: Settings, tmp_path: Path) -> None:
    """What followed would be a transition that no action led to."""
    settings = tiny_settings.environment.model_copy(update={"action_repeat": 100})
    episodes = RandomEpisodes("reacher-easy", settings, GenerateSettings(transitions=30, reset_every=2_000))
    with pytest.raises(UsageError, match=r"reset_every = 2000: an episode of reacher-easy was over after 10"):
        generate(episodes, tmp_path / "data.h5", 1, no_checkpoints(tmp_path), silent)


def test_episodes_begin_each_in_their_own_way() -> None:
    small = EnvironmentSettings(size=24, shadows=False, reflections=False, multisampling=0)
    episodes = RandomEpisodes("reacher-easy", small, GenerateSettings(transitions=50))
    env = episodes.load()
    first, second, again = (episodes.play(number, env)[0][0] for number in (0, 1, 0))
    env.close()
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, again)


def test_stacks_of_long_episodes_are_their_last_frames(tmp_path: Path) -> None:
    """More frames than a byte counts."""
    with write_transitions(tmp_path / "d.h5", 300, 300, 2, 1) as writer:
        writer.append(np.zeros((301, 2, 2, 3), np.uint8), np.zeros((300, 1), np.float32))
    with TransitionDataset(tmp_path / "d.h5", 3) as dataset:
        found = dataset.observation_frames(np.arange(300))
    expected = [[[max(0, n + which - back) for back in (2, 1, 0)] for which in (0, 1)] for n in range(300)]
    np.testing.assert_array_equal(found, expected)


def test_all_frames_are_read_in_blocks_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlpt.data.transitions._CHUNKS_READ_AT_ONCE", 1)
    episodes = np.arange(2 * 6 * 12, dtype=np.uint8).reshape(2, 6, 2, 2, 3)
    with write_transitions(tmp_path / "d.h5", 10, 5, 2, 1) as writer:
        for frames in episodes:
            writer.append(frames, np.zeros((5, 1), np.float32))
    with TransitionDataset(tmp_path / "d.h5", 3) as dataset:
        read = np.concatenate(list(dataset.load_frames(2)))
    np.testing.assert_array_equal(read, episodes.reshape(12, 2, 2, 3).transpose(0, 3, 1, 2))
