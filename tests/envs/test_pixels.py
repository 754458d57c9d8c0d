"""Pixel environments on real dm_control tasks."""

import gymnasium
import numpy as np
import pytest
from absl.testing import absltest
from dm_control import suite
from dm_control.rl import control
from dm_env import specs, test_utils
from gymnasium.utils.env_checker import check_env

import rlpt.envs.gym
from rlpt.envs.pixels import PixelEnvironment, action_size
from rlpt.envs.tasks import NAMES, SUITE_TASKS, split_name
from rlpt.errors import UsageError
from rlpt.settings import EnvironmentSettings

SMALL = EnvironmentSettings(size=24, shadows=False, reflections=False, multisampling=0)


def test_the_known_names_are_the_suites() -> None:
    listed = {(domain, task) for domain, tasks in SUITE_TASKS.items() for task in tasks}
    assert listed == set(suite.ALL_TASKS)
    assert split_name("ball_in_cup-catch") == ("ball_in_cup", "catch")


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'cheetah-run'"):
        PixelEnvironment("cheetah-rum", SMALL)


class TestDmEnvConventions(test_utils.EnvironmentTestMixin, absltest.TestCase):  # type: ignore[misc]
    """dm_env's own checks."""

    def make_object_under_test(self) -> PixelEnvironment:
        return PixelEnvironment("cartpole-swingup", SMALL)


@pytest.mark.parametrize("name", ["cheetah-run", "reacher-easy", "walker-walk", "cartpole-swingup", "finger-spin"])
def test_tasks_render_and_move(name: str) -> None:
    env = PixelEnvironment(name, SMALL, seed=1)
    first = env.reset()
    assert first.observation.shape == (9, 24, 24)
    assert first.observation.dtype == np.uint8
    np.testing.assert_array_equal(first.observation[:3], first.observation[6:])  # the first frame fills the stack
    for _ in range(3):
        last = env.step(np.ones(action_size(env)))
    assert not np.array_equal(first.observation, last.observation)
    env.close()


def test_the_stack_holds_the_last_frames_oldest_first() -> None:
    env = PixelEnvironment("walker-walk", SMALL)
    env.reset()
    frames = [env.frame]
    for _ in range(4):
        observation = env.step(np.ones(6)).observation
        frames.append(env.frame)
    expected = np.concatenate([frame.transpose(2, 0, 1) for frame in frames[-3:]])
    np.testing.assert_array_equal(observation, expected)
    env.close()


def test_a_step_repeats_the_action_and_sums_the_reward() -> None:
    repeated = PixelEnvironment("walker-walk", SMALL, seed=5)
    single = suite.load("walker", "walk", task_kwargs={"random": np.random.RandomState(5)})
    repeated.reset()
    single.reset()
    action = np.full(6, 0.3)
    for _ in range(5):
        expected = sum(single.step(action).reward for _ in range(4))
        assert repeated.step(action).reward == pytest.approx(expected)
    np.testing.assert_array_equal(repeated.physics.get_state(), single.physics.get_state())
    repeated.close()


def test_a_time_limit_ends_the_episode_without_ending_its_value() -> None:
    env = PixelEnvironment("reacher-easy", SMALL)
    env.reset()
    steps = [env.step(np.zeros(2)) for _ in range(250)]
    assert [step.last() for step in steps] == [False] * 249 + [True]
    assert steps[-1].discount == 1.0
    assert env.step(np.zeros(2)).first()
    env.close()


@pytest.mark.parametrize(
    ("lowest", "highest", "applied"),
    [([0.0, -4.0], [1.0, 2.0], [0.75, -2.5]), ([-1, -1], [2, 1], [1.25, -0.5]), ([-1, -2], [1, 1], [0.5, -1.25])],
)
def test_actions_are_scaled_to_the_tasks_range(
    lowest: list[float], highest: list[float], applied: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No task of the suite has limits other than ±1, so one is given some."""
    limits = specs.BoundedArray((2,), np.float64, lowest, highest)
    monkeypatch.setattr(control.Environment, "action_spec", lambda self: limits)
    env = PixelEnvironment("reacher-easy", SMALL)
    assert (env.action_spec().minimum, env.action_spec().maximum) == (-1, 1)
    env.reset()
    env.step(np.array([0.5, -0.5]))
    np.testing.assert_allclose(env.physics.control(), applied)
    env.close()


def test_actuators_without_limits_take_actions_as_they_are() -> None:
    env = PixelEnvironment("lqr-lqr_2_1", SMALL)
    env.reset()
    env.step(np.array([0.5]))
    assert env.physics.control()[0] == 0.5
    env.close()


def test_a_seed_decides_the_episodes() -> None:
    env = PixelEnvironment("reacher-easy", SMALL, seed=3)
    first, second = env.reset().observation, env.reset().observation
    env.seed(3)
    np.testing.assert_array_equal(env.reset().observation, first)
    assert not np.array_equal(first, second)
    env.close()


def test_rendering_quality_changes_pixels_and_the_buffers_size_does_not() -> None:
    def frame(**settings: object) -> np.ndarray:
        env = PixelEnvironment("walker-walk", EnvironmentSettings(size=64, **settings), seed=0)  # type: ignore[arg-type]
        env.reset()
        image = env.frame
        env.close()
        return image

    full = frame()
    np.testing.assert_array_equal(full, frame(offscreen_size=(640, 480)))
    for setting in ({"shadows": False}, {"multisampling": 0}, {"camera": 1}):
        assert not np.array_equal(full, frame(**setting)), setting


def test_a_camera_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match=r"environment\.camera is 7, but this task has \d+ fixed"):
        PixelEnvironment("reacher-easy", SMALL.model_copy(update={"camera": 7}))


@pytest.mark.parametrize(("name", "repeat", "rate"), [("reacher-easy", 4, 12.5), ("walker-walk", 2, 20.0)])
def test_frames_per_second_are_those_of_simulated_time(name: str, repeat: int, rate: float) -> None:
    """Control steps take 0.02 s in reacher and 0.025 s in walker."""
    env = rlpt.envs.gym.PixelGymEnv(name, size=24, action_repeat=repeat)
    assert env.metadata["render_fps"] == rate
    env.close()


@pytest.mark.parametrize("name", ["reacher-easy", "cartpole-swingup"])
@pytest.mark.filterwarnings("ignore:.*:UserWarning:gymnasium")
def test_the_gymnasium_adapter_passes_gymnasiums_own_check(name: str) -> None:
    env = gymnasium.make(f"rlpt.envs.gym:rlpt/{name}-v0", size=24, render_mode="rgb_array")
    check_env(env.unwrapped)
    observation, _ = env.reset(seed=0)
    again, _ = env.reset(seed=0)
    np.testing.assert_array_equal(observation, again)
    env.close()


def test_every_task_is_registered_and_time_limits_truncate() -> None:
    assert {f"rlpt/{name}-v0" for name in NAMES} <= set(gymnasium.registry)
    env = rlpt.envs.gym.PixelGymEnv("reacher-easy", size=24)
    env.reset()
    ends = [env.step(np.zeros(2, np.float32))[2:4] for _ in range(250)]
    assert ends[-1] == (False, True)
    assert not any(terminated or truncated for terminated, truncated in ends[:-1])
    env.close()


def test_a_video_plays_behind_the_task_from_its_first_frame() -> None:
    video = np.stack([np.full((24, 24, 3), 10 * number, np.uint8) for number in range(5)])
    plain, distracted = (PixelEnvironment("walker-walk", SMALL, 0, clip) for clip in (None, video))
    plain.reset()
    for _ in range(2):
        distracted.reset()
        shown = []
        for _ in range(7):
            corner = distracted.frame[0, 0]
            assert len(set(corner)) == 1
            shown.append(int(corner[0]))
            distracted.step(np.zeros(6))
        assert shown == [0, 10, 20, 30, 40, 0, 10]
    assert (plain.frame != distracted.frame).any()
    plain.close()
    distracted.close()


@pytest.mark.parametrize(("shape", "dtype"), [((0, 24, 24, 3), "u1"), ((2, 24, 24, 3), "f4"), ((3, 24, 24), "u1")])
def test_what_a_background_cannot_be_is_refused(shape: tuple[int, ...], dtype: str) -> None:
    with pytest.raises(ValueError, match=r"a background needs uint8 \[frames, 24, 24, 3\], not"):
        PixelEnvironment("walker-walk", SMALL, 0, np.zeros(shape, dtype))


def test_gymnasium_asks_for_a_reset_between_episodes() -> None:
    env = rlpt.envs.gym.PixelGymEnv("reacher-easy", size=24, action_repeat=500)
    action = env.action_space.sample()
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(action)
    env.reset()
    ends = [env.step(action)[3] for _ in range(2)]
    assert ends == [False, True]
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(action)
    env.reset()
    env.step(action)


def test_unseeded_gymnasium_environments_begin_differently_and_seeded_ones_alike() -> None:
    def first(seed: int | None) -> np.ndarray:
        env = gymnasium.make("rlpt.envs.gym:rlpt/reacher-easy-v0", size=24)
        observation, _ = env.reset(seed=seed)
        env.close()
        return np.asarray(observation)

    assert not np.array_equal(first(None), first(None))
    np.testing.assert_array_equal(first(3), first(3))


def test_every_episode_is_as_long_as_the_first() -> None:
    env = PixelEnvironment("reacher-easy", SMALL.model_copy(update={"action_repeat": 100}))
    env.reset()
    lasts = [env.step(np.zeros(2)).last() for _ in range(21)]  # ten steps, one that begins anew, ten more
    env.close()
    assert [number for number, last in enumerate(lasts) if last] == [9, 20]


def test_an_action_is_repeated_no_longer_than_the_episode_lasts() -> None:
    env = PixelEnvironment("reacher-easy", SMALL.model_copy(update={"action_repeat": 300}))
    env.reset()
    found = [env.step(np.zeros(2)) for _ in range(4)]  # of 1,000 control steps
    env.close()
    assert [each.last() for each in found] == [False, False, False, True]
    assert found[-1].discount == 1


def test_a_task_without_an_end_of_its_own_is_cut_off_where_the_others_are() -> None:
    env = PixelEnvironment("lqr-lqr_2_1", SMALL.model_copy(update={"action_repeat": 500}))
    env.reset()
    lasts = [env.step(np.ones(1)).last() for _ in range(2)]
    env.close()
    assert lasts == [False, True]


def test_an_episode_that_its_task_ends_has_no_value_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the suite's tasks few do so: the clock ends an episode with discount 1."""
    gym_env = rlpt.envs.gym.PixelGymEnv("walker-walk", size=24)
    monkeypatch.setattr(gym_env._env._task.task, "get_termination", lambda physics: 0.0)
    gym_env.reset(seed=0)
    _, _, terminated, truncated, _ = gym_env.step(np.zeros(6))
    assert (terminated, truncated) == (True, False)
    gym_env._env.reset()
    last = gym_env._env.step(np.zeros(6))
    assert (last.last(), last.discount) == (True, 0.0)
    gym_env.close()
