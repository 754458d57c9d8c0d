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
    """The job has saved its checkpoint and stops; started again, it goes on. Its text says what stopped it."""


@dataclass(frozen=True)
class Schedule:
    """How often to save; whichever comes first."""

    minutes: float = 10.0
    steps: int | None = None
    time_limit: float | None = None
    "Seconds after which to save and stop."


class Checkpoints:
    """A job's checkpoint file and the wish to stop. Ask `poll` wherever the job's state is complete."""

    def __init__(self, path: Path, schedule: Schedule, job: str = "") -> None:
        """Saves to `path`, for `job` alone (`rlpt.jobs.Job.digest`); the time limit counts from now."""
        self._path, self._job = path, job
        self._schedule = schedule
        self._saved = self._started = time.monotonic()
        self._polls = 0
        self._stop = ""

    def request_stop(self, reason: str) -> None:
        """Makes the next `poll` save and stop."""
        self._stop = reason

    def load(self) -> "State | None":
        """Returns the state to go on from; None at the beginning.

        Raises:
            UsageError: if the file is damaged, or another job's.
        """
        if not self._path.exists():
            return None
        from rlpt.checkpoint import load_checkpoint

        return load_checkpoint(self._path, self._job)

    def poll(self, state: "Callable[[], State] | None") -> None:
        """Saves what `state` returns if it is time to; None: the job keeps what it has done in files of its own.

        Raises:
            Paused: after saving, if a signal came or the time limit is over.
            Diverged: if the state holds numbers that are not finite; the checkpoint from before stays.
        """
        now = time.monotonic()
        self._polls += 1
        limit = self._schedule.time_limit
        if limit is not None and now - self._started >= limit:
            self._stop = self._stop or "time limit"
        due = now - self._saved >= 60 * self._schedule.minutes
        due |= self._schedule.steps is not None and self._polls % self._schedule.steps == 0
        if state and (self._stop or due):
            from rlpt.checkpoint import save_checkpoint

            save_checkpoint(self._path, state(), self._job)
            self._saved = time.monotonic()
        if self._stop:
            raise Paused(self._stop)


@contextmanager
def stopping_on_signals(stop: Callable[[str], None]) -> Iterator[None]:
    """Calls `stop` with the name of a SIGTERM, SIGINT or SIGUSR1 during the block; a second has its usual effect."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:
        stop(signal.Signals(number).name)
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
