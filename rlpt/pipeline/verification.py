"""Does a finished run still match its record and inputs, and does a job that is killed end with the same bytes?"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rlpt.errors import JobError, UsageError
from rlpt.manifest import Manifest
from rlpt.pipeline.execution import Execution
from rlpt.pipeline.jobs import STAGES, Job
from rlpt.pipeline.scheduler import RLPT, stage_command
from rlpt.runs.checksums import PROVENANCE_FILE, damage, read_provenance
from rlpt.runs.interruption import Schedule

# TensorBoard's event files hold wall-clock time, and a resumed job adds one.
_INCOMPARABLE = "tensorboard/"
_CHECKPOINTS_A_RUN = 20
_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Check:
    """One file or input of a finished run, compared with the run's record."""

    what: str
    problem: str
    "Empty if there is none."
    unknown: bool = False
    "Whether it could not be compared, which is no fault of the run's."


def finished_folders(path: Path) -> list[Path]:
    """Returns `path` if it is a finished run, or all finished runs in it if it is a runs folder or a stage's.

    Raises:
        UsageError: if it is neither.
    """
    if (path / PROVENANCE_FILE).is_file():
        return [path]
    stages = [path / stage for stage in STAGES]
    if path.name in STAGES and not any(stage.is_dir() for stage in stages):
        stages = [path]
    places = (folder for stage in stages if stage.is_dir() for folder in sorted(stage.iterdir()))
    found = [
        folder
        for folder in places
        if folder.is_dir() and folder.suffix != ".partial" and not folder.name.startswith(".")
    ]
    if not found:
        raise UsageError(f"{path}: neither a manifest (.toml), nor a finished run, nor a folder with finished runs")
    return found


def check_run(folder: Path) -> Iterator[Check]:
    """Compares every file that a run wrote, and every input that is still there, with the run's record.

    What a collection left out (`rlpt collect`) is not looked for.

    Raises:
        UsageError: if the record itself is missing or damaged.
    """
    record = read_provenance(folder)
    identity = record["job"].get("id", "")
    yield Check("job", "" if identity == folder.name else f"the folder holds the run {identity}")
    for name, recorded in record["outputs"].items():
        if name not in record["left_out"]:
            yield Check(name, damage(folder / name, recorded))
    for needed in record.get("inputs", []):
        source = folder.parent.parent / needed["stage"] / needed["id"]
        what = f"input {needed['stage']}/{needed['id']}/{needed['file']}"
        if not source.is_dir():
            yield Check(what, "no longer there, so that it cannot be compared", unknown=True)
            continue
        maker = read_provenance(source)
        now = maker["outputs"].get(needed["file"])
        if now is None or now["sha256"] != needed["sha256"]:
            yield Check(what, "another file than the one that this run used")
        elif needed["file"] not in maker["left_out"]:
            yield Check(what, damage(source / needed["file"], now))


@dataclass(frozen=True)
class Repetition:
    """A job that ran twice, once with interruptions."""

    job: Job
    kills: int
    "How often it really was killed: a kill after its end does not count."
    differences: tuple[str, ...]
    "Files that are not the same, but for TensorBoard's."


def repeat_with_kills(
    manifest: Manifest, jobs: Sequence[Job], execution: Execution, kills: int, seed: int
) -> Iterator[Repetition]:
    """Runs every job twice, once undisturbed and once killed (SIGKILL) at random moments, and compares the files.

    Both copies are below a new folder in `execution.runs`, which is deleted when all is the same.

    Args:
        manifest: what asks for the jobs.
        jobs: in the order of `rlpt.pipeline.jobs.plan`.
        execution: how; its `runs` is where the two copies are made.
        kills: of each job.
        seed: of the moments.

    Raises:
        JobError: if a job fails by itself.
    """
    execution.runs.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="verify-", dir=execution.runs))
    random = np.random.default_rng(seed)
    nothing_to_look_at = True
    try:
        for job in jobs:
            whole = replace(execution, runs=folder / "whole")
            _run(manifest, job, whole)
            seconds = read_provenance(job.folder(whole.runs).path)["sessions"][-1]["seconds"]
            schedule = Schedule(minutes=seconds / 60 / _CHECKPOINTS_A_RUN)
            killed = replace(execution, runs=folder / "killed", schedule=schedule)
            # Late enough to get on a little each time, early enough not to be at the end before the last kill.
            moments = random.uniform(0, seconds / (kills + 1), kills)
            survived = sum(_kill(manifest, job, killed, moment) for moment in moments)
            _run(manifest, job, killed)
            differences = _differences(*(job.folder(copy.runs).path for copy in (whole, killed)))
            nothing_to_look_at &= not differences
            yield Repetition(job, survived, differences)
    finally:
        if nothing_to_look_at:
            shutil.rmtree(folder, ignore_errors=True)


def _start(manifest: Manifest, job: Job, execution: Execution) -> "subprocess.Popen[str]":
    threads = [f"--threads={execution.threads}"] if execution.threads else []
    command = [*RLPT, *stage_command(job, manifest, execution), *threads, "--quiet"]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, process_group=0
    )


def _run(manifest: Manifest, job: Job, execution: Execution) -> None:
    """Runs a job to its end."""
    process = _start(manifest, job, execution)
    try:
        _, complaint = process.communicate()
    finally:
        _end(process)
    if process.returncode:
        lines = complaint.strip().splitlines() or [f"exit status {process.returncode}"]
        raise JobError(f"{job.id}: {lines[-1]}")


def _kill(manifest: Manifest, job: Job, execution: Execution, seconds: float) -> bool:
    """Starts a job, kills it `seconds` after it has begun its work, and says whether it was still running."""
    process = _start(manifest, job, execution)
    try:
        while process.poll() is None and job.folder(execution.runs).state() != "running":
            time.sleep(_LOOK_SECONDS)
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return True
    finally:
        _end(process)
    return False


def _end(process: "subprocess.Popen[str]") -> None:
    """Kills a process with its workers, and waits for it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _differences(whole: Path, killed: Path) -> tuple[str, ...]:
    one, other = (
        {name: file for name, file in read_provenance(folder)["outputs"].items() if not name.startswith(_INCOMPARABLE)}
        for folder in (whole, killed)
    )
    return tuple(name for name in sorted(one | other) if one.get(name) != other.get(name))
