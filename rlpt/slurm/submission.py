"""Submitting what a manifest lacks, and showing it without submitting."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from rlpt.manifest import Manifest
from rlpt.pipeline.execution import Execution
from rlpt.pipeline.jobs import Job
from rlpt.slurm.arrays import LOGS, Array, arrays, batch_script
from rlpt.slurm.queue import Queue
from rlpt.slurm.settings import SlurmSettings


@dataclass(frozen=True)
class Submission:
    """What became of a manifest's jobs."""

    arrays: dict[str, Array]
    "What was submitted, by Slurm's numbers."
    queued: int
    "How many jobs were in the queue before, and are not done."
    stranded: list[str]
    "Ids of jobs in the queue that need what was submitted now, and do not wait for it."


def submit(manifest: Manifest, jobs: Sequence[Job], execution: Execution, settings: SlurmSettings) -> Submission:
    """Submits the jobs that are neither done nor in the queue.

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
    new = {job.id for array in submitted.values() for task in array.tasks for job in task}
    # Of the runs that share a task, some may be done.
    before = sum(job.id in queued and not job.folder(execution.runs).is_done() for job in jobs)
    return Submission(submitted, before, _stranded(jobs, queued, new))


def _stranded(jobs: Sequence[Job], queued: Collection[str], new: Collection[str]) -> list[str]:
    """Returns jobs in the queue that came there before something `new` that they need, or that their inputs need."""
    late = set(new)
    for job in jobs:
        if job.id in queued and any(needed.id in late for needed in job.inputs):
            late.add(job.id)
    return [job.id for job in jobs if job.id in late and job.id not in new]


def preview(
    manifest: Manifest, jobs: Sequence[Job], execution: Execution, settings: SlurmSettings, queued: Mapping[str, str]
) -> list[tuple[Array, str]]:
    """Returns the arrays that `submit` would submit with jobs `queued` (id → array), each with its script."""
    planned = arrays(manifest.name, jobs, execution.runs, queued, settings)
    return [(array, batch_script(array, manifest, execution, settings)) for array in planned]
