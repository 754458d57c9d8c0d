"""Finished runs as plain records, whoever made them: what statistics, claims and reports are computed from."""

import json
import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from rlpt.checkout import ROOT
from rlpt.data.splits import LEARNED_R2, held_out
from rlpt.manifest import Manifest, load_manifest
from rlpt.pipeline.jobs import Curve, Job, curves
from rlpt.results.run_files import EPISODES_FILE, SUMMARY_FILE, read_returns
from rlpt.runs.checksums import read_provenance, verified
from rlpt.stats import area_under_curve, early_score, final_score

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Encoder:
    """An inverse-kinematics encoder and how well it predicts the actions of held-out transitions."""

    environment: str
    transitions: int
    "T, in agent steps."
    video: str
    epochs: int
    test_mse: float
    floor: float
    "Mean squared error of a prediction that has learned nothing."
    held_out: int | None = None
    "Transitions that it was tested on; None: not known."

    @property
    def test_r2(self) -> float:
        """Share of the floor that is explained."""
        return 1 - self.test_mse / self.floor

    @property
    def learned(self) -> bool:
        """Whether it has learned anything."""
        return self.test_r2 > LEARNED_R2


@dataclass(frozen=True)
class Classifier:
    """An ImageNet classifier, the other kind of pretraining."""

    manifest: str
    condition: str
    seed: int
    top1: float
    "Share of validation images whose class comes first."
    chance: float


@dataclass(frozen=True)
class Run:
    """One finished training run."""

    figure: int
    "Of the paper; 0: none, as for a copy of its manifest with other settings."
    manifest: str
    "Name of the manifest that asked for it; empty for the authors' runs."
    environment: str
    condition: str
    label: str
    pretrained: bool
    seed: int
    video: str
    "Distracting background; empty: none."
    steps: int
    shared_steps: int
    "Those of the shortest run that its experiment has on this task, or will have: AUC and early score end there."
    scores: dict[str, float]
    "Metric (final, auc, early) → this run's number."
    curve: pd.DataFrame = field(repr=False)
    "Columns step, return, smoothed; a row an episode, of the authors' runs every tenth."
    encoder: Encoder | None
    hours: float
    "Of computing, in sessions that were not killed."
    steps_per_second: float
    "NaN: not known, as when a session was killed."
    job: Job | None = field(default=None, repr=False)
    path: Path | None = None
    "The run folder."
    record: dict[str, Any] | None = field(default=None, repr=False)
    "What made it (`read_provenance`); None: not known."

    @property
    def experiment(self) -> str:
        """What a table calls the figure or manifest that the run belongs to."""
        return f"Figure {self.figure}" if not self.manifest else self.manifest

    def steps_of(self, metric: str) -> int:
        """Returns the agent steps that a metric is over."""
        return self.steps if metric == "final" else self.shared_steps

    @property
    def identity(self) -> Hashable:
        """The same for two experiments that share the run."""
        return self.job.id if self.job else (self.environment, self.repetition, self.steps, self.hours)

    @property
    def repetition(self) -> Hashable:
        """What runs of two conditions are paired by."""
        return self.seed, self.video


@dataclass(frozen=True)
class DataSet:
    """Runs that belong together: the authors', or ours under one profile."""

    name: str
    profile: str
    "Empty: the authors'."
    runs: tuple[Run, ...]
    encoders: tuple[Encoder, ...]
    classifiers: tuple[Classifier, ...]
    planned: int
    "Distinct training runs that there would be if all were finished."

    @property
    def distinct(self) -> int:
        """Finished training runs, those that several experiments share counted once."""
        return len({run.identity for run in self.runs})

    @property
    def comparable(self) -> bool:
        """Whether its numbers may be held against the paper's: those of a scaled-down profile may not."""
        return self.profile in ("", "paper")

    def scores(
        self, metric: str, figure: int, manifest: str, environment: str, conditions: Iterable[str]
    ) -> dict[Hashable, float]:
        """Returns a metric by repetition; top1 is the classifiers', by the seed that they were trained with."""
        if metric == "top1":
            wanted = set(conditions)
            own = [each for each in self.classifiers if each.manifest == manifest]
            return {each.seed: each.top1 for each in own if each.condition in wanted}
        return scores_of(self.select(figure, manifest, environment, conditions), metric)

    def select(self, figure: int, manifest: str, environment: str, conditions: Iterable[str]) -> list[Run]:
        """Returns the runs of conditions on one environment; the authors' are found by figure, ours by manifest."""
        wanted = set(conditions)
        return [
            run
            for run in self.runs
            if (
                run.manifest == manifest and run.figure == figure_number(manifest)
                if self.profile
                else run.figure == figure
            )
            and run.environment == environment
            and run.condition in wanted
        ]


def scores_of(runs: Iterable[Run], metric: str) -> dict[Hashable, float]:
    """Returns a metric by repetition."""
    return {run.repetition: run.scores[metric] for run in runs}


def baseline_of(runs: Iterable[Run]) -> list[Run]:
    """Returns the runs of the first condition that starts from scratch."""
    scratch = [run for run in runs if not run.pretrained]
    return [run for run in scratch if run.condition == scratch[0].condition]


def figure_number(manifest: str) -> int:
    """Returns the paper's figure that a manifest's name begins with ("fig08_ik" → 8), or 0."""
    found = re.match(r"fig(\d\d)_", manifest)
    return int(found[1]) if found else 0


def load_runs(manifests: Sequence[Manifest], folders: Sequence[Path], name: str) -> DataSet:
    """Reads everything finished that manifests under one profile ask for.

    Args:
        manifests: at least one.
        folders: run folders are looked for in each, in this order.
        name: what to call the data set.

    Raises:
        UsageError: if a file of a finished run cannot be read.
    """
    planned = [(manifest, curve) for manifest in manifests for curve in curves(manifest)]
    shared = {manifest.name: _shared_steps(manifest) for manifest in manifests}
    in_paper = {manifest.name: _jobs_of_the_paper(manifest) for manifest in manifests}
    summaries = _read_summaries({job.id: job for _, curve in planned for job in curve.job.inputs}.values(), folders)
    encoders, classifiers, found = {}, {}, []
    for manifest, curve in planned:
        for job in curve.job.inputs:
            summary = summaries.get(job.id)
            if summary and job.method == "ik":
                encoders[job.id] = _encoder(job, summary)
            if summary and job.method == "imagenet":
                classifiers[manifest.name, curve.condition, job.seed] = _classifier(manifest, curve, summary)
        runs = _folder_of(curve.job, folders)
        if runs is not None:
            encoder = encoders.get(curve.job.inputs[0].id) if curve.job.inputs else None
            figure = figure_number(manifest.name) if curve.job.id in in_paper[manifest.name] else 0
            run = _load_run(manifest, figure, curve, runs, encoder, shared[manifest.name])
            found += [run] if run else []
    count = len({curve.job.id for _, curve in planned})
    own = tuple(_without_borrowed(found, planned))
    return DataSet(name, manifests[0].profile, own, tuple(encoders.values()), tuple(classifiers.values()), count)


def _without_borrowed(runs: list[Run], planned: list[tuple[Manifest, Curve]]) -> list[Run]:
    """Leaves out unfinished experiments that have nothing but runs that another has too, such as a baseline."""
    held = {name: {run.identity for run in own} for name, own in grouped(runs, lambda run: run.manifest).items()}
    wanted = {name: {curve.job.id for _, curve in own} for name, own in grouped(planned, lambda p: p[0].name).items()}
    borrowed = {
        name for name, own in held.items() if own != wanted[name] and any(own < other for other in held.values())
    }
    return [run for run in runs if run.manifest not in borrowed]


def _folder_of(job: Job, folders: Sequence[Path]) -> Path | None:
    return next((folder for folder in folders if job.folder(folder).is_done()), None)


def _shared_steps(manifest: Manifest) -> int:
    """Returns the agent steps that all conditions train for: a budget leaves them different lengths."""
    return min(resolved.settings.train.steps for resolved in manifest.conditions)


def _jobs_of_the_paper(manifest: Manifest) -> set[str]:
    """Returns the ids of a manifest's training runs that are also those of the project's manifests of its figure.

    At the paper's size, what has other settings is not the paper's; more seeds are. Smaller profiles are no one's but
    ours.
    """
    ids = {curve.job.id for curve in curves(manifest)}
    originals = list((ROOT / "experiments").rglob(f"fig{figure_number(manifest.name):02}_*.toml"))
    if manifest.profile != "paper" or not originals:
        return ids
    same_seeds = (replace(load_manifest(original, "paper"), seeds=manifest.seeds) for original in originals)
    return ids & {curve.job.id for original in same_seeds for curve in curves(original)}


def _load_run(
    manifest: Manifest, figure: int, curve: Curve, runs: Path, encoder: Encoder | None, shared: int
) -> Run | None:
    """Reads one run folder; None if not one episode ended in it, within the steps that all conditions train for."""
    path = curve.job.folder(runs).path
    verified(path, EPISODES_FILE)
    table = read_returns(curve, path, manifest.plot.smoothing)
    returns, common = table["return"].to_numpy(), table.loc[table["step"] <= shared, "return"].to_numpy()
    if not len(common):
        return None
    record, steps = read_provenance(path), curve.job.settings.train.steps
    seconds = np.array([session["seconds"] for session in record["sessions"]], np.float64)  # NaN: killed
    return Run(
        figure=figure,
        manifest=manifest.name,
        environment=curve.environment,
        condition=curve.condition,
        label=curve.label,
        pretrained=bool(curve.job.inputs),
        seed=curve.seed,
        video=curve.clip.name if curve.clip else "",
        steps=steps,
        shared_steps=shared,
        scores={"final": final_score(returns), "auc": area_under_curve(common), "early": early_score(common)},
        curve=table[["step", "return", "smoothed"]],
        encoder=encoder,
        hours=float(np.nansum(seconds)) / 3600,
        steps_per_second=steps / seconds.sum() if seconds.any() else np.nan,
        job=curve.job,
        path=path,
        record=record,
    )


def _read_summaries(jobs: Iterable[Job], folders: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Returns summary.json of every finished pretraining job, by id."""
    found = {}
    for job in jobs:
        folder = _folder_of(job, folders)
        if folder is not None:
            path, _ = verified(job.folder(folder).path, SUMMARY_FILE)
            found[job.id] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _encoder(job: Job, summary: dict[str, Any]) -> Encoder:
    data, ik = job.inputs[0], job.settings.ik
    transitions = ik.transitions or data.settings.generate.transitions
    return Encoder(
        environment=data.environment,
        transitions=transitions,
        video=data.clip.name if data.clip else "",
        epochs=ik.epochs,
        test_mse=summary["test_mse"],
        floor=summary["test_mse_of_mean_action"],
        held_out=len(held_out(transitions, ik.test_fraction)[1]),
    )


def _classifier(manifest: Manifest, curve: Curve, summary: dict[str, Any]) -> Classifier:
    seed = curve.job.inputs[0].seed
    return Classifier(manifest.name, curve.condition, seed, summary["val_top1"], summary["chance_top1"])


def grouped(items: Iterable[_Item], by: Callable[[_Item], Any]) -> dict[Any, list[_Item]]:
    """Returns items, such as runs, by what `by` says of each, in the order of their first appearance."""
    found: dict[Any, list[_Item]] = {}
    for item in items:
        found.setdefault(by(item), []).append(item)
    return found
