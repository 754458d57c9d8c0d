"""Which tasks can be taken out of Slurm's queue without harm to what is not to be cancelled."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from rlpt.manifest import Manifest
from rlpt.pipeline.jobs import Selection, plan, with_inputs
from rlpt.runs.folder import RunFolder
from rlpt.slurm.queue import QueuedTask, user


@dataclass(frozen=True)
class Cancellation:
    """What becomes of a manifest's selected jobs that are in the queue."""

    tasks: frozenset[QueuedTask]
    "To be cancelled."
    needed: list[str]
    "Ids of jobs that stay: queued runs that are not selected start from them."
    shared: dict[QueuedTask, list[str]]
    "Tasks that stay, since they run other jobs too, each with these jobs' ids."
    foreign: frozenset[QueuedTask]
    "Tasks of other users, who alone can cancel them."


def find_cancellation(
    manifest: Manifest, selection: Selection, queued: Mapping[str, QueuedTask], runs: Path
) -> Cancellation:
    """Returns what of the tasks `queued`, by their jobs' ids, can be cancelled for a selection of a manifest's jobs."""
    selected = {job.id for job in plan(manifest, selection)}
    needed = _needed_by_others(manifest, queued, selected)
    selected -= needed
    wanted = {queued[job] for job in selected if job in queued}
    foreign = {task for task in wanted if task.user != user()}
    shared = {task: others for task in wanted - foreign if (others := _others(task, queued, selected, runs))}
    return Cancellation(
        frozenset(wanted - foreign - shared.keys()), sorted(needed & queued.keys()), shared, frozenset(foreign)
    )


def _needed_by_others(manifest: Manifest, queued: Collection[str], selected: Collection[str]) -> set[str]:
    """Returns what the manifest's queued training runs start from, but for the selected ones."""
    others = [job for job in plan(manifest) if job.stage == "train" and job.id in queued and job.id not in selected]
    return {needed.id for job in others for needed in with_inputs(job) if needed is not job}


def _others(task: QueuedTask, queued: Mapping[str, QueuedTask], selected: Collection[str], runs: Path) -> list[str]:
    """Returns the jobs of a task that are neither selected nor done."""
    jobs = [job for job, place in queued.items() if place == task and job not in selected]
    return [job for job in jobs if not RunFolder(runs, "train", job).is_done()]  # only training runs share a task
