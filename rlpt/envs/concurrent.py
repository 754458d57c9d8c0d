"""An environment in a thread of its own, whose step can run beside the agent's update."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import dm_env
import numpy as np

from rlpt.envs.pixels import PixelEnvironment


class ConcurrentEnvironment:
    """A `PixelEnvironment` that one thread makes, steps and closes, since an OpenGL context belongs to its thread.

    Everything but `begin_step` waits for its result, and raises what the environment raises. While a step is under way,
    only `finish_step` and `close` may be called. `close` must be: nobody else can free the context.
    """

    def __init__(self, make: Callable[[], PixelEnvironment]) -> None:
        """Makes the environment."""
        self._thread = ThreadPoolExecutor(1, "environment")
        self._env = self._thread.submit(make).result()
        self._step: Future[dm_env.TimeStep] | None = None

    def reset(self) -> dm_env.TimeStep:
        """Starts an episode."""
        return self._thread.submit(self._env.reset).result()

    def begin_step(self, action: np.ndarray) -> None:
        """Begins a step with `action`, float [actions] in [-1, 1], and returns at once."""
        assert self._step is None, "a step is under way"
        self._step = self._thread.submit(self._env.step, action)

    def finish_step(self) -> dm_env.TimeStep:
        """Waits for the step that was begun, and returns its result."""
        assert self._step is not None, "no step is under way"
        step, self._step = self._step, None
        return step.result()

    @property
    def frame(self) -> np.ndarray:
        """The newest frame, uint8 [size, size, 3]."""
        return self._env.frame

    def state(self) -> dict[str, Any]:
        """See `PixelEnvironment.state`."""
        assert self._step is None, "a step is under way"
        return self._env.state()

    def restore(self, state: dict[str, Any]) -> dm_env.TimeStep:
        """See `PixelEnvironment.restore`."""
        return self._thread.submit(self._env.restore, state).result()

    def close(self) -> None:
        """Frees the simulator and its rendering context, and ends the thread."""
        self._thread.submit(self._env.close).result()
        self._thread.shutdown()
