"""A dm_control suite task seen through a camera: frame stack, action repeat, actions scaled to [-1, 1]."""

from collections import deque
from contextlib import nullcontext
from fractions import Fraction
from typing import Any

import dm_env
import numpy as np
from dm_env import specs

from rlpt.envs.distraction import composite, green_scene
from rlpt.envs.rendering import NO_OPENGL_REMEDY, Renderer
from rlpt.envs.tasks import split_name
from rlpt.errors import UsageError
from rlpt.settings import EnvironmentSettings
from rlpt.streams import legacy_random_state, set_legacy_random_state

# In control steps; for tasks without a limit of their own (lqr). The others end no later.
_DEFAULT_TIME_LIMIT = 1000
# What the suite calls no limit, MuJoCo's largest number.
_UNLIMITED = 1e10


class PixelEnvironment(dm_env.Environment):  # type: ignore[misc]
    """A suite task whose observation is the stack of its last frames.

    Observations are uint8 [3 · frame_stack, size, size], the oldest frame's RGB channels first; the stack at the start
    of an episode repeats its first frame. Actions are float in [-1, 1]. One step repeats the action `action_repeat`
    times and sums the reward. A time limit ends the episode with discount 1, so that the value of its last step is
    bootstrapped.
    """

    def __init__(
        self, name: str, settings: EnvironmentSettings, seed: int = 0, video: np.ndarray | None = None
    ) -> None:
        """Loads task `name` ("walker-walk").

        Args:
            name: domain and task.
            settings: how it becomes pixels.
            seed: of the task's own random numbers, which decide how episodes begin.
            video: a distracting background, uint8 [frames, size, size, 3], not copied (paper section 3.1.2). It begins
                with every episode, advances one frame an agent step, and after its last frame begins again.

        Raises:
            UsageError: if there is no such task or camera, or OpenGL does not start.
            ValueError: if `video` is something else, or has no frame.
        """
        if video is not None:
            _check_background(video, settings.size)
        domain, task = split_name(name)
        try:
            from dm_control import suite
        except (ImportError, AttributeError, RuntimeError) as error:
            raise UsageError(f"dm_control cannot load OpenGL ({error}): {NO_OPENGL_REMEDY}") from error

        self._random = np.random.RandomState(seed)
        self._video = video
        with nullcontext() if video is None else green_scene():
            self._task: Any = suite.load(domain, task, task_kwargs={"random": self._random})
        self._settings = settings
        self._renderer = Renderer(self._task.physics, settings)
        spec = self._task.action_spec()
        # An actuator without limits (lqr's) gets those of most others.
        self._low = np.where(spec.minimum <= -_UNLIMITED, -1.0, spec.minimum)
        self._high = np.where(spec.maximum >= _UNLIMITED, 1.0, spec.maximum)
        self._scaled = not (np.all(self._low == -1) and np.all(self._high == 1))
        self._frames: deque[np.ndarray] = deque(maxlen=settings.frame_stack)
        self._steps = 0
        self._reset_next_step = True
        # What an episode can be repeated from, up to the present step.
        self._random_at_reset = legacy_random_state(self._random)
        self._actions: list[np.ndarray] = []

    def state(self) -> dict[str, Any]:
        """Returns what `restore` needs: how the episode began and what was done in it."""
        actions = np.array(self._actions, np.float64).reshape(len(self._actions), self._low.size)
        return {"random": self._random_at_reset, "actions": actions}

    def restore(self, state: dict[str, Any]) -> dm_env.TimeStep:
        """Plays the episode again up to where `state` was taken, and returns its last time step.

        Simulator, frame stack and background come back exactly, whatever else a task changes in its model.
        """
        set_legacy_random_state(self._random, state["random"])
        time_step = self.reset()
        for action in np.asarray(state["actions"]):
            time_step = self.step(action)
        return time_step

    def seed(self, seed: int) -> None:
        """Restarts the task's random numbers, which decide the next episodes' initial states."""
        self._random.seed(seed)

    @property
    def frame(self) -> np.ndarray:
        """The newest frame, uint8 [size, size, 3]."""
        return self._frames[-1]

    @property
    def physics(self) -> Any:
        """dm_control's `Physics` of the task."""
        return self._task.physics

    @property
    def agent_steps_per_second(self) -> Fraction:
        """How many agent steps make a second of simulated time."""
        seconds = Fraction(self._task.control_timestep()).limit_denominator(10_000)
        return 1 / (seconds * self._settings.action_repeat)

    def reset(self) -> dm_env.TimeStep:
        """Starts an episode."""
        self._random_at_reset = legacy_random_state(self._random)
        self._actions.clear()
        self._task.reset()
        frame = self._render()
        self._frames.extend([frame] * self._settings.frame_stack)
        self._steps = 0
        self._reset_next_step = False
        return dm_env.restart(self._observation())

    def step(self, action: np.ndarray) -> dm_env.TimeStep:
        """Repeats `action` (float [actions], in [-1, 1]) and returns the reward's sum; resets after a last step."""
        if self._reset_next_step:
            return self.reset()
        self._actions.append(np.array(action, np.float64))
        if self._scaled:
            action = self._low + (np.asarray(action, np.float64) + 1) / 2 * (self._high - self._low)
        reward, discount, last = 0.0, 1.0, False
        for _ in range(self._settings.action_repeat):
            time_step = self._task.step(action)
            self._steps += 1
            reward += time_step.reward or 0.0
            discount *= time_step.discount
            last = time_step.last() or self._steps >= _DEFAULT_TIME_LIMIT
            if last:
                break
        self._frames.append(self._render())
        self._reset_next_step = last
        step_type = dm_env.StepType.LAST if last else dm_env.StepType.MID
        return dm_env.TimeStep(step_type, reward, discount, self._observation())

    def _render(self) -> np.ndarray:
        frame = self._renderer.frame()
        return frame if self._video is None else composite(frame, self._video[len(self._actions) % len(self._video)])

    def _observation(self) -> np.ndarray:
        stack = np.stack(self._frames).transpose(0, 3, 1, 2)
        return stack.reshape(-1, self._settings.size, self._settings.size)

    def observation_spec(self) -> specs.BoundedArray:
        """The frame stack: uint8 [3 · frame_stack, size, size]."""
        size = self._settings.size
        return specs.BoundedArray((3 * self._settings.frame_stack, size, size), np.uint8, 0, 255, name="pixels")

    def action_spec(self) -> specs.BoundedArray:
        """The scaled action: float32 [actions] in [-1, 1]."""
        return specs.BoundedArray(self._low.shape, np.float32, -1.0, 1.0, name="action")

    def close(self) -> None:
        """Frees the simulator and its rendering context."""
        self._task.physics.free()


def _check_background(video: np.ndarray, size: int) -> None:
    if video.dtype != np.uint8 or video.shape[1:] != (size, size, 3) or not len(video):
        raise ValueError(f"a background needs uint8 [frames, {size}, {size}, 3], not {video.dtype} {video.shape}")


def action_size(environment: PixelEnvironment) -> int:
    """Returns the number of action dimensions, |A|."""
    return int(environment.action_spec().shape[0])
