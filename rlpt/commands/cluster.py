"""Commands that talk to Slurm."""

from typing import TYPE_CHECKING, Any

import click

from rlpt.commands.options import runs_option, takes_manifest
from rlpt.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from rlpt.jobs import Job, Selection
    from rlpt.manifest import Manifest
    from rlpt.pipeline import Execution


def submit_missing(manifest: "Manifest", jobs: "list[Job]", execution: "Execution", flags: dict[str, Any]) -> bool:
    """Submits what is neither done nor queued, and says so; returns whether nothing was left to do."""
    from rlpt.pipeline import require_inputs
    from rlpt.slurm.settings import with_flags
    from rlpt.slurm.submission import submit

    require_inputs(jobs, execution)
    if execution.schedule.time_limit is not None:
        raise UsageError("--time-limit: --executor slurm has Slurm's own: say --time")
    submitted, queued = submit(manifest, jobs, execution, with_flags(manifest.slurm, flags))
    for number, array in submitted.items():
        click.echo(f"submitted: array {number}: {array.stage}, {array.job_count} jobs in {len(array.tasks)} tasks")
    new = sum(array.job_count for array in submitted.values())
    done = len(jobs) - new - queued
    if done == len(jobs):
        click.echo(f"nothing to do: all {len(jobs)} jobs are done")
        return True
    click.echo(f"{new} submitted, {queued} in the queue before, {done} done; `rlpt status` follows them")
    return False


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
    """Take a manifest's jobs out of Slurm's queue; those that run save their checkpoints first.

    \b
    Example: rlpt cancel experiments/fig08_ik.toml --env walker-walk
    """
    from rlpt.jobs import plan
    from rlpt.slurm.queue import Queue

    queue = Queue(runs)
    found = queue.tasks()
    tasks = {found[job.id] for job in plan(manifest, selection) if job.id in found}
    if tasks:
        queue.cancel(tasks)
    click.echo(f"cancelled {len(tasks)} tasks of {len({task.array for task in tasks})} arrays")
