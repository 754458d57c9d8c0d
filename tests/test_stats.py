"""Statistics: known answers, properties, and rliable's own results."""

from itertools import product
from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rliable import library
from rliable import metrics as rliable_metrics
from scipy import stats as scipy_stats

from rlpt.stats import (
    aggregate,
    area_under_curve,
    bootstrap,
    curve_band,
    deviation_range,
    difference,
    early_score,
    final_score,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    seeds_to_exclude,
    steps_to,
)

SCORES = st.floats(0, 1000, width=32)
RUNS = hnp.arrays(np.float64, st.integers(2, 6), elements=SCORES)


def keyed(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def test_scores_of_a_run() -> None:
    returns = np.arange(1.0, 41.0)
    assert final_score(returns) == np.mean(np.arange(26, 41))
    assert area_under_curve(returns) == 20.5
    assert early_score(returns) == 5.5
    assert final_score(returns[:3]) == 2
    assert early_score(returns[:3]) == 1


def test_steps_to_a_threshold() -> None:
    steps, smoothed = np.array([10, 20, 30]), np.array([1.0, 5.0, 3.0])
    assert steps_to(5, steps, smoothed) == 20
    assert steps_to(5.1, steps, smoothed) is None


@settings(max_examples=40, deadline=None)
@given(st.lists(RUNS, min_size=1, max_size=3))
def test_an_interval_holds_its_estimate_and_stays_in_range(strata: list[np.ndarray]) -> None:
    found = aggregate(strata)
    assert found.low - 1e-6 <= found.value <= found.high + 1e-6
    assert np.mean([each.min() for each in strata]) - 1e-6 <= found.low
    assert found.high <= np.mean([each.max() for each in strata]) + 1e-6
    assert found == aggregate(strata)


@settings(max_examples=40, deadline=None)
@given(RUNS, st.floats(-500, 500), st.floats(0.125, 8))
def test_an_interval_moves_and_stretches_with_its_scores(scores: np.ndarray, shift: float, scale: float) -> None:
    plain, moved = aggregate([scores]), aggregate([scores * scale + shift])
    for ours, theirs in ((plain.low, moved.low), (plain.high, moved.high), (plain.value, moved.value)):
        assert theirs == pytest.approx(ours * scale + shift, abs=1e-6, rel=1e-6)


def test_one_run_has_no_interval() -> None:
    found = aggregate([np.array([5.0])])
    assert found.value == 5
    assert not found.known
    assert not aggregate([np.array([5.0]), np.array([6.0, 7.0])]).known
    assert not difference(keyed(5), keyed(3)).known


def test_aggregates_and_intervals_are_rliable_s() -> None:
    scores = np.random.default_rng(1).normal(400, 100, (5, 3))
    strata = list(scores.T)
    np.random.seed(0)  # noqa: NPY002 - rliable draws from the global state
    for ours, theirs in (
        (aggregate(strata), rliable_metrics.aggregate_mean),
        (aggregate(strata, interquartile_mean), rliable_metrics.aggregate_iqm),
    ):
        point, ends = library.get_interval_estimates(
            {"x": scores}, lambda drawn, of=theirs: np.array([of(drawn)]), reps=5_000
        )
        assert ours.value == pytest.approx(point["x"][0])
        width = float(ends["x"][1, 0] - ends["x"][0, 0])
        assert (ours.low, ours.high) == pytest.approx(tuple(ends["x"][:, 0]), abs=0.05 * width)


def test_a_performance_profile_is_rliable_s() -> None:
    scores = np.random.default_rng(2).uniform(0, 1000, (4, 2))
    thresholds = np.array([0.0, 250, 500, 750])
    value, low, high = performance_profile(list(scores.T), thresholds)
    assert value == pytest.approx(library.score_distributions(scores, thresholds))
    assert (np.diff(value) <= 0).all()
    assert (low <= value).all()
    assert (value <= high).all()


def test_three_pairs_the_bootstrap_s_interval_is_their_range() -> None:
    values = np.array([-10.0, 5.0, 40.0])
    every = sorted(np.mean(drawn) for drawn in product(values, repeat=3))
    assert np.percentile(every, [2.5, 97.5], method="inverted_cdf").tolist() == [-10, 40]  # of all 27 resamples
    found = difference(keyed(*values), keyed(0, 0, 0))
    assert found.bootstrap == (-10, 40)


def test_what_the_report_says_of_coverage() -> None:
    """The bootstrap of three pairs misses the truth in 25 of 100 cases, Student's interval in 5."""
    draws = np.random.default_rng(3).normal(0, 1, (1_500, 3))
    found = [difference(keyed(*each), keyed(0, 0, 0)) for each in draws]
    by_bootstrap = np.mean([each.bootstrap[0] <= 0 <= each.bootstrap[1] for each in found])
    by_student = np.mean([each.student[0] <= 0 <= each.student[1] for each in found])
    by_span = np.mean([each.low <= 0 <= each.high for each in found])
    assert by_bootstrap == pytest.approx(0.75, abs=0.04)
    assert by_student == pytest.approx(0.95, abs=0.02)
    assert by_span >= by_student


def test_student_s_intervals_are_scipy_s() -> None:
    first, second = keyed(3.0, 5.0, 9.0), keyed(2.0, 1.0, 4.0)
    paired = scipy_stats.ttest_rel(list(first.values()), list(second.values())).confidence_interval()
    assert difference(first, second).student == pytest.approx(tuple(paired))
    welch = scipy_stats.ttest_ind(list(first.values()), list(second.values()), equal_var=False).confidence_interval()
    unpaired = difference(first, second, pair=False)
    assert unpaired.student == pytest.approx(tuple(welch))
    assert unpaired.deviation == pytest.approx(np.sqrt(np.var([3, 5, 9], ddof=1) + np.var([2, 1, 4], ddof=1)))
    more = difference({**first, 99: 7.0}, second, pair=False)
    assert more.deviation == pytest.approx(np.sqrt(np.var([3, 5, 9, 7], ddof=1) + np.var([2, 1, 4], ddof=1)))


def test_what_is_paired_by_seed() -> None:
    assert difference({37: 5.0, 42: 6.0, 69: 7.0}, {69: 1.0, 37: 1.0}).value == 5  # (4 + 6) / 2
    assert difference({37: 5.0}, {37: 1.0, 42: 100.0}).value == 4
    apart = difference({37: 5.0, 42: 7.0}, {1: 1.0, 2: 3.0})
    assert (apart.value, apart.paired) == (4, False)
    assert difference({37: 5.0, 42: 7.0}, {37: 1.0, 2: 3.0}).paired is False  # one shared seed would leave half out
    with pytest.raises(ValueError, match="either side"):
        difference({}, {1: 1.0})


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.integers(0, 5), st.tuples(SCORES, SCORES), min_size=2, max_size=5))
def test_a_difference_changes_its_sign_with_its_sides(runs: dict[int, tuple[float, float]]) -> None:
    first, second = ({key: pair[side] for key, pair in runs.items()} for side in (0, 1))
    forth, back = difference(first, second), difference(second, first)
    assert forth.value == pytest.approx(-back.value, abs=1e-9)
    assert forth.student == pytest.approx((-back.student[1], -back.student[0]), abs=1e-6)
    assert forth.low <= min(forth.bootstrap[0], forth.student[0]) + 1e-9
    assert forth.high >= max(forth.bootstrap[1], forth.student[1]) - 1e-9


def test_probability_of_improvement() -> None:
    wins = probability_of_improvement(keyed(5, 6, 7), keyed(1, 2, 3))
    assert (wins.value, wins.high) == (1, 1)
    assert wins.low == pytest.approx(0.025 ** (1 / 3))  # three wins of three are not certainty
    assert probability_of_improvement(keyed(1, 1), keyed(1, 1)).value == 0  # ties improve nothing
    apart = probability_of_improvement({1: 5.0, 2: 1.0}, {3: 0.0, 4: 3.0})
    assert apart.value == 0.75
    assert 0 <= apart.low <= apart.value <= apart.high <= 1
    certain = probability_of_improvement({1: 5.0, 2: 6.0, 3: 7.0}, {4: 1.0, 5: 2.0, 6: 3.0})
    assert (certain.value, certain.known) == (1, False)


def test_a_curve_s_band() -> None:
    mean, low, high = curve_band(np.array([[1.0, 2], [3, 4], [5, 9]]))
    assert mean.tolist() == [3, 5]
    assert (low.tolist(), high.tolist()) == ([1, 2], [5, 9])
    assert np.isnan(curve_band(np.ones((1, 2)))[1]).all()


def test_how_many_seeds_would_settle_it() -> None:
    assert seeds_to_exclude(0.5, 1.0) == 34  # textbook: paired t test, d = 0.5, power 0.8
    assert seeds_to_exclude(1.0, 1.0) == 10
    assert seeds_to_exclude(1.0, 0.0) == 2
    assert seeds_to_exclude(0.001, 1.0) is None
    assert seeds_to_exclude(0.0, 1.0) is None
    assert seeds_to_exclude(1.0, nan) is None
    assert deviation_range(3) == pytest.approx((0.52, 6.28), abs=0.01)


def test_resampling_is_within_strata() -> None:
    strata = [np.array([0.0, 1.0]), np.array([10.0, 11.0])]
    low, high = bootstrap(strata, lambda drawn: drawn[1].mean(1) - drawn[0].mean(1))
    assert 9 <= low <= high <= 11
    assert not isnan(low)


def test_a_profile_counts_what_is_above_a_threshold_and_tasks_alike() -> None:
    value, _, _ = performance_profile([np.array([0.0, 500.0]), np.array([500.0, 1000.0])], np.array([0.0, 500, 1000]))
    assert value.tolist() == [0.75, 0.25, 0]
    value, low, high = performance_profile([np.array([1.0]), np.array([500.0, 1000.0])], np.array([0.0, 700]))
    assert value.tolist() == [1, 0.25]
    assert np.isnan(low).all() and np.isnan(high).all(), "one run of a task has no interval"


def test_ties_count_half_without_pairs() -> None:
    found = probability_of_improvement({1: 0.0, 2: 0.0, 3: 5.0}, {4: 0.0, 5: 0.0, 6: 0.0})
    assert found.value == pytest.approx(2 / 3)
    assert 0.5 <= found.low <= found.value <= found.high
