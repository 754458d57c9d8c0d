"""What each section of the report shows, computed from data sets; rlpt/report/templates/ lays it out."""

import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from rlpt.manifest import Manifest
from rlpt.number_text import counted, interval, span, task
from rlpt.pipeline.jobs import Job, deciding_settings
from rlpt.plots.line_styles import colour_number
from rlpt.plots.line_styles import slots as slots_of
from rlpt.report.agreement import Agreement, Direction, agreements, directions
from rlpt.report.charts import Bar, Chart, Line, bar, chart, curve_line, end_of, rounded_up, top_of
from rlpt.report.claims import Claim
from rlpt.report.summaries import (
    PROFILE_THRESHOLDS,
    AcrossTasks,
    ConditionSummary,
    across_tasks,
    condition_summaries,
    mean_score,
)
from rlpt.report.verdicts import BOUNDARIES, Judgement
from rlpt.results.published import FOLDER
from rlpt.results.records import DataSet, Run, figure_number, grouped
from rlpt.runs.provenance import version_text
from rlpt.settings import Settings

_HIGHEST_RETURN = 1_000.0


@dataclass(frozen=True)
class JudgedClaim:
    """A claim with what every data set says of it."""

    id: str
    claim: Claim
    judgements: list[Judgement]
    reach: float
    "Half the width of the axis that its intervals are drawn on."

    def bars(self, judgement: Judgement) -> list[Bar | None]:
        """Returns each comparison's place on that axis."""
        return [
            bar(gap.value, (gap.low, gap.high), gap.bootstrap, BOUNDARIES[found.expect], self.reach) if gap else None
            for found in judgement.findings
            for gap in [found.difference]
        ]


@dataclass(frozen=True)
class FigureRow:
    """A data set's panels of a figure, one a task."""

    data_set: DataSet
    panels: list[Chart]
    note: str


@dataclass(frozen=True)
class Figure:
    """A figure of the paper, or a manifest's own: the authors' panels and ours below each other."""

    anchor: str
    title: str
    rows: list[FigureRow]
    legend: list[tuple[int, str]]


@dataclass(frozen=True)
class Statistics:
    """An experiment's tables."""

    title: str
    conditions: list[ConditionSummary]
    across: list[AcrossTasks]
    profile: Chart | None


@dataclass(frozen=True)
class Overlay:
    """Our curve over theirs, one panel a task and condition."""

    title: str
    panels: list[Chart]


@dataclass(frozen=True)
class Held:
    """Our runs under one profile against the authors'."""

    data_set: DataSet
    agreements: list[Agreement]
    directions: list[Direction]
    overlays: list[Overlay]


@dataclass(frozen=True)
class Cost:
    """What an experiment's runs took; the middle and the extremes of the measured speeds."""

    title: str
    runs: int
    steps: int
    slowest: float
    middle: float
    fastest: float
    hours: float
    machines: str


@dataclass(frozen=True)
class RunRow:
    """One run with what made it."""

    run: Run
    settings: str
    provenance: str
    links: list[tuple[str, str]]
    "Name and relative address."


def judged_claim(name: str, claim: Claim, judgements: list[Judgement]) -> JudgedClaim:
    """Finds a common axis for all intervals of a claim; for returns it ends at ±1,000 at most."""
    known = [found.difference for each in judgements for found in each.findings if found.difference]
    widest = [abs(end) for each in known for end in ((each.low, each.high) if each.known else (each.value,))]
    reach = rounded_up(max([*widest, 0.05 if claim.metric == "top1" else 150.0]))
    return JudgedClaim(name, claim, judgements, min(reach, _HIGHEST_RETURN))


def figures(manifests: Sequence[Manifest], data_sets: Sequence[DataSet]) -> list[Figure]:
    """Returns every manifest's figure, with the authors' curves where the paper has it."""
    found: list[Figure] = []
    numbers: set[int] = set()
    for manifest in manifests:
        number = figure_number(manifest.name)
        own = [[run for run in data.runs if _shows(manifest, run, data)] for data in data_sets]
        slots = _slots(manifest)
        limits = _limits([runs for data, runs in zip(data_sets, own, strict=True) if data.comparable], slots)
        rows = []
        for data, runs in zip(data_sets, own, strict=True):
            if not runs and not (data.profile or number):
                continue
            shared = limits if data.comparable else _limits([runs], slots)
            panels = [
                _panel(data, environment, panel, slots, shared[environment])
                for environment, panel in grouped(runs, lambda run: run.environment).items()
            ]
            rows.append(FigureRow(data, panels, _repetitions(runs)))
        shown = [row for row in rows if row.panels]
        if any(row.data_set.profile for row in shown) or (shown and number not in numbers):
            numbers.add(number)  # the authors' curves alone need not be shown twice
            found.append(Figure(manifest.name, manifest.title, rows, [(slot, label) for label, slot in slots.items()]))
    return found


def _shows(manifest: Manifest, run: Run, data: DataSet) -> bool:
    """Whether a run belongs to the manifest's figure; the authors' do by its number."""
    return run.manifest == manifest.name if data.profile else run.figure == figure_number(manifest.name)


def _slots(manifest: Manifest) -> dict[str, int]:
    return {label: colour_number(slot) for label, slot in slots_of(manifest).items()}


def _lines(runs: Iterable[Run], slots: dict[str, int]) -> list[Line]:
    by_label = grouped(runs, lambda run: run.label)
    return [curve_line(by_label[label], slot) for label, slot in slots.items() if label in by_label]


def _limits(groups: Iterable[list[Run]], slots: dict[str, int]) -> dict[str, tuple[float, float]]:
    """Returns the ends of both axes for each task, the same for all data sets of which the numbers are comparable."""
    runs = [run for group in groups for run in group]
    limits = {}
    for environment, own in grouped(runs, lambda run: run.environment).items():
        sets = grouped(own, lambda run: run.manifest).values()
        lines = [line for each in sets for line in _lines(each, slots)]
        limits[environment] = (end_of(own), top_of(lines))
    return limits


def _panel(
    data: DataSet, environment: str, runs: list[Run], slots: dict[str, int], limits: tuple[float, float]
) -> Chart:
    by_label = grouped(runs, lambda run: run.label)
    ends = "; ".join(f"{label}: final score {interval(mean_score(own, 'final'))}" for label, own in by_label.items())
    description = f"Training return over agent steps on {task(environment)}, {data.name}. {ends}."
    return chart(task(environment), description, _lines(runs, slots), *limits, _axes(runs))


def _axes(runs: Iterable[Run]) -> tuple[str, str]:
    repeats = {(run.job.settings if run.job else Settings()).environment.action_repeat for run in runs}
    return f"agent steps (each {span(repeats)} control steps)", "training return"


def _repetitions(runs: list[Run]) -> str:
    """Returns "3 seeds", "1 seed, 3 videos", or that nothing is finished."""
    if not runs:
        return "no finished run"
    cells = grouped(runs, lambda run: (run.environment, run.condition)).values()
    parts = []
    for word, of in (("seed", lambda run: run.seed), ("video", lambda run: run.video)):
        counts = {len({of(run) for run in cell if word == "seed" or run.video}) for cell in cells} - {0}
        if counts:
            parts.append(counted(span(counts), word))
    return ", ".join(parts)


def statistics(data: DataSet, manifests: Sequence[Manifest]) -> list[Statistics]:
    """Returns the tables of every experiment that a data set has runs of; lines look as in its manifest's figure."""
    found = []
    for title, runs in grouped(data.runs, lambda run: run.experiment).items():
        across = across_tasks(runs)
        slots = next((_slots(each) for each in manifests if _shows(each, runs[0], data)), {})
        profile = _profile_chart(title, across, slots) if across else None
        found.append(Statistics(title, condition_summaries(runs), across, profile))
    return found


def _profile_chart(title: str, across: list[AcrossTasks], slots: dict[str, int]) -> Chart:
    none = np.empty((0, 0))
    if not {row.label for row in across} <= set(slots):  # the authors' labels need not be a manifest's
        slots = {row.label: colour_number(at) for at, row in enumerate(across)}
    lines = [Line(row.label, slots[row.label], PROFILE_THRESHOLDS, *row.profile, none) for row in across]
    description = "Share of runs, averaged over tasks, whose final score is above each value. " + "; ".join(
        f"{row.label}: {row.profile[0][len(PROFILE_THRESHOLDS) // 2]:.0%} above {PROFILE_THRESHOLDS[-1] / 2:.0f}"
        for row in across
    )
    labels = ("final score above", "share of runs")
    return chart(f"Performance profile, {title}", description, lines, _HIGHEST_RETURN, 1.0, labels)


def held_against(ours: DataSet, theirs: DataSet) -> Held:
    """Compares our runs with the authors': numbers and curves only where the profile is the paper's."""
    ways = directions(ours, theirs)
    if not ours.comparable:
        return Held(ours, [], ways, [])
    overlays = []
    for manifest, runs in grouped((run for run in ours.runs if run.figure), lambda run: run.manifest).items():
        panels = []
        for (environment, condition), own in grouped(runs, lambda run: (run.environment, run.condition)).items():
            published = theirs.select(own[0].figure, "", environment, [condition])
            if published:
                lines = [curve_line(published, 0, "authors"), curve_line(own, 1, "ours")]
                title = f"{task(environment)}, {own[0].label}"
                labels = _axes([*own, *published])
                text = f"Our curve over the authors': {title}."
                panels.append(chart(title, text, lines, end_of([*own, *published]), top_of(lines), labels))
        overlays.append(Overlay(manifest, panels))
    return Held(ours, agreements(ours, theirs), ways, overlays)


def costs(data: DataSet) -> list[Cost]:
    """Returns what each experiment took; a run that several experiments share is counted once, in the first.

    Runs that were killed are left out, since nothing tells how long they had been at work.
    """
    found: list[Cost] = []
    seen: set[Hashable] = set()
    for title, runs in grouped(data.runs, lambda run: run.experiment).items():
        own = []
        for run in runs:
            if run.identity not in seen and not np.isnan(run.steps_per_second):
                seen.add(run.identity)
                own.append(run)
        if own:
            speeds = [run.steps_per_second for run in own]
            machines = sorted({_machine(run) for run in own})
            total = sum(run.steps for run in own), sum(run.hours for run in own)
            found.append(
                Cost(title, len(own), total[0], min(speeds), median(speeds), max(speeds), total[1], "; ".join(machines))
            )
    return found


def _machine(run: Run) -> str:
    """Names the machine of a run's last session."""
    if run.record is None:
        return "GTX 1080 Ti partition"
    session = run.record["sessions"][-1]
    machine, threads = session["machine"], counted(str(session.get("threads", "?")), "thread")
    return str(machine.get("gpu") or f"{machine.get('processor', 'unknown')}, {threads}")


def run_rows(data: DataSet, out: Path) -> list[RunRow]:
    """Returns every run with its settings, provenance and links to its files, relative to `out`."""
    return [_run_row(run, out) for run in data.runs]


def _run_row(run: Run, out: Path) -> RunRow:
    if run.path is None or run.job is None or run.record is None:
        link = ("runs.csv", _address(FOLDER / "runs.csv", out))
        return RunRow(run, "the published code's", "authors' log", [link])
    settings = settings_text(differences_from_paper(run.job))
    files = sorted(path for path in run.path.iterdir() if path.is_file() and not path.name.startswith("."))
    text = f"{version_text(run.record['code'])}; {_machine(run)}"
    return RunRow(run, settings, text, [(path.name, _address(path, out)) for path in files])


def _address(path: Path, out: Path) -> str:
    return Path(os.path.relpath(path.resolve(), out.resolve())).as_posix()


def differences_from_paper(job: Job) -> dict[str, Any]:
    """Returns the settings that are not the paper's, of those that decide the job, such as {"train.steps": 25000}."""
    paper, deciding = Settings().model_dump(mode="json"), deciding_settings(job)
    return {
        f"{section}.{key}": value
        for section, values in job.settings.model_dump(mode="json").items()
        for key, value in values.items()
        if f"{section}.{key}" in deciding and value != paper[section][key]
    }


def settings_text(changed: Mapping[str, Any]) -> str:
    """Returns "train.steps = 25000, …"; or that there are none."""
    return ", ".join(f"{key} = {value}" for key, value in changed.items()) or "the paper's defaults"
