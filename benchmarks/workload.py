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
    "Of the update and of the training loop."
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
    ik = load_manifest(experiments / "fig08_ik.toml").experiments[0].settings
    imagenet = load_manifest(experiments / "fig07_imagenet.toml").experiments[0].settings
    if device.type == "cpu":
        imagenet = changed(imagenet, "train", batch_size=_CPU_BATCH)
        imagenet = changed(imagenet, "imagenet", batch_size=_CPU_IMAGES)
    lite = load_manifest(experiments / "fig08_ik.toml", "lite").experiments[0].settings
    # 60 steps with an update each are measured, after 100 without and 60 that warm up; evaluations lie outside.
    loop = {"steps": 220, "random_steps": 100, "initial_updates": 1, "evaluate_every": 1000, "evaluation_episodes": 1}
    lite = changed(lite, "train", **loop)
    ik, imagenet, lite = (changed(settings, "compute", precision=precision) for settings in (ik, imagenet, lite))
    return Workload(ik, imagenet, lite)


def changed(settings: Settings, section: str, **values: Any) -> Settings:
    """Returns `settings` with other values in one section."""
    return settings.model_copy(update={section: getattr(settings, section).model_copy(update=values)})


def unit(name: str, settings: Settings) -> str:
    """Returns a row's unit, with the precision of rlpt's networks if it is not float32."""
    precision = settings.compute.precision
    return name if precision == "float32" else f"{name}, {precision}"
