"""From a manifest to jobs: what has to run, what each needs, and what they share."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rlpt.data.clips import Clip
from rlpt.errors import UsageError
from rlpt.manifest import Manifest, ResolvedCondition
from rlpt.runs.folder import RunFolder
from rlpt.settings import Method, Settings

Stage = Literal["generate", "pretrain", "train"]
STAGES: tuple[Stage, ...] = ("generate", "pretrain", "train")

# Raised whenever the same settings no longer give the same numbers, but for rounding: that depends on the machine too,
# and every record names its commit.
_RESULTS_VERSION = 1
# Settings that there were not when jobs got their ids: part of them only where they are not the default, so that
# existing runs keep their names.
_LATER = {"compute": ("precision",)}
# Of the command line, in the order of Selection's fields.
_OPTIONS = ("--env", "--condition", "--seed", "--video")


@dataclass(frozen=True)
class Selection:
    """Which runs of a manifest are meant; an empty field means all."""

    environments: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    videos: tuple[str, ...] = ()

    def check(self, manifest: Manifest) -> None:
        """Raises UsageError if something is selected that the manifest does not have."""
        known: tuple[tuple[Any, ...], ...] = (
            manifest.environments,
            tuple(resolved.name for resolved in manifest.conditions),
            manifest.seeds,
            tuple(clip.name for clip in manifest.videos if clip),
        )
        for option, wanted, present in zip(_OPTIONS, astuple(self), known, strict=True):
            for value in wanted:
                if value not in present:
                    remedy = "; others: --set 'seeds=[...]'" if option == "--seed" else ""
                    raise UsageError(
                        f"{manifest.path}: {option} {value} is not in it under profile {manifest.profile}; there are: "
                        f"{', '.join(map(str, present)) or 'none'}{remedy}"
                    )

    def options(self) -> list[str]:
        """Returns what selects the same on the command line, such as "--env walker-walk"."""
        return [f"{option} {value}" for option, values in zip(_OPTIONS, astuple(self), strict=True) for value in values]

    def has(self, environment: str, condition: str, seed: int, clip: Clip | None) -> bool:
        """Says whether a run is selected."""
        run = (environment, condition, seed, clip.name if clip else None)
        return all(not wanted or value in wanted for wanted, value in zip(astuple(self), run, strict=True))


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
    clip: Clip | None = None
    "Distracting background."
    method: Method | None = None
    "How an encoder is pretrained."

    @property
    def id(self) -> str:
        """A readable name and a short hash of all that can change the result."""
        return f"{self.slug}-{self.digest[:8]}"

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of all that can change the result."""
        # Names in the slugs of inputs, such as a clip's, change nothing.
        content = self.identity() | {"inputs": [job.digest for job in self.inputs]}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def identity(self) -> dict[str, Any]:
        """Returns what the hash is made of, as it is written beside the result (settings.yaml)."""
        return {
            "stage": self.stage,
            "environment_name": self.environment,
            "seed": self.seed,
            "results_version": _RESULTS_VERSION,
            **({"video": self.clip.sha256} if self.clip else {}),
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
    clip: Clip | None
    job: Job


def curves(manifest: Manifest, selection: Selection | None = None) -> list[Curve]:
    """Returns every training run of a manifest: environments first, then conditions, then seeds and videos."""
    selection = selection or Selection()
    selection.check(manifest)
    return [
        _curve(environment, resolved, seed, clip)
        for environment in manifest.environments
        for resolved in manifest.conditions
        for seed in manifest.seeds
        for clip in manifest.videos
        if selection.has(environment, resolved.name, seed, clip)
    ]


def plan(manifest: Manifest, selection: Selection | None = None) -> list[Job]:
    """Returns every job once, inputs before what needs them: all generate jobs, then pretrain, then train."""
    found = {job.id: job for curve in curves(manifest, selection) for job in with_inputs(curve.job)}
    return sorted(found.values(), key=lambda job: STAGES.index(job.stage))


def conditions_by_job(manifest: Manifest, selection: Selection | None = None) -> dict[str, list[str]]:
    """Returns the names of the conditions that need each job, by its id."""
    found: dict[str, list[str]] = {}
    for curve in curves(manifest, selection):
        for job in with_inputs(curve.job):
            names = found.setdefault(job.id, [])
            names += [curve.condition] if curve.condition not in names else []
    return found


def deciding_settings(job: Job) -> set[str]:
    """Names the settings that decide a job or anything that it starts from, such as "train.steps"."""
    return {f"{section}.{key}" for each in with_inputs(job) for section, own in each.decides.items() for key in own}


def with_inputs(job: Job) -> Iterator[Job]:
    """Yields a job after all that it starts from, directly or not."""
    for needed in job.inputs:
        yield from with_inputs(needed)
    yield job


def _curve(environment: str, resolved: ResolvedCondition, seed: int, clip: Clip | None) -> Curve:
    job = _train_job(environment, resolved, seed, clip)
    return Curve(environment, resolved.name, resolved.condition.label, seed, clip, job)


def _train_job(environment: str, resolved: ResolvedCondition, seed: int, clip: Clip | None) -> Job:
    settings, condition = resolved.settings, resolved.condition
    inputs: tuple[Job, ...] = ()
    if condition.pretrain != "none":
        inputs = (_ENCODER_JOBS[condition.pretrain](condition.pretrain_environment or environment, settings, clip),)
    origin = inputs[0].slug if inputs else "scratch"
    slug = f"{_with_video(environment, clip)}-from-{origin}-s{seed}"
    decides = _sections(settings, ("environment", "encoder", "agent", "train", "compute"))
    if settings.agent.head_init == ("default" if inputs else "orthogonal"):
        decides["agent"]["head_init"] = "published"  # which is just that: one run, not two
    return Job("train", slug, environment, settings, decides, inputs, seed, clip)


def _ik_job(environment: str, settings: Settings, clip: Clip | None) -> Job:
    generate, ik = settings.generate, settings.ik
    place = _with_video(environment, clip)
    decides = _sections(settings, ("environment", "generate"))
    data = Job("generate", f"{place}-t{generate.transitions}", environment, settings, decides, (), generate.seed, clip)
    slug = f"ik-{place}-t{ik.transitions or generate.transitions}"
    learns = _sections(settings, ("encoder", "ik", "compute"))
    return Job("pretrain", slug, environment, settings, learns, (data,), ik.seed, method="ik")


def _imagenet_job(_: str, settings: Settings, __: Clip | None) -> Job:
    environment = {"size": settings.environment.size, "frame_stack": settings.environment.frame_stack}
    decides = {"environment": environment, **_sections(settings, ("encoder", "imagenet", "compute"))}
    slug = f"{settings.imagenet.dataset}-g{settings.encoder.groups}"
    return Job("pretrain", slug, "", settings, decides, (), settings.imagenet.seed, method="imagenet")


_ENCODER_JOBS: dict[Method, Callable[[str, Settings, Clip | None], Job]] = {"ik": _ik_job, "imagenet": _imagenet_job}


def _with_video(environment: str, clip: Clip | None) -> str:
    return f"{environment}-v{clip.name}" if clip else environment


def _sections(settings: Settings, names: Iterable[str]) -> dict[str, Any]:
    found = {}
    for name in names:
        values, usual = (each.model_dump(mode="json") for each in (getattr(settings, name), getattr(Settings(), name)))
        later = _LATER.get(name, ())
        own = {key: value for key, value in values.items() if key not in later or value != usual[key]}
        if own:
            found[name] = own
    return found
