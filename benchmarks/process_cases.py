"""Whole programs: data generation, the training loop, and starting up."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.measurement import Case, Measurement, milliseconds
from benchmarks.plain_training import train_plainly
from benchmarks.workload import Workload, changed, unit
from rlpt.generate import RandomEpisodes, generate
from rlpt.progress import Report
from rlpt.runs.interruption import Checkpoints, Schedule
from rlpt.settings import Settings
from rlpt.train import Training

_SEED = 0
_CPU = torch.device("cpu")
_IMPORTS = "import torch, rlpt.envs.rendering; from dm_control import suite"


def generate_transitions(environment: str, settings: Settings, transitions: int, workers: int, folder: Path) -> Path:
    """Writes a dataset into `folder`; returns its path."""
    generated = changed(settings, "generate", transitions=transitions).generate
    path = folder / f"{workers}.h5"
    episodes = RandomEpisodes(environment, settings.environment, generated)
    generate(episodes, path, workers, _checkpoints(folder), lambda *_: None)
    return path


def _checkpoints(folder: Path) -> Checkpoints:
    return Checkpoints(folder / "checkpoint", Schedule(minutes=60))


@contextmanager
def generate_2_workers(workload: Workload, device: torch.device) -> Iterator[Case]:
    """Transitions a second with two worker processes against this process alone, starting them included."""

    def measure(workers: int) -> float:
        with TemporaryDirectory() as folder:
            start = time.perf_counter()
            generate_transitions(workload.environment, workload.ik, workload.generated, workers, Path(folder))
            return workload.generated / (time.perf_counter() - start)

    yield Case(
        "transitions/s (reference: 1 worker)", lambda: measure(2), lambda: measure(1), rounds=2, more_is_better=True
    )


class _Clock:
    """A report that takes the time when so many steps are done for the first time."""

    def __init__(self, first: int, last: int) -> None:
        self._steps = (first, last)
        self._times: dict[int, float] = {}

    def __call__(self, done: int, total: int, note: str) -> None:
        self._times.setdefault(done, time.perf_counter())

    def rate(self) -> float:
        """Returns steps/s between the two counts."""
        first, last = self._steps
        return (last - first) / (self._times[last] - self._times[first])


@contextmanager
def train_loop(workload: Workload, device: torch.device) -> Iterator[Case]:
    """Agent steps a second, each with an environment step, a sample and an update."""
    settings = workload.loop

    def measure(loop: Callable[[Report], None]) -> float:
        # The first half of the learning steps warms up.
        clock = _Clock((settings.train.random_steps + settings.train.steps) // 2, settings.train.steps)
        loop(clock)
        return clock.rate()

    with TemporaryDirectory() as temporary:
        numbers = count()

        def ours(report: Report) -> None:
            folder = Path(temporary, str(next(numbers)))
            folder.mkdir()
            Training(workload.environment, settings, _SEED, None, folder, device).run(_checkpoints(folder), report)

        def plain(report: Report) -> None:
            train_plainly(workload.environment, settings, _SEED, device, report)

        yield Case(
            unit(f"steps/s with {settings.encoder.filters} filters", settings),
            lambda: measure(ours),
            lambda: measure(plain),
            rounds=3,
            more_is_better=True,
        )


@contextmanager
def startup(workload: Workload, device: torch.device) -> Iterator[Case]:
    """`rlpt --help` against importing what training needs."""
    yield Case("ms (reference: imports)", _running("-m", "rlpt", "--help"), _running("-c", _IMPORTS), rounds=3)


def _running(*arguments: str) -> Measurement:
    command = [sys.executable, *arguments]
    return milliseconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL), _CPU)
