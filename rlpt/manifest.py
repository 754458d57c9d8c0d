"""Manifests: TOML files that read like the paper, turned into validated settings.

A value comes from the paper's defaults (rlpt/settings.py), overridden by the manifest's tables, then by the profile (a
scale, such as "lite"), then by the condition's own tables, then by what the manifest says of itself under this profile
(`[profiles.lite]`), and last by `--set key=value`. In each of these two, what is said of one condition goes before what
is said of all.
"""

import re
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, Strict, model_validator

from rlpt.data.clips import Clip, find_clip
from rlpt.data.splits import held_out
from rlpt.documents import Layer, Table, parse_override, read_toml, validated
from rlpt.envs.tasks import split_name
from rlpt.errors import UsageError
from rlpt.profiles import (
    Layers,
    find_profiles,
    overruled,
    read_profile,
    require_profile,
    require_tables,
    tables_under_profiles,
)
from rlpt.settings import NAME, Method, Positive, Section, Settings
from rlpt.slurm.settings import SlurmSettings

Name = Annotated[str, Field(pattern=NAME)]


class _SettingsTables(Section):
    """The tables of `Settings`, which are checked when all layers are merged."""

    environment: Table = {}
    encoder: Table = {}
    generate: Table = {}
    ik: Table = {}
    imagenet: Table = {}
    agent: Table = {}
    train: Table = {}
    compute: Table = {}


class Condition(_SettingsTables):
    """`[conditions.NAME]`: one curve of a figure."""

    label: Annotated[str, Field(min_length=1)]
    pretrain: Literal["none", Method] = "none"
    pretrain_environment: str | None = None
    "Where the pretraining data comes from; left out: the environment that is trained on."
    pretrain_steps: Positive | None = None
    "T for this condition; left out: generate.transitions."

    @property
    def learns_from_transitions(self) -> bool:
        """Whether pretraining costs steps of an environment."""
        return self.pretrain == "ik"

    @model_validator(mode="after")
    def _pretraining_is_consistent(self) -> Self:
        if not self.learns_from_transitions and (self.pretrain_environment or self.pretrain_steps):
            raise ValueError('pretrain_environment and pretrain_steps need pretrain = "ik"')
        return self


class PlotSettings(Section):
    """`[plot]`: how the figure is drawn; changes no run."""

    smoothing: Positive = 15
    "Length of the moving average over training episodes."


class _Document(_SettingsTables):
    """The top level of a manifest, profile already merged in."""

    title: Annotated[str, Field(min_length=1)]
    environments: Annotated[tuple[str, ...], Strict(False), Field(min_length=1)]
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], Strict(False), Field(min_length=1)]
    conditions: Annotated[dict[Name, Condition], Field(min_length=1)]
    videos: Annotated[tuple[int | str, ...], Strict(False)] = ()
    """Distracting backgrounds, each a further repetition of every run: numbers of the published clips (0, 1, 99), or
    paths of video files, relative to the manifest."""
    profile: Name = "paper"
    budget: Positive | None = None
    "N, the agent steps that pretraining data and reinforcement learning share; left out: train.steps is for RL alone."
    plot: PlotSettings = PlotSettings()
    slurm: SlurmSettings = SlurmSettings()

    @model_validator(mode="after")
    def _nothing_is_repeated(self) -> Self:
        labels = [condition.label for condition in self.conditions.values()]
        for key, values in (("environments", self.environments), ("seeds", self.seeds), ("videos", self.videos)):
            if len(set(values)) < len(values):
                raise ValueError(f"{key} = {list(values)} names one twice")
        if len(set(labels)) < len(labels):
            raise ValueError(f"conditions share a label, and would be one curve: {labels}")
        return self


@dataclass(frozen=True)
class ResolvedCondition:
    """A condition with its settings, as all layers together decide them."""

    name: str
    condition: Condition
    settings: Settings


@dataclass(frozen=True)
class Manifest:
    """A validated manifest under one profile."""

    path: Path
    profile: str
    profile_path: Path | None
    "Its file; the paper's may be missing, since it changes nothing."
    source: bytes
    "The manifest's file, as it was read."
    profile_source: bytes | None
    overrides: tuple[str, ...]
    "What `--set` said."
    overruled: tuple[str, ...]
    'What its own tables say and the profile overrules, such as "agent.hidden = 64 yields to lite\'s 256".'
    title: str
    environments: tuple[str, ...]
    seeds: tuple[int, ...]
    videos: tuple[Clip | None, ...]
    "Backgrounds of every run; (None,) where there is no distraction."
    conditions: tuple[ResolvedCondition, ...]
    plot: PlotSettings
    slurm: SlurmSettings

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    def describe(self) -> dict[str, Any]:
        """Returns where a run's settings come from, for its record."""
        return {
            "file": self.path.name,
            "sha256": sha256(self.source).hexdigest(),
            "profile": self.profile,
            **({} if self.profile_source is None else _profile_text(self.profile_source)),
            "set": list(self.overrides),
            "text": self.source.decode(),
        }


def _profile_text(source: bytes) -> dict[str, str]:
    return {"profile_sha256": sha256(source).hexdigest(), "profile_text": source.decode()}


def load_manifest(path: Path, profile: str | None = None, overrides: tuple[str, ...] = ()) -> Manifest:
    """Reads and validates the manifest at `path`.

    Args:
        path: the TOML file.
        profile: a file of `profiles/` beside the manifest, in the folder above, or of the project, by name; None: the
            one that the manifest names, or "paper".
        overrides: `key=value` pairs, such as "train.steps=500"; values are TOML, or else plain strings.

    Raises:
        UsageError: one line that names file, key, what was given and what is accepted.
    """
    table = read_toml(path)
    profile = str(table.get("profile", "paper") if profile is None else profile)
    if not re.fullmatch(NAME, profile):
        raise UsageError(f"--profile {profile!r}: expected the name of a file of profiles/, such as lite")
    profiles = find_profiles(path)
    under = tables_under_profiles(path, table.pop("profiles", {}), profiles)
    require_profile(profile, profiles, str(path))
    profile_path = profiles.get(profile)
    layers = Layers(
        Layer(str(path), table),
        read_profile(profile_path),
        Layer(f"{path}: profiles.{profile}", under.get(profile, {})),
        tuple(Layer("--set", parse_override(text)) for text in overrides),
    )
    require_tables(layers)
    if any("profile" in layer.table for layer in layers.overrides):
        raise UsageError("--set profile: say --profile NAME instead")
    document = validated(_Document, layers.all())
    for environment in document.environments:
        _check_environment(path, "environments", environment)
    if document.budget:
        _check_steps_are_the_budgets(path, layers, document)
    return Manifest(
        path=path,
        profile=profile,
        profile_path=profile_path,
        source=path.read_bytes(),
        profile_source=profile_path.read_bytes() if profile_path else None,
        overrides=overrides,
        overruled=tuple(overruled(layers)),
        title=document.title,
        environments=document.environments,
        seeds=document.seeds,
        videos=_find_clips(path, document.videos) or (None,),
        conditions=tuple(_resolved(path, name, layers, document) for name in document.conditions),
        plot=document.plot,
        slurm=document.slurm,
    )


def _check_steps_are_the_budgets(path: Path, layers: Layers, document: _Document) -> None:
    """A profile may set steps for all manifests; who speaks of this one alone has to decide."""
    told = [layers.manifest, layers.under_profile, *layers.overrides]
    conditions = [(f"{path}: conditions.{name}", each.train) for name, each in document.conditions.items()]
    for place, train in [*((layer.origin, layer.table.get("train", {})) for layer in told), *conditions]:
        if "steps" in train:
            raise UsageError(f"{place}: train.steps: a budget is shared, and decides the steps: set budget alone")


def _resolved(path: Path, name: str, layers: Layers, document: _Document) -> ResolvedCondition:
    condition, ordered = document.conditions[name], layers.of_condition(name)
    if document.budget:
        ordered.append(Layer(f"{path}: budget", {"train": {"steps": document.budget}}))
    settings = validated(Settings, [layer.only(Settings.model_fields) for layer in ordered])
    if condition.pretrain_steps and settings.ik.transitions is None:
        if layers.is_overridden("generate", "transitions"):
            raise UsageError(
                f"--set generate.transitions: conditions.{name} of {path} has pretrain_steps, which decides T: "
                f"--set conditions.{name}.pretrain_steps=... instead"
            )
        for layer in ordered:
            given = layer.table.get("generate", {}).get("transitions")
            if given and layer.origin.endswith(f": conditions.{name}"):
                raise UsageError(
                    f"{layer.origin}: generate.transitions = {given}: pretrain_steps = {condition.pretrain_steps} "
                    "decides T: set that alone"
                )
    return _with_pretraining(path, name, condition, settings, document.budget)


def _with_pretraining(
    path: Path, name: str, condition: Condition, settings: Settings, budget: int | None
) -> ResolvedCondition:
    """Applies what a condition says about its pretraining: T, and the steps that are left of a budget."""
    place = f"conditions.{name}"
    if condition.pretrain_environment:
        _check_environment(path, f"{place}.pretrain_environment", condition.pretrain_environment)
    transitions = settings.generate.transitions
    if condition.pretrain_steps and settings.ik.transitions is None:
        transitions = condition.pretrain_steps
    if condition.pretrain == "imagenet":
        _check_stacks(f"{path}: {place}", settings)
    if condition.learns_from_transitions:
        _check_transitions(f"{path}: {place}", settings, settings.ik.transitions or transitions)
    train = settings.train
    if budget is not None:
        if condition.pretrain_steps and settings.ik.transitions not in (None, condition.pretrain_steps):
            raise UsageError(
                f"{path}: {place}: ik.transitions = {settings.ik.transitions} is not pretrain_steps = "
                f"{condition.pretrain_steps}, which the budget is charged: set pretrain_steps alone"
            )
        spent = (condition.pretrain_steps or transitions) if condition.learns_from_transitions else 0
        if spent + train.random_steps >= budget:
            raise UsageError(
                f"{path}: {place}: T = {spent} pretraining steps leave nothing to train on of budget = {budget} "
                f"(train.random_steps = {train.random_steps}): lower pretrain_steps or raise the budget"
            )
        train = train.model_copy(update={"steps": budget - spent})
    generate = settings.generate.model_copy(update={"transitions": transitions})
    return ResolvedCondition(name, condition, settings.model_copy(update={"generate": generate, "train": train}))


def _check_transitions(place: str, settings: Settings, learned_from: int) -> None:
    """Raises UsageError if episodes are no whole agent steps, or too few transitions are learned from."""
    reset_every, action_repeat = settings.generate.reset_every, settings.environment.action_repeat
    if reset_every % action_repeat:
        raise UsageError(
            f"{place}: generate.reset_every = {reset_every} is not a multiple of environment.action_repeat = "
            f"{action_repeat}: choose a multiple"
        )
    if len(held_out(learned_from, settings.ik.test_fraction)[0]) < 2:
        raise UsageError(
            f"{place}: of T = {learned_from} transitions, ik.test_fraction = {settings.ik.test_fraction} "
            "leaves fewer than 2 to learn from: raise T"
        )


def _check_stacks(place: str, settings: Settings) -> None:
    """Raises UsageError if ImageNet's images do not fill stacks."""
    filters, batch_size = settings.encoder.filters, settings.imagenet.batch_size
    stack = settings.environment.frame_stack
    if filters % stack:
        raise UsageError(
            f"{place}: encoder.filters = {filters} cannot be shared out among the environment.frame_stack = {stack} "
            "images of a stack: choose a multiple"
        )
    if batch_size % stack or batch_size < 2 * stack:
        raise UsageError(
            f"{place}: imagenet.batch_size = {batch_size} is not two or more whole stacks of environment.frame_stack = "
            f"{stack} images: choose a multiple"
        )


def _find_clips(path: Path, videos: tuple[int | str, ...]) -> tuple[Clip, ...]:
    try:
        clips = tuple(find_clip(video, path.parent) for video in videos)
    except UsageError as error:
        raise UsageError(f"{path}: videos: {error}") from None
    for name, count in Counter(clip.name for clip in clips).items():
        if count > 1:
            raise UsageError(f"{path}: videos: {name!r} names {count} clips, and so their runs: rename the files")
    return clips


def _check_environment(path: Path, key: str, name: str) -> None:
    try:
        split_name(name)
    except UsageError as error:
        raise UsageError(f"{path}: {key}: {error}") from None
