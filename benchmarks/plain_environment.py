"""Environment, distraction and data generation in the plain way: dm_control as it comes, pixel by pixel in Python."""

import colorsys
from collections import deque
from typing import Any

import numpy as np

from rlpt.envs import rendering  # noqa: F401 - chooses how to render, before anything imports dm_control
from rlpt.envs.tasks import split_name
from rlpt.settings import EnvironmentSettings


class PlainEnvironment:
    """A suite task, stepped and rendered by dm_control's own calls in its 640×480 buffer."""

    def __init__(self, name: str, settings: EnvironmentSettings, seed: int) -> None:
        """Loads task `name` ("walker-walk")."""
        from dm_control import suite

        domain, task = split_name(name)
        self.random = np.random.RandomState(seed)
        self._task: Any = suite.load(domain, task, task_kwargs={"random": self.random})
        self._task.physics.model.vis.quality.offsamples = settings.multisampling
        self._flags = {"shadow": settings.shadows, "reflection": settings.reflections}
        self._settings = settings
        self._frames: deque[np.ndarray] = deque(maxlen=settings.frame_stack)
        spec = self._task.action_spec()
        self.actions = int(spec.shape[0])
        self._low, self._high = spec.minimum, spec.maximum

    def render(self) -> np.ndarray:
        """Returns the present scene, uint8 [size, size, 3]."""
        size, camera = self._settings.size, self._settings.camera
        pixels: np.ndarray = self._task.physics.render(size, size, camera, render_flag_overrides=self._flags)
        return pixels

    def reset(self) -> np.ndarray:
        """Starts an episode; returns the stack, uint8 [3 · frame_stack, size, size]."""
        self._task.reset()
        frame = self.render().transpose(2, 0, 1)
        for _ in range(self._settings.frame_stack):
            self._frames.append(frame)
        return np.concatenate(self._frames)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, float, bool]:
        """Repeats an action in [-1, 1]; returns stack, reward, discount, and whether the episode is over."""
        scaled = self._low + (action.astype(np.float64) + 1) / 2 * (self._high - self._low)
        reward, discount, last = 0.0, 1.0, False
        for _ in range(self._settings.action_repeat):
            time_step = self._task.step(scaled)
            reward += time_step.reward or 0.0
            discount *= time_step.discount
            last = time_step.last()
            if last:
                break
        self._frames.append(self.render().transpose(2, 0, 1))
        return np.concatenate(self._frames), reward, discount, last

    def close(self) -> None:
        """Frees the simulator and its rendering context."""
        self._task.physics.free()


def generate_pairs(
    environment: PlainEnvironment, transitions: int, episode_steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Acts at random; returns stacks before, actions, and stacks after, one row a transition."""
    random = np.random.default_rng(0)
    before, actions, after = [], [], []
    observation = environment.reset()
    for step in range(transitions):
        if step and step % episode_steps == 0:
            observation = environment.reset()
        action = random.uniform(-1, 1, environment.actions).astype(np.float32)
        next_observation, _, _, _ = environment.step(action)
        before.append(observation)
        actions.append(action)
        after.append(next_observation)
        observation = next_observation
    return np.stack(before), np.stack(actions), np.stack(after)


def composite_by_pixel(frame: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Returns `frame` with the background's colour wherever hue, saturation and value are those of the green scene.

    Both are uint8 [height, width, 3].
    """
    result = frame.copy()
    for row, column in np.ndindex(frame.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*(int(colour) / 255 for colour in frame[row, column]))
        if 100 <= hue * 360 <= 185 and 80 <= saturation * 255 <= 255 and 70 <= value * 255 <= 255:
            result[row, column] = background[row, column]
    return result
