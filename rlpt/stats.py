"""Statistics of a few runs: intervals instead of bare means (rliable's aggregates, scipy's distributions).

A score is one run's number, such as its final return. Scores of one condition on one task are a stratum: bootstrap
resamples draw runs from within each stratum, with replacement. Everything random is drawn from a named, seeded stream,
so that the same scores give the same intervals. (rliable's own resampling draws from NumPy's global state whatever
`random_state` it is given, and needs equally many runs a task; the tests compare the two.)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isnan, nan, sqrt
from typing import Any

import numpy as np
from rliable import metrics
from scipy import stats

from rlpt.streams import stream

CONFIDENCE = 0.95
RESAMPLES = 10_000
POWER = 0.8
"Chance of a decided verdict that the power note asks for."
MOST_SEEDS = 1_000
"Where the search for a sufficient number of seeds ends."
FINAL_EPISODES = 15
"Episodes that the final score is the mean of."

Statistic = Callable[[list[np.ndarray]], np.ndarray]
"From resampled strata, each [resamples, runs, ...], to [resamples, ...]."


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval; both ends are NaN where one run alone says nothing about spread."""

    value: float
    low: float
    high: float
    count: int
    "Runs, or pairs of runs."

    @property
    def known(self) -> bool:
        """Whether there is an interval at all."""
        return not (isnan(self.low) or isnan(self.high))


def final_score(returns: np.ndarray) -> float:
    """Returns the mean of the last 15 episodes (of all, where there are fewer). `returns`: float [episodes]."""
    return float(np.mean(returns[-FINAL_EPISODES:]))


def area_under_curve(returns: np.ndarray) -> float:
    """Returns the mean return over all episodes, which are equally long: the learning curve's area by its length."""
    return float(np.mean(returns))


def early_score(returns: np.ndarray) -> float:
    """Returns the mean return over the first quarter of the episodes, at least one."""
    return float(np.mean(returns[: max(1, len(returns) // 4)]))


def steps_to(threshold: float, steps: np.ndarray, smoothed: np.ndarray) -> int | None:
    """Returns the first of `steps` where the smoothed return has reached `threshold`, or None."""
    reached = np.flatnonzero(np.asarray(smoothed) >= threshold)
    return int(steps[reached[0]]) if len(reached) else None


def bootstrap(
    strata: Sequence[np.ndarray], statistic: Statistic, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns both ends of the 95 % percentile interval of a statistic under stratified resampling of runs.

    Both are NaN where one run is all that there is of a stratum, which says nothing about spread.

    Args:
        strata: scores of each stratum, float [runs, ...]; each at least one run.
        statistic: vectorised over resamples.
        resamples: how many are drawn.
        seed: of the draws.
    """
    if min(map(len, strata)) < 2:
        unknown = np.full_like(statistic([scores[None] for scores in strata])[0], nan)
        return unknown, unknown
    random = stream(seed, "bootstrap")
    drawn = [scores[random.integers(len(scores), size=(resamples, len(scores)))] for scores in strata]
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(statistic(drawn), [tail, 100 - tail], axis=0)
    return low, high


def mean_of_tasks(strata: Sequence[np.ndarray], axis: int = 0) -> np.ndarray:
    """Returns the mean over tasks of the mean over runs (axis `axis` of each stratum)."""
    return np.asarray(np.mean([scores.mean(axis) for scores in strata], axis=0))


def interquartile_mean(strata: Sequence[np.ndarray], axis: int = 0) -> np.ndarray:
    """Returns the mean of the middle half of all tasks' runs. Of three runs it cuts none: it is then their mean."""
    return np.asarray(stats.trim_mean(np.concatenate(list(strata), axis), 0.25, axis=axis))


def aggregate(strata: Sequence[np.ndarray], statistic: Callable[..., np.ndarray] = mean_of_tasks) -> Interval:
    """Returns `mean_of_tasks` or `interquartile_mean` of scores, each [runs], with its bootstrap interval."""
    count = sum(map(len, strata))
    if not count:
        return Interval(nan, nan, nan, 0)
    low, high = bootstrap(strata, lambda drawn: statistic(drawn, 1))
    return Interval(float(statistic(strata)), float(low), float(high), count)


def curve_band(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns a curve's mean and the ends of its pointwise 95 % bootstrap band (NaN for one run alone).

    Args:
        curves: returns of runs at the same steps, float [runs, points].
    """
    low, high = bootstrap([curves], lambda drawn: drawn[0].mean(1), resamples=2_000)
    return curves.mean(0), low, high


@dataclass(frozen=True)
class Difference:
    """The difference of two conditions' mean scores on one task, first minus second.

    Two intervals: the percentile bootstrap's, and Student's (Welch's, where runs are not paired). With n pairs the
    first can never leave the range of the n differences; for three it *is* that range and covers the middle of a
    symmetric distribution in 75 of 100 cases, not 95. The second is exact for normal paired differences. `low` and
    `high` span both.
    """

    value: float
    bootstrap: tuple[float, float]
    student: tuple[float, float]
    deviation: float
    "Standard deviation of the paired differences; unpaired, that of a pair of independent runs."
    count: int
    "Pairs, or the smaller number of runs."
    paired: bool

    @property
    def low(self) -> float:
        """The lower end of both intervals' span; NaN if one run alone is on either side."""
        return min(self.bootstrap[0], self.student[0])

    @property
    def high(self) -> float:
        """The upper end of both intervals' span."""
        return max(self.bootstrap[1], self.student[1])

    @property
    def known(self) -> bool:
        """Whether there is an interval at all."""
        return not isnan(self.low)


def difference(first: Mapping[Any, float], second: Mapping[Any, float], pair: bool = True) -> Difference:
    """Compares scores by what they were repeated over, such as (seed, video).

    Args:
        first: score of each run.
        second: of what it is compared with.
        pair: subtract run by run where repetitions are shared; runs without a partner are then left out. (If both
            sides have several but share only one, nothing is paired.) False: the names of repetitions mean
            nothing, as between two laboratories.

    Raises:
        ValueError: if either is empty.
    """
    shared = _partners(first, second) if pair else []
    if shared:
        return _paired(np.array([first[key] - second[key] for key in shared]))
    return _unpaired(np.array(list(first.values())), np.array(list(second.values())))


def _partners(first: Mapping[Any, float], second: Mapping[Any, float]) -> list[Any]:
    shared = [key for key in first if key in second]
    return shared if len(shared) > 1 or min(len(first), len(second)) == 1 else []


def _paired(differences: np.ndarray) -> Difference:
    count, value = len(differences), float(differences.mean())
    if count < 2:
        return Difference(value, (nan, nan), (nan, nan), nan, count, True)
    deviation = float(differences.std(ddof=1))
    low, high = bootstrap([differences], lambda drawn: drawn[0].mean(1))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * deviation / sqrt(count)
    return Difference(value, (float(low), float(high)), (value - half, value + half), deviation, count, True)


def _unpaired(first: np.ndarray, second: np.ndarray) -> Difference:
    if not len(first) or not len(second):
        raise ValueError("a difference needs a run on either side")
    value, count = float(first.mean() - second.mean()), min(len(first), len(second))
    if count < 2:
        return Difference(value, (nan, nan), (nan, nan), nan, count, False)
    low, high = bootstrap([first, second], lambda drawn: drawn[0].mean(1) - drawn[1].mean(1))
    deviation = sqrt(sum(float(scores.var(ddof=1)) for scores in (first, second)))
    student = (value, value)
    if deviation > 0:
        found = stats.ttest_ind(first, second, equal_var=False).confidence_interval(CONFIDENCE)
        student = (float(found.low), float(found.high))
    return Difference(value, (float(low), float(high)), student, deviation, count, False)


def probability_of_improvement(first: Mapping[Any, float], second: Mapping[Any, float]) -> Interval:
    """Returns the chance that a run of the first condition beats one of the second.

    If repetitions are shared, it is the share of pairs that improved (a tie does not count), with the exact binomial
    interval, since a bootstrap of three wins in three pairs would claim certainty. Otherwise rliable's, over all
    combinations, with a stratified bootstrap interval, or none if one side always wins, for the same reason.
    """
    shared = _partners(first, second)
    if shared:
        wins = sum(first[key] > second[key] for key in shared)
        exact = stats.binomtest(wins, len(shared)).proportion_ci(CONFIDENCE, "exact")
        return Interval(wins / len(shared), float(exact.low), float(exact.high), len(shared))
    ours, theirs = np.array(list(first.values())), np.array(list(second.values()))
    value = float(metrics.probability_of_improvement(ours[:, None], theirs[:, None]))
    count = min(len(ours), len(theirs))
    low, high = map(float, bootstrap([ours, theirs], _superiority))
    return Interval(value, low, high, count) if low < high else Interval(value, nan, nan, count)


def _superiority(drawn: list[np.ndarray]) -> np.ndarray:
    gaps = np.sign(drawn[0][:, :, None] - drawn[1][:, None, :])
    return np.asarray((gaps.mean((1, 2)) + 1) / 2)


def performance_profile(
    strata: Sequence[np.ndarray], thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the share of runs above each threshold, averaged over tasks, with its 95 % band.

    Args:
        strata: scores of each task, float [runs].
        thresholds: float [points].
    """

    def profile(scores: Sequence[np.ndarray], axis: int) -> np.ndarray:
        return mean_of_tasks([(each[..., None] > thresholds).astype(float) for each in scores], axis)

    low, high = bootstrap(strata, lambda drawn: profile(drawn, 1), resamples=2_000)
    return profile(strata, 0), low, high


def seeds_to_exclude(distance: float, deviation: float) -> int | None:
    """Returns how many pairs a 95 % t interval needs to exclude a value `distance` away from the truth, 4 times in 5.

    Args:
        distance: between the true difference and the value; here the observed one stands for the true.
        deviation: standard deviation of a pair's difference.

    Returns:
        The number, at least 2; None beyond 1,000.
    """
    if isnan(deviation) or distance <= 0:
        return None
    for count in range(2, MOST_SEEDS + 1):
        degrees, shift = count - 1, distance / deviation * sqrt(count) if deviation else inf
        critical = stats.t.ppf((1 + CONFIDENCE) / 2, degrees)
        if shift == inf or stats.nct.sf(critical, degrees, shift) >= POWER:
            return count
    return None


def deviation_range(count: int) -> tuple[float, float]:
    """Returns by which factors the true standard deviation may differ from one of `count` normal scores (95 %)."""
    degrees, tail = count - 1, (1 - CONFIDENCE) / 2
    return sqrt(degrees / stats.chi2.ppf(1 - tail, degrees)), sqrt(degrees / stats.chi2.ppf(tail, degrees))
