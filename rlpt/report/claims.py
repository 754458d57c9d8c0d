"""The paper's claims as entries of paper_figures/claims.toml."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rlpt.checkout import ROOT
from rlpt.documents import load_document
from rlpt.envs.tasks import split_name
from rlpt.errors import UsageError
from rlpt.manifest import Manifest, Name
from rlpt.results.records import figure_number
from rlpt.settings import Section

CLAIMS = ROOT / "paper_figures" / "claims.toml"
MARGIN = 100.0
"What counts as little: 10 % of 1,000, the highest return of a task."

Metric = Literal["final", "auc", "early", "top1"]
Expectation = Literal["greater", "less", "gains_much", "gains_little", "equivalent"]

METRICS: dict[Metric, str] = {
    "final": "final score: mean return of the last 15 training episodes",
    "auc": "AUC: mean return over the training episodes up to where the shortest run on the task ends",
    "early": "early score: mean return over the first quarter of these episodes",
    "top1": "top-1 accuracy on the validation images",
}
WITH_MARGIN: tuple[Expectation, ...] = ("gains_much", "gains_little", "equivalent")
EXPECTATIONS: dict[Expectation, str] = {
    "greater": "above",
    "less": "below",
    "gains_much": f"more than {MARGIN:g} above",
    "gains_little": f"less than {MARGIN:g} above",
    "equivalent": f"within ±{MARGIN:g} of",
}


class Gain(Section):
    """What a condition gains over another, in a second experiment: `than = { … }`."""

    figure: Annotated[int, Field(ge=0)]
    manifest: Name
    condition: str
    versus: str


class Comparison(Section):
    """One comparison that a claim makes, on each of its environments."""

    environments: Annotated[list[str], Field(min_length=1)] = [""]
    "Left out where there is none: a classifier's accuracy."
    condition: str | list[str]
    "A condition of the manifest; several are further seeds of one."
    versus: str | list[str]
    expect: Expectation
    metric: Metric | None = None
    "Left out: the claim's."
    than: Gain | None = None
    "Compares the gain of `condition` over `versus` with this other gain, not the two conditions."

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
    "A control that the paper lacks, or a reading that its text leaves open: not one of its claims."

    @property
    def figures(self) -> list[int]:
        """The paper's figures that are compared."""
        return sorted({self.figure, *(each.than.figure for each in self.compare if each.than)} - {0})

    @model_validator(mode="after")
    def _margins_are_returns(self) -> Self:
        for each in self.compare:
            accuracy = (each.metric or self.metric) == "top1"
            if accuracy and each.expect in WITH_MARGIN:
                raise ValueError(f'expect = "{each.expect}" has a margin in returns, and top1 is an accuracy')
            if each.than and (accuracy or isinstance(each.condition, list) or isinstance(each.versus, list)):
                raise ValueError("than compares gains in returns of one condition over another")
        return self


class _Document(Section):
    claims: Annotated[dict[Name, Claim], Field(min_length=1)]


def load_claims(path: Path = CLAIMS) -> dict[str, Claim]:
    """Reads the claims by id.

    Raises:
        UsageError: one line that names file, key, what was given and what is accepted.
    """
    return load_document(_Document, path).claims


def judged_manifests() -> list[Path]:
    """Returns what a report looks at unless told otherwise: those of the paper's figures, and the controls."""
    folder = ROOT / "experiments"
    return [*sorted(folder.glob("fig*.toml")), *sorted((folder / "extra").glob("*.toml"))]


def check_claims(claims: Mapping[str, Claim], manifests: Mapping[str, Manifest], path: Path = CLAIMS) -> None:
    """Raises UsageError if a claim names a manifest that there is not, or what its manifest (by name) does not have."""
    for name, claim in claims.items():
        for each in claim.compare:
            _check(f"{path}: claims.{name}", claim, each, manifests)
            if each.than:
                _check(f"{path}: claims.{name}: than", each.than, each.than, manifests)


def _check(place: str, source: Claim | Gain, conditions: Comparison | Gain, manifests: Mapping[str, Manifest]) -> None:
    name = source.manifest
    if not any((ROOT / "experiments" / folder / f"{name}.toml").is_file() for folder in ("", "extra")):
        raise UsageError(f"{place}: manifest {name!r} is neither in experiments/ nor in experiments/extra/")
    if source.figure and figure_number(name) not in (0, source.figure):
        raise UsageError(f"{place}: figure is {source.figure}, but manifest {name!r}")
    if name not in manifests:  # of a report on others
        return
    manifest = manifests[name]
    known = [resolved.name for resolved in manifest.conditions]
    for key, given in (("condition", conditions.condition), ("versus", conditions.versus)):
        for value in listed(given):
            if value not in known:
                raise UsageError(
                    f"{place}: {key} {value!r} is not in {manifest.path}: {', '.join(known)} (a copy that is not what "
                    "the claim is about needs another name)"
                )


def listed(value: str | list[str]) -> list[str]:
    """Returns the conditions that an entry names."""
    return [value] if isinstance(value, str) else value
