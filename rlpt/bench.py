"""Measuring rlpt beside a plain implementation of the same computations, in one process and by turns.

The plain implementation and the pairs that are measured lie in `benchmarks/`, beside this package in the source tree.
"""

import gc
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from rich.table import Table

from rlpt.checkout import in_checkout
from rlpt.errors import UsageError
from rlpt.measurement import Case, CaseBuilder, Measurement
from rlpt.pipeline.arithmetic import computing
from rlpt.pipeline.memory import freed_memory_kept
from rlpt.settings import Precision

if TYPE_CHECKING:
    from benchmarks.workload import Workload

NAMES = (
    "sac_update_ik",
    "sac_update_imagenet",
    "sac_update_lite",
    "ik_step",
    "imagenet_step",
    "render",
    "env_step",
    "chroma_key",
    "replay_sample",
    "replay_bytes",
    "dataset_bytes_walker",
    "generate_2_workers",
    "train_loop",
    "startup",
)
"What can be measured, in the table's order."


@dataclass(frozen=True)
class Row:
    """One measured pair."""

    name: str
    unit: str
    ours: float
    "Median over the rounds."
    reference: float
    "Median over the rounds."
    ratio: float
    "Of the medians; above 1 rlpt is better, whatever the unit."
    spread: float
    "Largest less smallest ratio of a round, as a fraction of `ratio`."


def chosen(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the pairs that `names` asks for; none: all.

    Raises:
        UsageError: if there is no such pair.
    """
    for name in names:
        if name not in NAMES:
            raise UsageError(f"--only {name}: no such benchmark; there are {', '.join(NAMES)}")
    return tuple(names) or NAMES


def measured(
    name: str,
    device: str,
    workload: "Workload | None" = None,
    rounds: int | None = None,
    precision: Precision = "float32",
) -> Row:
    """Measures a pair.

    On CUDA, every measurement ends with a synchronisation. The plain side always computes in float32.

    Args:
        name: one of `NAMES`.
        device: "auto", "cpu" or "cuda"; of networks and batches.
        workload: sizes; left out: those of the paper, some reduced on a CPU, as the rows' units say.
        rounds: left out: what suits the pair's duration.
        precision: of rlpt's networks in the paper's workload.

    Raises:
        UsageError: if there is no such device, or the plain implementation is not installed.
        ArithmeticError: if the two sides of the pair do not compute the same.
    """
    from rlpt.pipeline.execution import choose_device

    place = choose_device(device)
    builders = _builders()
    workload = workload or _paper_workload(place, precision)
    with computing(workload.precision), builders[name](workload, place) as case:
        row = _row(name, case, rounds or case.rounds)
    del case
    gc.collect()  # agents refer to themselves, and the next pair needs their memory
    return row


def _builders() -> Mapping[str, CaseBuilder]:
    root = str(in_checkout("benchmarks").parent)
    if root not in sys.path:
        sys.path.insert(0, root)
    from benchmarks.cases import BUILDERS

    return BUILDERS


def _paper_workload(device: torch.device, precision: Precision) -> "Workload":
    from benchmarks.workload import paper_workload

    return paper_workload(in_checkout("experiments"), device, precision)


def _row(name: str, case: Case, rounds: int) -> Row:
    pairs = [(_as_in_a_job(case.ours), _plainly(case.reference)) for _ in range(rounds)]
    ours, reference = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratios = [_ratio(*pair, case.more_is_better) for pair in pairs]
    ratio = _ratio(ours, reference, case.more_is_better)
    return Row(name, case.unit, ours, reference, ratio, (max(ratios) - min(ratios)) / ratio)


def _as_in_a_job(measure: Measurement) -> float:
    with freed_memory_kept():
        return measure()


def _plainly(measure: Measurement) -> float:
    with computing("float32"):
        return measure()


def _ratio(ours: float, reference: float, more_is_better: bool) -> float:
    return ours / reference if more_is_better else reference / ours


def as_json(rows: Sequence[Row]) -> str:
    """Returns the rows as a JSON list of objects with the fields' names."""
    return json.dumps([asdict(row) for row in rows], indent=2)


def as_table(rows: Sequence[Row]) -> Table:
    """Returns the rows as a table for people."""
    table = Table("what", "unit", box=None, header_style="bold")
    for heading in ("rlpt", "reference", "ratio", "spread"):
        table.add_column(heading, justify="right")
    for row in rows:
        values = (f"{value:,.4g}" if value < 1000 else f"{value:,.0f}" for value in (row.ours, row.reference))
        table.add_row(row.name, row.unit, *values, f"{row.ratio:,.2f}", f"{row.spread:.0%}")
    return table
