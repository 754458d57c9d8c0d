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
    from rlpt.runs.checkpoint import State

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


class Paused(Exception):
    """The job has saved its checkpoint and stops; started again, it goes on. Its text says what stopped it."""


@dataclass(frozen=True)
class Schedule:
    """How often to save; whichever comes first."""

    minutes: float = 10.0
    steps: int | None = None
    "Calls of `Checkpoints.poll`: in pretraining updates, in training agent steps and what takes long in one."
    time_limit: float | None = None
    "Seconds after which to save and stop."


class StopRequest:
    """The wish to stop: a signal's, or that of a time limit, which counts from now."""

    def __init__(self, time_limit: float | None = None) -> None:
        """Takes the limit in seconds; None: no limit."""
        self._deadline = None if time_limit is None else time.monotonic() + time_limit
        self._reason = ""

    def make(self, reason: str) -> None:
        """Asks to stop as soon as the job's state is saved."""
        self._reason = self._reason or reason

    @property
    def reason(self) -> str:
        """Why to stop; empty: go on."""
        if self.remaining == 0:
            self.make("time limit")
        return self._reason

    @property
    def remaining(self) -> float | None:
        """Seconds until the time limit, 0 after it; None: no limit."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())


class Checkpoints:
    """A job's checkpoint file and the wish to stop. Ask `poll` wherever the job's state is complete."""

    def __init__(self, path: Path, schedule: Schedule, job: str = "", stop: StopRequest | None = None) -> None:
        """Saves to `path`, for `job` alone (`rlpt.pipeline.jobs.Job.digest`), and stops when `stop` says so."""
        self._path, self._job = path, job
        self._schedule = schedule
        self.stop = stop or StopRequest(schedule.time_limit)
        self._saved = time.monotonic()
        self._polls = 0

    def load(self) -> "State | None":
        """Returns the state to go on from; None at the beginning.

        Raises:
            UsageError: if the file is damaged, or another job's.
        """
        if not self._path.exists():
            return None
        from rlpt.runs.checkpoint import load_checkpoint

        return load_checkpoint(self._path, self._job)

    def poll(self, state: "Callable[[], State] | None") -> None:
        """Saves what `state` returns if it is time to; None: the job keeps what it has done in files of its own.

        Raises:
            Paused: after saving, if a signal came or the time limit is over.
            Diverged: if the state holds numbers that are not finite; the checkpoint from before stays.
        """
        now = time.monotonic()
        self._polls += 1
        reason = self.stop.reason
        due = now - self._saved >= 60 * self._schedule.minutes
        due |= self._schedule.steps is not None and self._polls % self._schedule.steps == 0
        if state and (reason or due):
            from rlpt.runs.checkpoint import save_checkpoint

            save_checkpoint(self._path, state(), self._job)
            self._saved = time.monotonic()
        if reason:
            raise Paused(reason)


@contextmanager
def stopping_on_signals(stop: Callable[[str], None]) -> Iterator[None]:
    """Calls `stop` with the name of a SIGTERM, SIGINT, SIGUSR1 or, unless it is ignored (nohup), SIGHUP in the block.

    Clusters send several in a row: further ones change nothing while the job saves, but for a Ctrl-C, which ends it.
    """
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    if before[signal.SIGHUP] == signal.SIG_IGN:
        del before[signal.SIGHUP]

    def handle(number: int, frame: FrameType | None) -> None:
        stop(signal.Signals(number).name)
        signal.signal(signal.SIGINT, before[signal.SIGINT])

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
