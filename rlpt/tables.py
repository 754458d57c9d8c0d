"""Tables for people."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rlpt.estimates import disk_bytes, gpu_hours, replay_bytes, steps
from rlpt.jobs import Job
from rlpt.pipeline import progress_of
from rlpt.slurm.queue import QueuedTask

_STYLES = {"done": "green", "running": "cyan", "paused": "yellow", "failed": "red", "missing": "dim"}
_UNITS = {"generate": "transitions", "pretrain": "updates", "train": "agent steps"}


def plan_table(plans: dict[Path, list[Job]]) -> None:
    """Prints each manifest's jobs, their sums, and what manifests share."""
    console = Console()
    distinct = {job.id: job for jobs in plans.values() for job in jobs}
    if len(plans) == 1:
        table = Table("stage", box=None, header_style="bold")
        table.add_column("job", overflow="fold")
        table.add_column("needs", overflow="fold")
        table.add_column("steps", justify="right")
        table.add_column("disk", justify="right")
        for job in distinct.values():
            needs = ", ".join(needed.id for needed in job.inputs) or "–"
            table.add_row(job.stage, job.id, needs, f"{steps(job):,}", _megabytes(disk_bytes(job)))
        console.print(table)
    else:
        table = Table("manifest", box=None, header_style="bold")
        for stage in _UNITS:
            table.add_column(stage, justify="right")
        for path, jobs in plans.items():
            table.add_row(path.name, *(str(sum(job.stage == stage for job in jobs)) for stage in _UNITS))
        console.print(table)
        for stage in _UNITS:
            asked = sum(job.stage == stage for jobs in plans.values() for job in jobs)
            own = sum(job.stage == stage for job in distinct.values())
            console.print(
                f"{stage:<9} {asked:>4} asked for, {own:>4} distinct, {asked - own:>3} shared", highlight=False
            )
    _print_sums(console, list(distinct.values()))


def _print_sums(console: Console, jobs: list[Job]) -> None:
    for stage, unit in _UNITS.items():
        own = [job for job in jobs if job.stage == stage]
        if own:
            total, hours = sum(map(steps, own)), sum(map(gpu_hours, own))
            cost = f", {hours:,.0f} GPU hours at the authors' speed" if hours >= 1 else ""
            console.print(f"{len(own):>4} {stage:<9} {total:>12,} {unit}{cost}", highlight=False)
    console.print(f"     disk      {_megabytes(sum(map(disk_bytes, jobs))):>12}", highlight=False)
    replay = max((replay_bytes(job) for job in jobs if job.stage == "train"), default=0)
    if replay:
        console.print(f"     and, while it runs, for each training job's replay {_megabytes(replay)}", highlight=False)


def status_table(jobs: list[Job], runs: Path, queued: Mapping[str, QueuedTask]) -> None:
    """Prints each job's state, and its place in Slurm's queue; for running ones how far they are, for failed ones why.

    Args:
        jobs: in the order to print.
        runs: where their folders are.
        queued: tasks in the queue, by their jobs' ids.
    """
    table = Table("state", *(["queue"] if queued else []), "stage", box=None, header_style="bold")
    table.add_column("job", overflow="fold")
    table.add_column("")
    count: Counter[str] = Counter()
    for job in jobs:
        folder = job.folder(runs)
        state = folder.state()
        count[state] += 1
        note = folder.error() if state == "failed" else ""
        if state in ("running", "paused"):
            done, last = progress_of(job, runs)
            note = f"{done:,} of {steps(job):,}  {last}"
        task = queued.get(job.id)
        place = [f"{task.id} {task.state.lower()} ({task.reason})" if task else ""] if queued else []
        table.add_row(f"[{_STYLES[state]}]{state}[/]", *place, job.stage, job.id, note)
    console = Console()
    console.print(table)
    waiting = sum(job.id in queued for job in jobs)
    sums = [
        *(f"{number} {state}" for state, number in count.items()),
        *([f"{waiting} in the queue"] if waiting else []),
    ]
    console.print(", ".join(sums), highlight=False)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
