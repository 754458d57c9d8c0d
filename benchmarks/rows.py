"""Measuring rlpt beside the plain implementation, in one process and by turns: the rows of `rlpt bench`."""

import gc
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.table import Table

from benchmarks.cases import BUILDERS
from benchmarks.measurement import Case, Measurement
from benchmarks.workload import Workload, paper_workload
from rlpt.checkout import in_checkout
from rlpt.errors import UsageError
from rlpt.pipeline.arithmetic import computing
from rlpt.pipeline.execution import choose_device
from rlpt.pipeline.memory import freed_memory_kept
from rlpt.settings import Precision


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
        if name not in BUILDERS:
            raise UsageError(f"--only {name}: no such benchmark; there are {', '.join(BUILDERS)}")
    return tuple(names or BUILDERS)


def measured(
    name: str,
    device: str,
    workload: Workload | None = None,
    rounds: int | None = None,
    precision: Precision = "float32",
) -> Row:
    """Measures a pair.

    On CUDA, every measurement ends with a synchronisation. The plain side always computes in float32.

    Args:
        name: one of `BUILDERS`.
        device: "auto", "cpu" or "cuda"; of networks and batches.
        workload: sizes; left out: those of the paper, some reduced on a CPU, as the rows' units say.
        rounds: left out: what suits the pair's duration.
        precision: of rlpt's networks in the paper's workload.

    Raises:
        UsageError: if there is no such device.
        ArithmeticError: if the two sides of the pair do not compute the same.
        RuntimeError: if PyTorch cannot compute it there.
    """
    place = choose_device(device)
    workload = workload or paper_workload(in_checkout("experiments"), place, precision)
    gc.collect()  # agents refer to themselves, and this pair needs the memory of the last one's
    with computing(workload.precision), BUILDERS[name](workload, place) as case:
        return _row(name, case, rounds or case.rounds)


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


def as_line(row: Row) -> str:
    """Returns a row in one line."""
    return f"{row.name}: {row.ratio:,.2f} ({_short(row.ours)} against {_short(row.reference)} {row.unit})"


def as_table(rows: Sequence[Row]) -> Table:
    """Returns the rows as a table for people."""
    table = Table("what", "unit", box=None, header_style="bold")
    for heading in ("rlpt", "reference", "ratio", "spread"):
        table.add_column(heading, justify="right")
    for row in rows:
        values = _short(row.ours), _short(row.reference)
        table.add_row(row.name, row.unit, *values, f"{row.ratio:,.2f}", f"{row.spread:.0%}")
    return table


def _short(value: float) -> str:
    return f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"
