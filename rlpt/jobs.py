"""From a manifest to jobs: what has to run, what each needs, and what they share."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rlpt.errors import UsageError
from rlpt.manifest import Experiment, Manifest
from rlpt.runs import RunFolder
from rlpt.settings import Settings

Stage = Literal["generate", "pretrain", "train"]
STAGES: tuple[Stage, ...] = ("generate", "pretrain", "train")

# Raised whenever the same settings no longer give the same numbers.
_RESULTS_VERSION = 1


@dataclass(frozen=True)
class Selection:
    """Which runs of a manifest are meant; an empty field means all."""

    environments: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()

    def check(self, manifest: Manifest) -> None:
        """Raises UsageError if something is selected that the manifest does not have."""
        known: tuple[tuple[str, tuple[Any, ...], tuple[Any, ...]], ...] = (
            ("--env", self.environments, manifest.environments),
            ("--condition", self.conditions, tuple(experiment.name for experiment in manifest.experiments)),
            ("--seed", self.seeds, manifest.seeds),
        )
        for option, wanted, present in known:
            for value in wanted:
                if value not in present:
                    raise UsageError(
                        f"{manifest.path}: {option} {value} is not in it; there are: {', '.join(map(str, present))}"
                    )

    def has(self, environment: str, condition: str, seed: int) -> bool:
        """Says whether a run is selected."""
        return (
            (not self.environments or environment in self.environments)
            and (not self.conditions or condition in self.conditions)
            and (not self.seeds or seed in self.seeds)
        )


@dataclass(frozen=True)
class Job:
    """One folder's worth of work.

    Two jobs with the same settings, inputs included, are the same job, whatever manifest or condition asks for them.
    """

    stage: Stage
    slug: str
    environment: str
    settings: Settings = field(repr=False)
    decides: dict[str, Any] = field(repr=False)
    "Every setting that can change the result: what the identity is made of."
    inputs: tuple["Job", ...] = ()
    seed: int = 0

    @property
    def id(self) -> str:
        """A readable name and a short hash of all that can change the result."""
        text = json.dumps(self.identity(), sort_keys=True)
        return f"{self.slug}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def identity(self) -> dict[str, Any]:
        """Returns what is hashed, and written beside the result as settings.yaml."""
        return {
            "stage": self.stage,
            "environment_name": self.environment,
            "seed": self.seed,
            "results_version": _RESULTS_VERSION,
            "inputs": [job.id for job in self.inputs],
            **self.decides,
        }

    def folder(self, runs: Path) -> RunFolder:
        """Returns where the job writes."""
        return RunFolder(runs, self.stage, self.id)


@dataclass(frozen=True)
class Curve:
    """One training run's place in a figure."""

    environment: str
    condition: str
    label: str
    seed: int
    job: Job


def curves(manifest: Manifest, selection: Selection | None = None) -> list[Curve]:
    """Returns every training run of a manifest, environments first, then conditions, then seeds."""
    selection = selection or Selection()
    selection.check(manifest)
    return [
        Curve(
            environment,
            experiment.name,
            experiment.condition.label,
            seed,
            _train_job(environment, experiment, seed),
        )
        for environment in manifest.environments
        for experiment in manifest.experiments
        for seed in manifest.seeds
        if selection.has(environment, experiment.name, seed)
    ]


def plan(manifest: Manifest, selection: Selection | None = None) -> list[Job]:
    """Returns every job once, inputs before what needs them: all generate jobs, then pretrain, then train."""
    found = {job.id: job for curve in curves(manifest, selection) for job in _with_inputs(curve.job)}
    return sorted(found.values(), key=lambda job: STAGES.index(job.stage))


def _with_inputs(job: Job) -> Iterator[Job]:
    for needed in job.inputs:
        yield from _with_inputs(needed)
    yield job


def _train_job(environment: str, experiment: Experiment, seed: int) -> Job:
    settings, condition = experiment.settings, experiment.condition
    inputs: tuple[Job, ...] = ()
    origin = "scratch"
    if condition.pretrain == "ik":
        source = condition.pretrain_environment or environment
        inputs = (_pretrain_job(source, settings),)
        origin = inputs[0].slug
    slug = f"{environment}-from-{origin}-s{seed}"
    decides = _sections(settings, ("environment", "encoder", "agent", "train"))
    return Job("train", slug, environment, settings, decides, inputs, seed)


def _pretrain_job(environment: str, settings: Settings) -> Job:
    generate = settings.generate
    data = Job(
        "generate",
        f"{environment}-t{generate.transitions}",
        environment,
        settings,
        _sections(settings, ("environment", "generate")),
        seed=generate.seed,
    )
    decides = _sections(settings, ("encoder", "ik"))
    return Job("pretrain", f"ik-{data.slug}", environment, settings, decides, (data,), settings.ik.seed)


def _sections(settings: Settings, names: Iterable[str]) -> dict[str, Any]:
    return settings.model_dump(mode="json", include=set(names))
