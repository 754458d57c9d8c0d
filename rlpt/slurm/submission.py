"""Submitting what a manifest lacks, and showing it without submitting."""

from collections.abc import Mapping, Sequence

from rlpt.jobs import Job
from rlpt.manifest import Manifest
from rlpt.pipeline import Execution
from rlpt.slurm.arrays import LOGS, Array, arrays, batch_script
from rlpt.slurm.queue import Queue
from rlpt.slurm.settings import SlurmSettings


def submit(
    manifest: Manifest, jobs: Sequence[Job], execution: Execution, settings: SlurmSettings
) -> tuple[dict[str, Array], int]:
    """Submits the jobs that are neither done nor in the queue.

    Returns:
        The submitted arrays by Slurm's numbers, and how many of the jobs were in the queue already.

    Raises:
        UsageError: if Slurm is not there or refuses; what was submitted before stays, and the next call adds the rest.
    """
    queue = Queue(execution.runs)
    submitted: dict[str, Array] = {}
    with queue.locked():
        tasks = queue.tasks()
        queue.forget_ended(tasks.values())
        queued = {job: task.array for job, task in tasks.items()}
        (execution.runs / LOGS).mkdir(parents=True, exist_ok=True)
        numbers: dict[str, str] = {}
        for array, script in preview(manifest, jobs, execution, settings, queued):
            ids = [[job.id for job in task] for task in array.tasks]
            numbers[array.name] = queue.submit(script, ids, [numbers.get(name, name) for name in array.after])
            submitted[numbers[array.name]] = array
    return submitted, sum(job.id in queued for job in jobs)


def preview(
    manifest: Manifest, jobs: Sequence[Job], execution: Execution, settings: SlurmSettings, queued: Mapping[str, str]
) -> list[tuple[Array, str]]:
    """Returns the arrays that `submit` would submit with jobs `queued` (id → array), each with its script."""
    planned = arrays(manifest.name, jobs, execution.runs, queued, settings)
    return [(array, batch_script(array, manifest, execution, settings)) for array in planned]
