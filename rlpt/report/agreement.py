"""Our runs against the authors': numbers at the paper's size, otherwise only which way each condition moves."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rlpt.report.claims import Metric
from rlpt.report.verdicts import Verdict, decide, lengths_of
from rlpt.results.records import DataSet, Encoder, Run, baseline_of, grouped, scores_of
from rlpt.stats import Difference, difference

Way = Literal["up", "down", "undecided", "no baseline"]
_METRICS: tuple[Metric, ...] = ("final", "auc")


@dataclass(frozen=True)
class Agreement:
    """Ours minus theirs in one condition of a figure."""

    manifest: str
    environment: str
    label: str
    metric: Metric
    difference: Difference
    same: Verdict
    "Whether the whole interval lies within the margin."
    lengths: str
    'Where the scores are over unequally many steps: "80,000 against 56,250 steps".'


@dataclass(frozen=True)
class Direction:
    """Which way a condition moves from its baseline's final score, by the interval, in both data sets."""

    manifest: str
    environment: str
    label: str
    theirs: Way
    theirs_then: Way
    "After as many steps as ours have."
    ours: Way
    steps: int
    "Of ours."


def agreements(ours: DataSet, theirs: DataSet) -> list[Agreement]:
    """Compares final score and AUC of every condition that both have.

    The same seed means different random numbers in the two implementations, so runs are not paired.

    Raises:
        ValueError: if our runs are scaled down: their numbers mean something else.
    """
    if not ours.comparable:
        raise ValueError(f"runs of profile {ours.profile} cannot be held against the paper's numbers")
    found = []
    for mine, published in _matches(ours, theirs):
        for metric in _METRICS:
            gap = difference(scores_of(mine, metric), scores_of(published, metric), pair=False)
            run = mine[0]
            same = decide(gap.low, gap.high, "equivalent")
            lengths = lengths_of(mine, published, metric)
            found.append(Agreement(run.manifest, run.environment, run.label, metric, gap, same, lengths))
    return found


def directions(ours: DataSet, theirs: DataSet) -> list[Direction]:
    """Compares, at any profile, which way every pretrained condition moves."""
    found = []
    for mine, published in _matches(ours, theirs):
        run = mine[0]
        if run.pretrained:
            compared = _way(published, theirs), _way_then(published, theirs, mine, ours), _way(mine, ours)
            found.append(Direction(run.manifest, run.environment, run.label, *compared, run.steps))
    return found


def _matches(ours: DataSet, theirs: DataSet) -> Iterator[tuple[list[Run], list[Run]]]:
    """Yields our runs and theirs of each condition of the paper's figures that both have."""
    own = [run for run in ours.runs if run.figure]
    for mine in grouped(own, lambda run: (run.manifest, run.environment, run.condition)).values():
        run = mine[0]
        published = theirs.select(run.figure, "", run.environment, [run.condition])
        if published:
            yield mine, published


def against_baseline(runs: list[Run], data: DataSet) -> Difference | None:
    """Returns the difference of final scores between runs of one condition and their baseline; None without one."""
    baseline = _baseline(runs, data)
    return difference(scores_of(runs, "final"), scores_of(baseline, "final")) if baseline else None


def _baseline(runs: list[Run], data: DataSet) -> list[Run]:
    run = runs[0]
    family = [each for each in data.runs if each.experiment == run.experiment and each.environment == run.environment]
    return baseline_of(family)


def _way_then(published: list[Run], theirs: DataSet, mine: list[Run], ours: DataSet) -> Way:
    """Returns which way the authors' runs had moved when they had as many steps as ours and our baseline have."""
    own, their = _baseline(mine, ours), _baseline(published, theirs)
    if not own or not their:
        return "no baseline"
    first, second = (
        {run.repetition: _smoothed(run, shortest[0].steps) for run in runs}
        for runs, shortest in ((published, mine), (their, own))
    )
    return _way_of(difference(first, second))


def _smoothed(run: Run, steps: int) -> float:
    """Returns the mean of the last 15 episodes up to `steps`, or up to the curve's nearest point before it."""
    last = int(run.curve["step"].searchsorted(steps, side="right")) - 1
    return float(run.curve["smoothed"].iloc[max(last, 0)])


def _way(runs: list[Run], data: DataSet) -> Way:
    return _way_of(against_baseline(runs, data))


def _way_of(found: Difference | None) -> Way:
    if found is None:
        return "no baseline"
    return "up" if found.low > 0 else "down" if found.high < 0 else "undecided"


@dataclass(frozen=True)
class Outcome:
    """What the runs that started from an encoder made of it."""

    experiment: str
    environment: str
    label: str
    difference: Difference | None
    "Of final scores, against the baseline."


def encoder_outcomes(data: DataSet) -> list[tuple[Encoder, list[Outcome]]]:
    """Returns every inverse-kinematics encoder with the results of reinforcement learning that it led to."""
    rows = []
    for encoder in data.encoders:
        led_to = [run for run in data.runs if run.encoder is not None and run.encoder == encoder]
        groups = grouped(led_to, lambda run: (run.experiment, run.environment, run.condition)).values()
        outcomes = [
            Outcome(runs[0].experiment, runs[0].environment, runs[0].label, against_baseline(runs, data))
            for runs in groups
        ]
        rows.append((encoder, outcomes))
    return rows
