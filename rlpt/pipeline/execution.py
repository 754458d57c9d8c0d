"""Running one job: which function, on what, and where its output goes."""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlpt.errors import UsageError
from rlpt.pipeline.failures import explained
from rlpt.pipeline.jobs import Job, Stage
from rlpt.pipeline.memory import freed_memory_kept
from rlpt.progress import Report, progress_bar
from rlpt.runs.checksums import file_sha256, verified
from rlpt.runs.files import TEMPORARY_PREFIX
from rlpt.runs.folder import CHECKPOINT_FILE, PROGRESS_FILE, SESSIONS_FILE
from rlpt.runs.interruption import Checkpoints, Schedule, StopRequest
from rlpt.runs.provenance import available_cores, read_sessions
from rlpt.settings import Method

if TYPE_CHECKING:  # slow to import
    import numpy as np
    import torch

_NOTE_SECONDS = 1.0
OUTPUT_FILES: dict[Stage, str] = {"generate": "transitions.h5", "pretrain": "encoder.safetensors"}
"What the next stage reads of a job's folder."
SYNTHETIC = "synthetic"
"The data folder's images that rlpt draws itself."


@dataclass(frozen=True)
class Execution:
    """How jobs are run; nothing here changes a result."""

    runs: Path
    data: Path = Path("data")
    "Video clips and image folders."
    device: str = "auto"
    threads: int = 0
    "CPU threads (generate: worker processes) of one job; 0: as many as it began with, or its share of the cores."
    quiet: bool = False
    schedule: Schedule = field(default_factory=Schedule)
    deterministic: bool = False
    "Only algorithms that give the same bits every time (a GPU has faster ones)."


def run_job(
    job: Job, execution: Execution, manifest: dict[str, Any] | None = None, stop: StopRequest | None = None
) -> None:
    """Runs one job in this process.

    Args:
        job: which.
        execution: how.
        manifest: what asks for it, for the run's record (`Manifest.describe`).
        stop: when to save and stop; None: at the time limit of `execution` alone.

    Raises:
        UsageError: if an input is missing or damaged, or what is computed from is bad.
        Busy: if another process works on the run, or has finished it.
        JobError: if disk or memory ran out, or training diverged.
        Paused: if a signal or the time limit stopped it; it goes on when it is run again.
    """
    import torch

    from rlpt.pipeline.arithmetic import computing

    device = choose_device(execution.device)
    if job.stage == "generate":
        device = torch.device("cpu")  # there is no network to compute
    torch.set_num_threads(threads_of(job, execution, available_cores()))
    earlier = _threads_before(job, execution.runs)
    if earlier not in (0, torch.get_num_threads()) and device.type == "cpu":
        print(
            f"WARNING: {job.id} goes on with {torch.get_num_threads()} threads after {earlier}: the last digits of its "
            "results may not be those of an uninterrupted run",
            file=sys.stderr,
        )
    how = {"device": str(device), "deterministic": execution.deterministic}
    record: dict[str, Any] = {"job": {"id": job.id, "digest": job.digest}, "manifest": manifest}
    with (
        explained(job, execution.runs),  # what goes wrong with the folder itself
        job.folder(execution.runs).claim(job.identity(), record, how) as work,
        explained(job, execution.runs),  # the job's own trouble, so that the folder remembers the explained line
        progress_bar(job.id, execution.quiet) as bar,
        freed_memory_kept(),
        computing(job.settings.compute.precision, execution.deterministic),
    ):
        inputs = [_verified(needed, job, execution.runs) for needed in job.inputs]
        record["inputs"] = [
            {"stage": needed.stage, "id": needed.id, "file": path.name, "sha256": sha256}
            for needed, (path, sha256) in zip(job.inputs, inputs, strict=True)
        ]
        if job.clip:
            record["video"] = {"name": job.clip.name, "sha256": file_sha256(job.clip.locate(execution.data))}
        checkpoints = Checkpoints(work / CHECKPOINT_FILE, execution.schedule, job.digest, stop)
        report = _noted(bar, work / PROGRESS_FILE)
        task = _Task(job, [path for path, _ in inputs], work, execution.data, device, checkpoints, report)
        _WORK[job.method or job.stage](task)


def threads_of(job: Job, execution: Execution, share: int) -> int:
    """Returns the number of a job's threads: what is asked for, else what it began with, else its share of the cores.

    Another number changes the order of sums, and so the last digits.
    """
    return execution.threads or min(_threads_before(job, execution.runs), available_cores()) or share


def _threads_before(job: Job, runs: Path) -> int:
    """Returns the threads of an unfinished job's last session; 0 if there is none, or if it does not depend on them."""
    sessions = read_sessions(job.folder(runs).partial / SESSIONS_FILE)
    return int(sessions[-1].get("threads", 0)) if sessions and job.stage != "generate" else 0


def unfinished(jobs: Iterable[Job], runs: Path) -> list[Job]:
    """Returns the jobs that are not done, and deletes what a kill in the last moment may have left of the others."""
    found = []
    for job in jobs:
        folder = job.folder(runs)
        if folder.is_done():
            folder.remove_temporary_files()
        else:
            found.append(job)
    return found


def require_inputs(jobs: Sequence[Job], data: Path) -> None:
    """Looks for the video clips and image folders of jobs in the folder `data`, before hours of work on others.

    Raises:
        UsageError: if one is missing or is something else.
    """
    from rlpt.data.image_folder import class_names

    for clip in {job.clip for job in jobs if job.clip}:
        clip.locate(data)
    chosen = {job.settings.imagenet for job in jobs if job.method == "imagenet"}
    for folder, classes in {(each.dataset, each.classes) for each in chosen if each.dataset != SYNTHETIC}:
        class_names(data / folder, classes)


def _verified(needed: Job, job: Job, runs: Path) -> tuple[Path, str]:
    """Returns the path and SHA-256 of what `job` reads of another."""
    folder = needed.folder(runs)
    if not folder.is_done():
        raise UsageError(
            f"{folder.path}: not there, and {job.id} needs it: "
            f"run `rlpt {needed.stage}` first, or `rlpt run` for everything in order"
        )
    return verified(folder.path, OUTPUT_FILES[needed.stage])


@dataclass(frozen=True)
class _Task:
    """What a stage is given."""

    job: Job
    inputs: list[Path]
    work: Path
    data: Path
    device: "torch.device"
    checkpoints: Checkpoints
    report: Report

    def video(self) -> "np.ndarray | None":
        """Returns the distracting background, uint8 [frames, size, size, 3], if there is one."""
        if self.job.clip is None:
            return None
        from rlpt.data.videos import load_video

        return load_video(self.job.clip.locate(self.data), self.job.settings.environment.size)


def choose_device(name: str) -> "torch.device":
    """Returns the device called "auto", "cpu" or "cuda".

    Raises:
        UsageError: if CUDA is asked for and not there.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: PyTorch sees no CUDA device; use --device cpu, or see `rlpt doctor`")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _generate(task: _Task) -> None:
    import torch

    from rlpt.generate import RandomEpisodes, generate

    settings = task.job.settings
    episodes = RandomEpisodes(task.job.environment, settings.environment, settings.generate, task.video())
    path = task.work / OUTPUT_FILES["generate"]
    generate(episodes, path, torch.get_num_threads(), task.checkpoints, task.report)


def _pretrain_on_transitions(task: _Task) -> None:
    from rlpt.data.splits import LEARNED_R2
    from rlpt.pretrain_ik import InverseKinematicsTraining

    training = InverseKinematicsTraining(task.inputs[0], task.job.settings, task.work, task.device)
    row = training.run(task.checkpoints, task.report)
    if row["test_r2"] <= LEARNED_R2:
        print(
            f"WARNING: {task.job.id}: the encoder has learned nothing: on held-out transitions it predicts actions "
            f"hardly better than their mean (test R² {row['test_r2']:.3f}). More transitions or epochs may help.",
            file=sys.stderr,
        )


def _pretrain_on_images(task: _Task) -> None:
    import torch

    from rlpt.data.image_cache import load_split
    from rlpt.data.image_folder import SPLITS, class_names
    from rlpt.data.synthetic_images import provide_synthetic_folder
    from rlpt.pretrain_imagenet import ImageNetTraining

    settings = task.job.settings
    folder = task.data / settings.imagenet.dataset
    if settings.imagenet.dataset == SYNTHETIC:
        provide_synthetic_folder(folder)
    classes = class_names(folder, settings.imagenet.classes)
    size, cache = settings.environment.size, task.data / "cache"
    threads = torch.get_num_threads()

    def report(done: int, total: int, note: str) -> None:
        task.checkpoints.poll(None)  # decoding begins anew, but a stop is heeded
        task.report(done, total, note)

    train, val = (load_split(folder, split, classes, size, cache, threads, report) for split in SPLITS)
    training = ImageNetTraining(train, val, settings, task.work, task.device)
    row = training.run(task.checkpoints, task.report)
    print(f"{task.job.id}: validation top-1 {row['val_top1']:.1%}, top-5 {row['val_top5']:.1%}")


def _train(task: _Task) -> None:
    from rlpt.train import Training

    job = task.job
    encoder = task.inputs[0] if task.inputs else None
    training = Training(job.environment, job.settings, job.seed, encoder, task.work, task.device, task.video())
    training.run(task.checkpoints, task.report)


_WORK: dict[Stage | Method, Callable[[_Task], None]] = {
    "generate": _generate,
    "ik": _pretrain_on_transitions,
    "imagenet": _pretrain_on_images,
    "train": _train,
}


def _noted(bar: Report, file: Path) -> Report:
    """Passes reports on, and about once a second leaves one in `file` for `rlpt run` and `rlpt status` to read."""
    last = 0.0

    def report(done: int, total: int, note: str) -> None:
        nonlocal last
        bar(done, total, note)
        if time.monotonic() - last > _NOTE_SECONDS:
            # Whole for who reads it, but not kept through a loss of power, which takes the disk 10 ms.
            aside = file.with_name(f"{TEMPORARY_PREFIX}{file.name}")
            aside.write_text(f"{done} {total} {note}", encoding="utf-8")
            aside.replace(file)
            last = time.monotonic()

    return report


def progress_of(job: Job, runs: Path) -> tuple[int, int, str] | None:
    """Returns how much of a running job is done, of how much, and its note; None if it has said nothing yet."""
    try:
        done, total, note = (job.folder(runs).partial / PROGRESS_FILE).read_text(encoding="utf-8").split(" ", 2)
        return int(done), int(total), note
    except (OSError, ValueError):
        return None
