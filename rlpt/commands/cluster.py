"""Commands that talk to Slurm."""

from typing import TYPE_CHECKING, Any

import click

from rlpt.commands.options import runs_option, takes_manifest
from rlpt.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rlpt.manifest import Manifest
    from rlpt.pipeline.execution import Execution
    from rlpt.pipeline.jobs import Job, Selection
    from rlpt.slurm.queue import QueuedTask
    from rlpt.slurm.settings import SlurmSettings


def submit_missing(manifest: "Manifest", jobs: "list[Job]", execution: "Execution", flags: dict[str, Any]) -> bool:
    """Submits what is neither done nor queued, and says so; returns whether nothing was left to do."""
    from rlpt.pipeline.execution import require_inputs, unfinished
    from rlpt.slurm.settings import with_flags
    from rlpt.slurm.submission import submit

    missing = unfinished(jobs, execution.runs)
    require_inputs(missing, execution.data)
    if execution.schedule.time_limit is not None:
        raise UsageError("--time-limit: --executor slurm has Slurm's own: say --time")
    settings = with_flags(manifest.slurm, flags)
    submission = submit(manifest, jobs, execution, settings)
    for number, array in submission.arrays.items():
        click.echo(f"submitted: array {number}: {array.stage}, {array.job_count} jobs in {len(array.tasks)} tasks")
    if submission.stranded:
        _warn(
            f"{len(submission.stranded)} jobs in the queue need what was submitted only now, and do not wait for it: "
            f"if they fail, run this again when they have: {', '.join(submission.stranded)}"
        )
    if submission.arrays:
        _warn_of_full_disk(missing, execution.runs, settings)
    new = sum(array.job_count for array in submission.arrays.values())
    done = len(jobs) - new - submission.queued
    if done == len(jobs):
        click.echo(f"nothing to do: all {len(jobs)} jobs are done")
        return True
    click.echo(f"{new} submitted, {submission.queued} in the queue before, {done} done; `rlpt status` follows them")
    return False


def _warn_of_full_disk(missing: "list[Job]", runs: "Path", settings: "SlurmSettings") -> None:
    """Says if not everything fits on the disk; no more than that, since Slurm decides how many jobs run at a time."""
    from rlpt.pipeline.disk import lack_of_room

    parallel = min(len(missing), (settings.array_parallelism or len(missing)) * settings.runs_per_gpu)
    lack = lack_of_room(missing, parallel, runs)
    if lack:
        _warn(
            f"{lack} if {parallel} run at a time: make room, or lower --array-parallelism; "
            "a job that finds no room stops, and goes on when it is submitted again"
        )


def _warn(text: str) -> None:
    click.echo(f"WARNING: {text}", err=True)


def print_scripts(plans: "list[tuple[Manifest, list[Job]]]", execution: "Execution", flags: dict[str, Any]) -> None:
    """Prints the batch scripts of what several manifests lack; submits nothing."""
    from rlpt.slurm.queue import Queue, is_installed
    from rlpt.slurm.settings import with_flags
    from rlpt.slurm.submission import preview

    queue = Queue(execution.runs)
    tasks = queue.tasks() if is_installed() and queue.is_used() else {}
    queued = {job: task.array for job, task in tasks.items()}
    for manifest, jobs in plans:
        for array, script in preview(manifest, jobs, execution, with_flags(manifest.slurm, flags), queued):
            waits = f" --dependency=afterany:{':'.join(array.after)}" if array.after else ""
            click.echo(f"# array {array.name}: {array.job_count} jobs in {len(array.tasks)} tasks: sbatch{waits}")
            click.echo(script)
            queued |= {job.id: array.name for task in array.tasks for job in task}


@click.command()
@takes_manifest
@runs_option
def cancel(manifest: "Manifest", selection: "Selection", runs: "Path") -> None:
    """Take a manifest's jobs out of Slurm's queue. Running ones save their checkpoints first.

    \b
    Example: rlpt cancel experiments/fig08_ik.toml --env walker-walk
    """
    from rlpt.slurm.cancellation import find_cancellation
    from rlpt.slurm.queue import Queue

    queue = Queue(runs)
    found = find_cancellation(manifest, selection, queue.tasks(), runs)
    if found.tasks:
        queue.cancel(found.tasks)
    click.echo(f"cancelled {len(found.tasks)} tasks of {len({task.array for task in found.tasks})} arrays")
    if found.needed:
        click.echo(f"left alone: {', '.join(found.needed)}: queued runs that are not selected need them")
    if found.shared:
        click.echo(
            f"left alone: {_ids(found.shared)}, which run jobs that are not selected too: "
            f"{', '.join(sorted({job for others in found.shared.values() for job in others}))}: "
            "select these as well, or `scancel` the tasks"
        )
    if found.foreign:
        owners = ", ".join(sorted({task.user for task in found.foreign}))
        click.echo(f"left alone: {_ids(found.foreign)}, which only {owners} can cancel")


def _ids(tasks: "Iterable[QueuedTask]") -> str:
    return ", ".join(sorted(task.id for task in tasks))
