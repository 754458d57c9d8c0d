"""Claims of the paper as entries of paper_figures/claims.toml, and what a data set says of each.

A verdict comes from intervals alone. Each comparison of a claim is decided by the span of two 95 % intervals of the
difference, bootstrap and Student's (rlpt.stats.Difference): a few seeds make the bootstrap too sure of itself.
All comparisons must hold for a claim to hold, which needs no correction; one that fails makes it fail.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rlpt.documents import load_document
from rlpt.envs.tasks import split_name
from rlpt.errors import UsageError
from rlpt.manifest import Manifest, Name
from rlpt.results import DataSet
from rlpt.settings import Section
from rlpt.stats import Difference, Interval, difference, probability_of_improvement, seeds_to_exclude

CLAIMS = Path(__file__).parent.parent / "paper_figures" / "claims.toml"
MARGIN = 100.0
"What counts as little: 10 % of 1,000, the highest return of a task."

Metric = Literal["final", "auc", "early", "top1"]
Expectation = Literal["greater", "less", "gains_little", "equivalent"]
Verdict = Literal["holds", "fails", "undecided", "not run"]

VERDICTS: tuple[Verdict, ...] = ("holds", "fails", "undecided", "not run")
METRICS: dict[Metric, str] = {
    "final": "final score: mean return of the last 15 training episodes",
    "auc": "AUC: mean return over all training episodes",
    "early": "early score: mean return over the first quarter of the training episodes",
    "top1": "top-1 accuracy on the validation images",
}
EXPECTATIONS: dict[Expectation, str] = {
    "greater": "above",
    "less": "below",
    "gains_little": f"less than {MARGIN:g} above",
    "equivalent": f"within ±{MARGIN:g} of",
}
BOUNDARIES: dict[Expectation, tuple[float, ...]] = {
    "greater": (0.0,),
    "less": (0.0,),
    "gains_little": (MARGIN,),
    "equivalent": (-MARGIN, MARGIN),
}
"Values that the interval of a difference must clear to decide."


class Comparison(Section):
    """One comparison that a claim makes, on each of its environments."""

    environments: list[str] = [""]
    "Left out where there is none: a classifier's accuracy."
    condition: str | list[str]
    "A condition of the manifest; several are further seeds of one."
    versus: str | list[str]
    expect: Expectation
    metric: Metric | None = None
    "Left out: the claim's."

    @model_validator(mode="after")
    def _tasks_exist(self) -> Self:
        for name in filter(None, self.environments):
            try:
                split_name(name)
            except UsageError as error:
                raise ValueError(f"environments: {error}") from None
        return self


class Claim(Section):
    """`[claims.ID]`."""

    text: str
    section: str
    "Where the paper says so; for a check that it lacks, why it is made."
    figure: Annotated[int, Field(ge=0)]
    "0: none."
    manifest: Name
    "Whose runs decide it, ours; the authors' are found by the figure."
    metric: Metric
    compare: Annotated[list[Comparison], Field(min_length=1)]
    check: bool = False
    "A control that the paper lacks, not one of its claims."

    @model_validator(mode="after")
    def _margins_are_returns(self) -> Self:
        for each in self.compare:
            if (each.metric or self.metric) == "top1" and each.expect in ("gains_little", "equivalent"):
                raise ValueError(f'expect = "{each.expect}" has a margin in returns, and top1 is an accuracy')
        return self


class _Document(Section):
    claims: Annotated[dict[Name, Claim], Field(min_length=1)]


@dataclass(frozen=True)
class Finding:
    """What a data set says of one comparison on one environment."""

    environment: str
    condition: str
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
        counts = sorted({found.difference.count for found in self.findings if found.difference})
        return "–".join(map(str, counts if len(counts) < 2 else [counts[0], counts[-1]])) or "0"

    @property
    def power_note(self) -> str:
        """How many seeds would decide what is undecided, from the observed differences and their deviations."""
        if self.verdict != "undecided":
            return "–"
        open_ones = [found for found in self.findings if found.verdict == "undecided"]
        measured = [found for found in open_ones if found.difference and found.difference.known]
        if not measured:
            return "unknown (one run each: no deviation to go by)"
        if any(found.seeds_needed is None for found in measured):
            return "over 1,000"
        return f"about {max(found.seeds_needed or 0 for found in measured):,}"


def load_claims(path: Path = CLAIMS) -> dict[str, Claim]:
    """Reads the claims by id.

    Raises:
        UsageError: one line that names file, key, what was given and what is accepted.
    """
    return load_document(_Document, path).claims


def check_claims(claims: Mapping[str, Claim], manifests: Mapping[str, Manifest], path: Path = CLAIMS) -> None:
    """Raises UsageError if a claim names a condition that its manifest (by name) does not have."""
    for name, claim in claims.items():
        manifest = manifests.get(claim.manifest)
        if manifest is None:
            continue
        conditions = [experiment.name for experiment in manifest.experiments]
        for each in claim.compare:
            for key, given in (("condition", each.condition), ("versus", each.versus)):
                for value in _listed(given):
                    if value not in conditions:
                        known = ", ".join(conditions)
                        raise UsageError(f"{path}: claims.{name}: {key} {value!r} is not in {manifest.path}: {known}")


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
        "gains_little": (high < margin, low > margin),
        "equivalent": (-margin < low and high < margin, low > margin or high < -margin),
    }[expect]
    return "holds" if holds else "fails" if fails else "undecided"


def _find(claim: Claim, comparison: Comparison, environment: str, data: DataSet) -> Finding:
    metric = comparison.metric or claim.metric
    first, second = (
        data.scores(metric, claim.figure, claim.manifest, environment, _listed(conditions))
        for conditions in (comparison.condition, comparison.versus)
    )
    names = (environment, _listed(comparison.condition)[0], _listed(comparison.versus)[0], comparison.expect, metric)
    if not first or not second:
        return Finding(*names, None, None, "not run", "not run", None)
    found = difference(first, second)
    return Finding(
        *names,
        found,
        probability_of_improvement(first, second),
        decide(found.low, found.high, comparison.expect),
        decide(*found.bootstrap, comparison.expect),
        _seeds_needed(found, comparison.expect),
    )


def _seeds_needed(found: Difference, expect: Expectation) -> int | None:
    """Returns the seeds that would put the interval on one side of the nearest value that decides."""
    distance = min(abs(found.value - boundary) for boundary in BOUNDARIES[expect])
    return seeds_to_exclude(distance, found.deviation)


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
