"""Running one job: which function, on what, and where its output goes."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rlpt.errors import UsageError
from rlpt.estimates import steps
from rlpt.files import write_text
from rlpt.interruption import Checkpoints, Schedule, stopping_on_signals
from rlpt.jobs import Job, Stage
from rlpt.progress import Report, progress_bar
from rlpt.provenance import available_cores
from rlpt.runs import CHECKPOINT_FILE, PROGRESS_FILE

if TYPE_CHECKING:  # slow to import
    import numpy as np
    import torch

_NOTE_SECONDS = 1.0
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
    "CPU threads (generate: worker processes) of one job; 0: all cores."
    quiet: bool = False
    schedule: Schedule = field(default_factory=Schedule)


def run_job(job: Job, execution: Execution) -> None:
    """Runs one job in this process, unless it is done.

    Raises:
        UsageError: if an input is missing, the run is claimed by another process, or the job's own inputs are bad.
        Paused: if a signal or the time limit stopped it; it goes on when it is run again.
    """
    folder = job.folder(execution.runs)
    if folder.state() == "done":
        return
    import torch

    threads = execution.threads or available_cores()
    torch.set_num_threads(threads)
    device = choose_device(execution.device)
    with folder.claim(job.identity()) as work, progress_bar(job.id, steps(job), execution.quiet) as bar:
        inputs = [_finished(needed, job, execution.runs) for needed in job.inputs]
        checkpoints = Checkpoints(work / CHECKPOINT_FILE, execution.schedule)
        report = _noted(bar, work / PROGRESS_FILE)
        with stopping_on_signals(checkpoints.request_stop):
            _STAGES[job.stage](_Task(job, inputs, work, execution.data, device, threads, checkpoints, report))


def _finished(needed: Job, job: Job, runs: Path) -> Path:
    folder = needed.folder(runs)
    if folder.state() != "done":
        raise UsageError(
            f"{folder.path}: not there, and {job.id} needs it: "
            f"run `rlpt {needed.stage}` first, or `rlpt run` for everything in order"
        )
    return folder.path


@dataclass(frozen=True)
class _Task:
    """What a stage is given."""

    job: Job
    inputs: list[Path]
    work: Path
    data: Path
    device: "torch.device"
    threads: int
    checkpoints: Checkpoints
    report: Report

    def video(self) -> "np.ndarray | None":
        """Returns the distracting background, uint8 [frames, size, size, 3], if there is one."""
        if self.job.clip is None:
            return None
        from rlpt.data.videos import load_video

        return load_video(self.job.clip.locate(self.data), self.job.settings.environment.size, self.data / "cache")


def choose_device(name: str) -> "torch.device":
    """Returns the device called "auto", "cpu" or "cuda".

    Raises:
        UsageError: if CUDA is asked for and not there.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: PyTorch sees no CUDA device; use --device cpu, or see `rlpt doctor`")
    # The published runs computed in true float32; convolutions would otherwise round to TF32 on newer GPUs.
    torch.backends.cudnn.allow_tf32 = False
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _generate(task: _Task) -> None:
    from rlpt.generate import RandomEpisodes, generate

    settings = task.job.settings
    episodes = RandomEpisodes(task.job.environment, settings.environment, settings.generate, task.video())
    generate(episodes, task.work / "transitions.h5", task.threads, task.checkpoints, task.report)


def _pretrain(task: _Task) -> None:
    if not task.inputs:
        _pretrain_on_images(task)
        return
    from rlpt.pretrain import InverseKinematicsTraining

    dataset = task.inputs[0] / "transitions.h5"
    training = InverseKinematicsTraining(dataset, task.job.settings, task.work, task.device)
    row = training.run(task.checkpoints, task.report)
    if row["test_r2"] <= 0:
        print(
            f"WARNING: {task.job.id}: the encoder has learned nothing: on held-out transitions it predicts actions no "
            f"better than their mean (test R² {row['test_r2']:.3f}). More transitions or epochs may help.",
            file=sys.stderr,
        )


def _pretrain_on_images(task: _Task) -> None:
    from rlpt.data.imagenet import SPLITS, class_names, load_split
    from rlpt.data.synthetic_images import provide_synthetic_folder
    from rlpt.pretrain_imagenet import ImageNetTraining

    settings = task.job.settings
    folder = task.data / settings.imagenet.dataset
    if settings.imagenet.dataset == SYNTHETIC:
        provide_synthetic_folder(folder)
    classes = class_names(folder, settings.imagenet.classes)
    size, cache = settings.environment.size, task.data / "cache"
    train, val = (load_split(folder, split, classes, size, cache, task.threads, lambda *_: None) for split in SPLITS)
    frame_stack = settings.environment.frame_stack
    training = ImageNetTraining(train, val, settings.encoder, frame_stack, settings.imagenet, task.work, task.device)
    row = training.run(task.checkpoints, task.report)
    print(f"{task.job.id}: validation top-1 {row['val_top1']:.1%}, top-5 {row['val_top5']:.1%}")


def _train(task: _Task) -> None:
    from rlpt.train import Training

    job = task.job
    encoder = task.inputs[0] / "encoder.safetensors" if task.inputs else None
    training = Training(job.environment, job.settings, job.seed, encoder, task.work, task.device, task.video())
    training.run(task.checkpoints, task.report)


_STAGES: dict[Stage, Callable[[_Task], None]] = {"generate": _generate, "pretrain": _pretrain, "train": _train}


def _noted(bar: Report, file: Path) -> Report:
    """Passes reports on, and about once a second leaves one in `file` for `rlpt run` and `rlpt status` to read."""
    last = 0.0

    def report(done: int, note: str) -> None:
        nonlocal last
        bar(done, note)
        if time.monotonic() - last > _NOTE_SECONDS:
            write_text(file, f"{done} {note}")
            last = time.monotonic()

    return report


def progress_of(job: Job, runs: Path) -> tuple[int, str]:
    """Returns how far a running job is, and its note."""
    try:
        done, _, note = (job.folder(runs).partial / PROGRESS_FILE).read_text(encoding="utf-8").partition(" ")
    except OSError:
        return 0, ""
    return int(done), note
