"""What a data set says of a claim.

A verdict comes from intervals alone. Each comparison of a claim is decided by the span of two 95 % intervals of the
difference, bootstrap and Student's (rlpt.stats.Difference): a few seeds make the bootstrap too sure of itself.
All comparisons must hold for a claim to hold, which needs no correction; one that fails makes it fail.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from rlpt.number_text import roughly, span
from rlpt.report.claims import MARGIN, WITH_MARGIN, Claim, Comparison, Expectation, Gain, Metric, listed
from rlpt.results.records import DataSet, Run
from rlpt.stats import Difference, Interval, difference, probability_of_improvement, seeds_to_exclude

Verdict = Literal["holds", "fails", "undecided", "not run"]

VERDICTS: tuple[Verdict, ...] = ("holds", "fails", "undecided", "not run")
BOUNDARIES: dict[Expectation, tuple[float, ...]] = {
    "greater": (0.0,),
    "less": (0.0,),
    "gains_much": (MARGIN,),
    "gains_little": (MARGIN,),
    "equivalent": (-MARGIN, MARGIN),
}
"Values that the interval of a difference must clear to decide."


@dataclass(frozen=True)
class Finding:
    """What a data set says of one comparison on one environment."""

    environment: str
    condition: str
    'Or the gain that is compared, such as "ik-cheetah − baseline".'
    versus: str
    expect: Expectation
    metric: Metric
    difference: Difference | None
    "None: not run."
    probability: Interval | None
    verdict: Verdict
    bootstrap_verdict: Verdict
    "What the bootstrap interval alone would say."
    seeds_needed: int | None
    "Seeds that would decide it, if the observed difference and deviation were the true ones; None: over 1,000."
    lengths: str = ""
    'Where the scores are over unequally many steps: "56,250 against 80,000 steps".'
    margin_share: float | None = None
    "The margin as a share of the mean score of `versus`; None where no margin decides."


@dataclass(frozen=True)
class Judgement:
    """What a data set says of a claim."""

    data_set: DataSet
    verdict: Verdict
    findings: tuple[Finding, ...]

    @property
    def bootstrap_verdict(self) -> Verdict:
        """What the bootstrap intervals alone would say."""
        return combined([found.bootstrap_verdict for found in self.findings])

    @property
    def score(self) -> str:
        """How many comparisons came out how, such as "3 comparisons: 1 holds, 2 undecided"."""
        counts = Counter[str](found.verdict for found in self.findings)
        words = {"holds": ("holds", "hold"), "fails": ("fails", "fail")}
        parts = [
            f"{counts[verdict]} {words.get(verdict, (verdict, verdict))[counts[verdict] > 1]}"
            for verdict in VERDICTS
            if counts[verdict]
        ]
        total = len(self.findings)
        return f"{total} comparison{'s' if total > 1 else ''}: {', '.join(parts)}"

    @property
    def seeds(self) -> str:
        """How many pairs or runs the comparisons rest on, such as "3" or "1–3"."""
        return span(found.difference.count for found in self.findings if found.difference) or "0"

    @property
    def power_note(self) -> str:
        """How many seeds would decide what is undecided, from the observed differences and their deviations."""
        if self.verdict != "undecided":
            return "–"
        open_ones = [found for found in self.findings if found.verdict == "undecided"]
        measured = [found for found in open_ones if found.difference and found.difference.known]
        if not measured:
            return "unknown (one run each: no deviation to go by)"
        most = max(found.seeds_needed or math.inf for found in measured)
        seeds = "over 1,000" if most == math.inf else f"about {roughly(int(most))}"
        return f"{seeds}, for those that ran" if any(found.verdict == "not run" for found in self.findings) else seeds


def judge(claim: Claim, data: DataSet) -> Judgement:
    """Compares what the claim compares and decides."""
    findings = tuple(
        _find(claim, comparison, environment, data)
        for comparison in claim.compare
        for environment in comparison.environments
    )
    return Judgement(data, combined([found.verdict for found in findings]), findings)


def combined(verdicts: list[Verdict]) -> Verdict:
    """Returns a claim's verdict from its comparisons': all must hold, one that fails decides."""
    counts = Counter(verdicts)
    if counts["fails"]:
        return "fails"
    return verdicts[0] if len(counts) == 1 else "undecided"


def decide(low: float, high: float, expect: Expectation, margin: float = MARGIN) -> Verdict:
    """Returns the verdict on one comparison: where its interval lies wholly decides, and nothing else.

    Args:
        low: lower end of the difference's interval; NaN: there is none, so nothing is decided.
        high: its upper end.
        expect: what the claim expects of the difference.
        margin: what counts as little.
    """
    holds, fails = {
        "greater": (low > 0, high < 0),
        "less": (high < 0, low > 0),
        "gains_much": (low > margin, high < margin),
        "gains_little": (high < margin, low > margin),
        "equivalent": (-margin < low and high < margin, low > margin or high < -margin),
    }[expect]
    return "holds" if holds else "fails" if fails else "undecided"


def _find(claim: Claim, comparison: Comparison, environment: str, data: DataSet) -> Finding:
    metric = comparison.metric or claim.metric
    first, second = _scores(claim, comparison, environment, data, metric)
    names = listed(comparison.condition)[0], listed(comparison.versus)[0]
    runs, others = (data.select(claim.figure, claim.manifest, environment, [name]) for name in names)
    share = _margin_share(second) if comparison.expect in WITH_MARGIN and not comparison.than else None
    if comparison.than:
        other = comparison.than
        first = _gains(claim.manifest, first, second)
        second = _gains(other.manifest, *_scores(other, other, environment, data, metric))
        names = f"{names[0]} − {names[1]}", f"{other.condition} − {other.versus} of {other.manifest}"
        others = data.select(other.figure, other.manifest, environment, [other.condition])
    about = (environment, *names, comparison.expect, metric)
    if not first or not second:
        return Finding(*about, None, None, "not run", "not run", None)
    found = difference(first, second)
    return Finding(
        *about,
        found,
        probability_of_improvement(first, second),
        decide(found.low, found.high, comparison.expect),
        decide(*found.bootstrap, comparison.expect),
        _seeds_needed(found, comparison.expect),
        lengths_of(runs, others, metric),
        share,
    )


def _scores(
    place: Claim | Gain, conditions: Comparison | Gain, environment: str, data: DataSet, metric: Metric
) -> tuple[dict[Hashable, float], dict[Hashable, float]]:
    """Returns the scores of a condition and of what it is compared with, by repetition."""
    first, second = (
        data.scores(metric, place.figure, place.manifest, environment, listed(each))
        for each in (conditions.condition, conditions.versus)
    )
    return first, second


def _gains(name: str, first: Mapping[Hashable, float], second: Mapping[Hashable, float]) -> dict[Hashable, float]:
    """Returns first minus second for each repetition that both have.

    The experiment's name keeps two experiments' repetitions apart: what shares a seed there is not a pair.
    """
    return {(name, key): first[key] - second[key] for key in first if key in second}


def lengths_of(first: Iterable[Run], second: Iterable[Run], metric: str) -> str:
    """Names how many steps the scores of two conditions' runs are over, if they differ by more than 1 %."""
    ours, theirs = ({run.steps_of(metric) for run in runs} for runs in (first, second))
    if not ours or not theirs or max(ours | theirs) <= 1.01 * min(ours | theirs):
        return ""
    return f"{span(ours)} against {span(theirs)} steps"


def _margin_share(reference: Mapping[Hashable, float]) -> float | None:
    """Returns the margin as a share of the mean of all runs, those without a partner included."""
    mean = sum(reference.values()) / len(reference) if reference else 0.0
    return MARGIN / mean if mean > 0 else None


def _seeds_needed(found: Difference, expect: Expectation) -> int | None:
    """Returns the seeds that would put the interval on one side of the nearest value that decides."""
    distance = min(abs(found.value - boundary) for boundary in BOUNDARIES[expect])
    return seeds_to_exclude(distance, found.deviation)
