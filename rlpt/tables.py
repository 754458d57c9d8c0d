"""Tables for people."""

from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rlpt.estimates import steps
from rlpt.jobs import Job
from rlpt.pipeline import progress_of

_STYLES = {"done": "green", "running": "cyan", "failed": "red", "missing": "dim"}
_UNITS = {"generate": "transitions", "pretrain": "updates", "train": "agent steps"}


def plan_table(rows: list[dict[str, Any]]) -> None:
    """Prints what `rlpt plan` knows of each job, and the sums."""
    table = Table("stage", "job", "needs", box=None, header_style="bold")
    table.add_column("steps", justify="right")
    table.add_column("disk", justify="right")
    for row in rows:
        needs = ", ".join(row["inputs"]) or "–"
        table.add_row(row["stage"], row["id"], needs, f"{row['steps']:,}", _megabytes(row["disk_bytes"]))
    console = Console()
    console.print(table)
    for stage, unit in _UNITS.items():
        own = [row for row in rows if row["stage"] == stage]
        if own:
            total = sum(row["steps"] for row in own)
            console.print(f"{len(own):>4} {stage:<9} {total:>12,} {unit}", highlight=False)
    console.print(f"     disk      {_megabytes(sum(row['disk_bytes'] for row in rows)):>12}", highlight=False)


def status_table(jobs: list[Job], runs: Path) -> None:
    """Prints each job's state; for running ones how far they are, for failed ones why."""
    table = Table("state", "stage", "job", "", box=None, header_style="bold")
    count: Counter[str] = Counter()
    for job in jobs:
        folder = job.folder(runs)
        state = folder.state()
        count[state] += 1
        note = folder.error() if state == "failed" else ""
        if state == "running":
            done, last = progress_of(job, runs)
            note = f"{done:,} of {steps(job):,}  {last}"
        table.add_row(f"[{_STYLES[state]}]{state}[/]", job.stage, job.id, note)
    console = Console()
    console.print(table)
    console.print(", ".join(f"{number} {state}" for state, number in count.items()), highlight=False)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
