"""From jobs to Slurm job arrays and their batch scripts."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from rlpt.errors import UsageError
from rlpt.manifest import Manifest
from rlpt.pipeline.execution import Execution
from rlpt.pipeline.jobs import Job, Stage
from rlpt.pipeline.scheduler import stage_options
from rlpt.slurm.container import image_state, program
from rlpt.slurm.settings import SlurmSettings

LOGS = "logs/slurm"
"Below the runs folder: what the batch scripts themselves say."
_SECONDS_TO_SAVE = 120


@dataclass(frozen=True)
class Array:
    """Jobs of one stage that wait for the same arrays."""

    name: str
    stage: Stage
    tasks: tuple[tuple[Job, ...], ...]
    "Each task's jobs, which run side by side."
    after: tuple[str, ...]
    "Arrays that make inputs: names of those before it in the list, Slurm's numbers of those in the queue already."

    @property
    def on_gpu(self) -> bool:
        """Says whether its tasks get the generic resources; generation has no use for a GPU."""
        return self.stage != "generate"

    @property
    def job_count(self) -> int:
        """Jobs of all tasks together."""
        return sum(map(len, self.tasks))


def arrays(
    name: str, jobs: Sequence[Job], runs: Path, queued: Mapping[str, str], settings: SlurmSettings
) -> list[Array]:
    """Returns what has to be submitted: one array for each stage, and each set of arrays that its jobs wait for.

    Args:
        name: what the arrays' names begin with.
        jobs: in the order of `rlpt.pipeline.jobs.plan`.
        runs: where results go; what is there already is left out.
        queued: jobs in the queue by their ids, each with the array that it is in; left out too.
        settings: how many runs share a task.
    """
    place = dict(queued)  # of each job that is still to be done: its array
    groups: dict[tuple[Stage, frozenset[str]], list[Job]] = {}
    for job in jobs:
        if job.id in queued or job.folder(runs).is_done():
            continue
        waits_for = frozenset(place[needed.id] for needed in job.inputs if needed.id in place)
        groups.setdefault((job.stage, waits_for), []).append(job)
        number = [after for stage, after in groups if stage == job.stage].index(waits_for) + 1
        place[job.id] = f"{name}-{job.stage}-{number}"
    return [
        Array(
            place[members[0].id],
            stage,
            _packed(members, settings.runs_per_gpu if stage == "train" else 1),
            tuple(sorted(after)),
        )
        for (stage, after), members in groups.items()
    ]


def _packed(jobs: Sequence[Job], size: int) -> tuple[tuple[Job, ...], ...]:
    return tuple(tuple(jobs[start : start + size]) for start in range(0, len(jobs), size))


def batch_script(array: Array, manifest: Manifest, execution: Execution, settings: SlurmSettings) -> str:
    """Returns the script of an array, whose dependency is left to `sbatch`'s command line.

    Raises:
        UsageError: if the Apptainer image is not there, or a folder's name would be misread.
    """
    share = settings.cpus // settings.runs_per_gpu if array.stage == "train" else settings.cpus
    device = _device(array, execution.device, settings.gres or "")
    execution = replace(execution, threads=execution.threads or max(1, share), device=device)
    options = [*stage_options(manifest, execution), f"--threads={execution.threads}", "--quiet"]
    tasks = "\n".join("  " + shlex.quote(" ".join(job.id for job in task)) for task in array.tasks)
    body = resources.files("rlpt.slurm").joinpath("task.sh").read_text(encoding="utf-8")
    lines = [
        "#!/usr/bin/env bash",
        *(f"#SBATCH {option}" for option in _requests(array, execution.runs, settings)),
        f"export OMP_NUM_THREADS={execution.threads}",
        f"stage={array.stage} runs={shlex.quote(str(execution.runs))}",
        f"image={shlex.quote(settings.sif or '')} image_state={shlex.quote(image_state(settings.sif))}",
        f"rlpt=({program(manifest.path, execution, settings.sif, gpu=array.on_gpu)})",
        f"options=({shlex.join(options)})",
        f"tasks=(\n{tasks}\n)",
    ]
    return "\n".join(lines) + "\n\n" + body


def _device(array: Array, wanted: str, gres: str) -> str:
    """Returns what a task's jobs compute on: where a GPU was asked for, one that does not work is to be an error."""
    if not array.on_gpu:
        return "cpu"
    return "cuda" if wanted == "auto" and "gpu" in re.split(r"[^\w.]", gres) else wanted


def _requests(array: Array, runs: Path, settings: SlurmSettings) -> list[str]:
    for folder in (runs.absolute(), Path.cwd()):
        if "\\" in str(folder):
            raise UsageError(f"{folder}: Slurm leaves out the backslash: choose a folder without")
    throttle = f"%{settings.array_parallelism}" if settings.array_parallelism else ""
    wanted = {
        "job-name": f"rlpt-{array.name}",
        "array": f"0-{len(array.tasks) - 1}{throttle}",
        "chdir": str(Path.cwd()),
        "output": f"{str(runs.absolute() / LOGS).replace('%', '%%')}/%A_%a.log",
        "open-mode": "append",
        "signal": f"B:USR1@{_SECONDS_TO_SAVE}",
        "nodes": "1",
        "ntasks": "1",
        "cpus-per-task": str(settings.cpus),
        "mem": settings.mem,
        "time": settings.time,
        "gres": settings.gres if array.on_gpu else None,
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
    }
    return ["--requeue", *(f"--{name}={shlex.quote(value)}" for name, value in wanted.items() if value)]
