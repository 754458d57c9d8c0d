"""When a job saves a checkpoint, and when it stops: on a schedule, on a signal, or at a time limit."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlpt.checkpoint import State

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Paused(Exception):
    """The job has saved its checkpoint and stops; started again, it goes on."""


@dataclass(frozen=True)
class Schedule:
    """How often to save; whichever comes first."""

    minutes: float = 10.0
    steps: int | None = None
    time_limit: float | None = None
    "Seconds after which to save and stop."


class Checkpoints:
    """A job's checkpoint file and the wish to stop. Ask `poll` wherever the job's state is complete."""

    def __init__(self, path: Path, schedule: Schedule) -> None:
        """Saves to `path`; the time limit counts from now."""
        self._path = path
        self._schedule = schedule
        self._saved = self._started = time.monotonic()
        self._polls = 0
        self._stop = False

    def request_stop(self) -> None:
        """Makes the next `poll` save and stop."""
        self._stop = True

    def load(self) -> "State | None":
        """Returns the state to go on from; None at the beginning.

        Raises:
            UsageError: if the file is damaged.
        """
        if not self._path.exists():
            return None
        from rlpt.checkpoint import load_checkpoint

        return load_checkpoint(self._path)

    def poll(self, state: "Callable[[], State] | None") -> None:
        """Saves what `state` returns if it is time to; None: the job keeps what it has done in files of its own.

        Raises:
            Paused: after saving, if a signal came or the time limit is over.
        """
        now = time.monotonic()
        self._polls += 1
        limit = self._schedule.time_limit
        stop = self._stop or (limit is not None and now - self._started >= limit)
        due = now - self._saved >= 60 * self._schedule.minutes
        due |= self._schedule.steps is not None and self._polls % self._schedule.steps == 0
        if state and (stop or due):
            from rlpt.checkpoint import save_checkpoint

            save_checkpoint(self._path, state())
            self._saved = time.monotonic()
        if stop:
            raise Paused


@contextmanager
def stopping_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Calls `stop` on SIGTERM, SIGINT and SIGUSR1 while the block runs; a second signal has its usual effect."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:
        stop()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in STOP_SIGNALS:
        signal.signal(number, handle)
    try:
        yield
    finally:
        restore()
