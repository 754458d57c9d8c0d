"""A data set's statistics: every condition on every task, and over all tasks of an experiment."""

from dataclasses import dataclass

import numpy as np

from rlpt.report.claims import Metric
from rlpt.report.verdicts import lengths_of
from rlpt.results.records import Run, baseline_of, grouped, scores_of
from rlpt.stats import (
    Difference,
    Interval,
    aggregate,
    difference,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    steps_to,
)

PROFILE_THRESHOLDS = np.arange(0, 1001, 25.0)
"Returns at which performance profiles are evaluated."
SUMMARISED: tuple[Metric, ...] = ("final", "auc", "early")


@dataclass(frozen=True)
class Speed:
    """Steps until the smoothed return has reached the baseline's mean final score, as finely as `Run.curve` knows."""

    threshold: float
    reached: int
    "Runs that did, of `steps.count`."
    steps: Interval
    "A run that did not is counted with all its steps, so this is a lower bound."


@dataclass(frozen=True)
class ConditionSummary:
    """One condition on one task."""

    environment: str
    label: str
    scores: dict[Metric, Interval]
    "Means over runs."
    differences: dict[Metric, Difference | None]
    "From the baseline; None: it is the baseline, or there is none."
    lengths: str
    "Where its final score and the baseline's come after unequally many steps."
    speed: Speed | None
    probability: Interval | None
    "That a run's final score is above the baseline's."


@dataclass(frozen=True)
class AcrossTasks:
    """One condition over all tasks that an experiment has runs of it on; a task's highest return is 1,000."""

    condition: str
    label: str
    tasks: int
    mean: Interval
    iqm: Interval
    profile: tuple[np.ndarray, np.ndarray, np.ndarray]
    "Share of runs above each of PROFILE_THRESHOLDS, and the ends of its band."


def condition_summaries(runs: list[Run]) -> list[ConditionSummary]:
    """Returns a row for each condition on each task of one experiment's runs."""
    rows = []
    for own in grouped(runs, lambda run: (run.environment, run.condition)).values():
        run = own[0]
        baseline = baseline_of(each for each in runs if each.environment == run.environment)
        compared = bool(baseline) and run.condition != baseline[0].condition
        pairs = {metric: (scores_of(own, metric), scores_of(baseline, metric)) for metric in SUMMARISED}
        rows.append(
            ConditionSummary(
                run.environment,
                run.label,
                {metric: mean_score(own, metric) for metric in SUMMARISED},
                {metric: difference(*pair) if compared else None for metric, pair in pairs.items()},
                lengths_of(own, baseline, "final"),
                _speed(own, baseline) if baseline else None,
                probability_of_improvement(*pairs["final"]) if compared else None,
            )
        )
    return rows


def across_tasks(runs: list[Run]) -> list[AcrossTasks]:
    """Returns a row for each condition that has runs on more than one task of an experiment."""
    rows = []
    for own in grouped(runs, lambda run: run.condition).values():
        tasks = grouped(own, lambda run: run.environment).values()
        strata = [np.array([run.scores["final"] for run in task]) for task in tasks]
        if len(strata) > 1:
            mean, iqm = aggregate(strata), aggregate(strata, interquartile_mean)
            profile = performance_profile(strata, PROFILE_THRESHOLDS)
            rows.append(AcrossTasks(own[0].condition, own[0].label, len(strata), mean, iqm, profile))
    return rows


def mean_score(runs: list[Run], metric: Metric) -> Interval:
    """Returns a metric's mean over runs of one condition on one task, with its bootstrap interval."""
    return aggregate([np.array(list(scores_of(runs, metric).values()))])


def _speed(runs: list[Run], baseline: list[Run]) -> Speed:
    threshold = float(np.mean([run.scores["final"] for run in baseline]))
    found = [steps_to(threshold, run.curve["step"].to_numpy(), run.curve["smoothed"].to_numpy()) for run in runs]
    counted = [run.steps if step is None else step for run, step in zip(runs, found, strict=True)]
    steps = aggregate([np.array(counted, float)])
    return Speed(threshold, sum(step is not None for step in found), steps)
