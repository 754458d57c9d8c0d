"""How large the measured pairs are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rlpt.manifest import load_manifest
from rlpt.settings import Precision, Settings

# A plain update with 288 filters takes minutes on a CPU at the paper's batch sizes.
_CPU_BATCH = 32
_CPU_IMAGES = 60


@dataclass(frozen=True)
class Workload:
    """Settings and sizes of all pairs."""

    ik: Settings
    "Of the paper's inverse-kinematics experiments; also for environment, replay and data."
    imagenet: Settings
    lite: Settings
    loop: Settings
    "Of the whole training loop: lite's on a CPU, the paper's with inverse kinematics on a GPU."
    environment: str = "walker-walk"
    steps: int = 100
    "Frames rendered, and steps taken, in one measurement."
    replay: int = 1000
    "Transitions in the replay buffers."
    dataset: int = 400
    "Transitions in the datasets whose size is measured."
    generated: int = 2000
    "Transitions that two workers share out."

    @property
    def precision(self) -> Precision:
        """Of all networks."""
        return self.ik.compute.precision


def paper_workload(experiments: Path, device: torch.device, precision: Precision = "float32") -> Workload:
    """Returns the paper's sizes, from the manifests in `experiments`, with rlpt's networks in `precision`."""
    ik = load_manifest(experiments / "fig08_ik.toml").conditions[0].settings
    imagenet = load_manifest(experiments / "fig07_imagenet.toml").conditions[0].settings
    if device.type == "cpu":
        imagenet = changed(imagenet, "train", batch_size=_CPU_BATCH)
        imagenet = changed(imagenet, "imagenet", batch_size=_CPU_IMAGES)
    lite = load_manifest(experiments / "fig08_ik.toml", "lite").conditions[0].settings
    # 60 steps with an update each are measured, after 200 without and 60 that warm up; evaluations lie outside.
    steps = {"steps": 320, "random_steps": 200, "initial_updates": 1, "evaluate_every": 1000, "evaluation_episodes": 1}
    loop = changed(lite if device.type == "cpu" else ik, "train", **steps)
    ik, imagenet, lite, loop = (changed(every, "compute", precision=precision) for every in (ik, imagenet, lite, loop))
    return Workload(ik, imagenet, lite, loop)


def changed(settings: Settings, section: str, **values: Any) -> Settings:
    """Returns `settings` with other values in one section."""
    return settings.model_copy(update={section: getattr(settings, section).model_copy(update=values)})


def unit(name: str, settings: Settings) -> str:
    """Returns a row's unit, with the precision of rlpt's networks if it is not float32."""
    precision = settings.compute.precision
    return name if precision == "float32" else f"{name}, {precision}"
