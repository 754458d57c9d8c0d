"""Is there room for what is about to run?"""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rlpt.errors import UsageError
from rlpt.pipeline.estimates import checkpoint_bytes, disk_bytes, replay_bytes
from rlpt.pipeline.jobs import Job

_MARGIN = 1.1
"Times what is estimated, which forgets logs and metrics."


def existing_folder(path: Path) -> Path:
    """Returns `path`, or the nearest folder above it that exists."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())


def required_bytes(jobs: Sequence[Job], parallel: int, runs: Path) -> int:
    """Returns about how much space running `jobs` will take at its peak: results, and what jobs need while they run.

    What an interrupted job has already written counts as space that it has.
    """
    results = sum(map(disk_bytes, jobs))
    working = sorted(map(_working_bytes, jobs), reverse=True)[:parallel]
    present = sum(_used_bytes(job.folder(runs).partial) for job in jobs)
    return max(0, round(results + sum(working) - present))


def _working_bytes(job: Job) -> int:
    """Returns what a job needs while it runs, beside its result: generation joins parts into a second copy."""
    if job.stage == "generate":
        return disk_bytes(job)
    return replay_bytes(job) + 2 * checkpoint_bytes(job)


def _used_bytes(folder: Path) -> int:
    used = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # another process may be at work there
                used += Path(place, name).lstat().st_blocks * 512
    return used


def require_room(jobs: Sequence[Job], parallel: int, runs: Path) -> None:
    """Refuses to begin what cannot end.

    Raises:
        UsageError: if the disk of `runs` has less space than `jobs`, `parallel` at a time, will take.
    """
    lack = lack_of_room(jobs, parallel, runs)
    if lack:
        raise UsageError(f"{lack}: make room, choose another --runs, or select fewer (--env, --condition, --seed)")


def lack_of_room(jobs: Sequence[Job], parallel: int, runs: Path) -> str:
    """Says what `jobs`, `parallel` at a time, will take if the disk of `runs` has less free space.

    Empty if it has enough. Quotas are not seen.
    """
    if not jobs:
        return ""
    folder = existing_folder(runs)
    needed, free = required_bytes(jobs, parallel, runs) * _MARGIN, shutil.disk_usage(folder).free
    if needed <= free:
        return ""
    return f"{runs}: {len(jobs)} jobs need about {needed / 1e6:,.0f} MB, and {folder} has {free / 1e6:,.0f} MB free"
