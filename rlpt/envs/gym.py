"""The same environments for gymnasium: `gymnasium.make("rlpt.envs.gym:rlpt/walker-walk-v0")`.

Importing this module registers every task of the suite under `rlpt/`; the part before the colon above does just that.
"""

from typing import Any

import gymnasium
import numpy as np

from rlpt.envs.tasks import NAMES


class PixelGymEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """A `PixelEnvironment` behind gymnasium's interface.

    The suite's time limit is reported as `truncated`; `terminated` only where the task itself ends the episode.
    """

    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self, name: str, render_mode: str | None = None, **settings: Any) -> None:
        """Loads task `name`; `settings` are those of `[environment]` in a manifest (`size=64`, ...)."""
        from rlpt.envs.pixels import PixelEnvironment
        from rlpt.settings import EnvironmentSettings

        self.render_mode = render_mode
        self._seeded, self._ended = False, True
        self._env = PixelEnvironment(name, EnvironmentSettings(**settings))
        self.metadata = {**self.metadata, "render_fps": float(self._env.agent_steps_per_second)}
        pixels, action = self._env.observation_spec(), self._env.action_spec()
        self.observation_space = gymnasium.spaces.Box(0, 255, pixels.shape, np.uint8)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, action.shape, np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode; `seed` restarts the task's random numbers. Without one they begin anywhere."""
        super().reset(seed=seed)
        if seed is not None or not self._seeded:
            self._env.seed(int(self.np_random.integers(2**32)))
            self._seeded = True
        self._ended = False
        return self._env.reset().observation, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Takes one agent step (`action_repeat` control steps).

        Raises:
            gymnasium.error.ResetNeeded: if the episode has ended, or none has begun.
        """
        if self._ended:
            raise gymnasium.error.ResetNeeded("no episode is going on: call reset() before step()")
        time_step = self._env.step(action)
        self._ended = time_step.last()
        terminated = time_step.last() and time_step.discount == 0.0
        truncated = time_step.last() and not terminated
        return time_step.observation, float(time_step.reward), terminated, truncated, {}

    def render(self) -> np.ndarray:
        """Returns the newest frame, uint8 [size, size, 3]."""
        return self._env.frame

    def close(self) -> None:
        """Frees the simulator."""
        self._env.close()


def register() -> None:
    """Registers `rlpt/<domain>-<task>-v0` for every task of the suite."""
    for name in NAMES:
        gymnasium.register(f"rlpt/{name}-v0", entry_point="rlpt.envs.gym:PixelGymEnv", kwargs={"name": name})


register()
