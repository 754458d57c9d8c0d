"""What `rlpt bench` measures: pairs of computations, ours and a plain one, each a function that measures once."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from benchmarks.workload import Workload

Measurement = Callable[[], float]
"Takes one measurement; returns it in the row's unit."


@dataclass(frozen=True)
class Case:
    """A pair to measure. Of a computation, both sides have shown that they compute the same."""

    unit: str
    ours: Measurement
    reference: Measurement
    rounds: int = 5
    more_is_better: bool = False


CaseBuilder = Callable[[Workload, torch.device], AbstractContextManager[Case]]
"Sets a case up, and on leaving clears it away."


def milliseconds(
    action: Callable[[], object], device: torch.device, repeats: int = 1, per: int = 1, warm_ups: int = 0
) -> Measurement:
    """Returns a measurement of `action`'s duration.

    Args:
        action: what to measure.
        device: is waited for before and after, if it is a GPU.
        repeats: how often to run it in one measurement.
        per: how many of what is counted one run does.
        warm_ups: how often to run it before, so that it has its memory, as in the middle of a job.
    """

    def measure() -> float:
        for _ in range(warm_ups):
            action()
        _synchronise(device)
        start = time.perf_counter()
        for _ in range(repeats):
            action()
        _synchronise(device)
        return (time.perf_counter() - start) * 1e3 / (repeats * per)

    return measure


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
