"""Claims: entries that are refused, and verdicts that come from intervals alone."""

from dataclasses import replace
from math import nan
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlpt.claims import (
    BOUNDARIES,
    EXPECTATIONS,
    VERDICTS,
    Claim,
    Expectation,
    Verdict,
    check_claims,
    combined,
    decide,
    judge,
    load_claims,
)
from rlpt.errors import UsageError
from rlpt.manifest import load_manifest
from rlpt.published import load_published
from rlpt.results import Classifier, DataSet, Run
from tests.conftest import REPOSITORY

ENTRY = """
[claims.one]
text = "x"
section = "1"
figure = 8
manifest = "fig08_ik"
metric = "final"
compare = [{ environments = ["walker-walk"], condition = "ik-walker", versus = "baseline", expect = "greater" }]
"""
VALUE = st.floats(-500, 500)


def run(condition: str, seed: int, final: float, environment: str = "walker-walk") -> Run:
    return Run(
        figure=8, manifest="fig08_ik", environment=environment, condition=condition, label=condition,
        pretrained=condition != "baseline", seed=seed, video="", episodes=1, steps=250,
        scores={"final": final, "auc": final, "early": final}, curve=pd.DataFrame(), encoder=None, hours=1.0,
        steps_per_second=1.0,
    )  # fmt: skip


def data(*runs: Run, classifiers: tuple[Classifier, ...] = ()) -> DataSet:
    return DataSet("test", "paper", runs, (), classifiers, len(runs))


@pytest.fixture
def claim(tmp_path: Path) -> Claim:
    path = tmp_path / "claims.toml"
    path.write_text(ENTRY)
    return load_claims(path)["one"]


@given(VALUE, VALUE, st.sampled_from(list(EXPECTATIONS)))
def test_a_verdict_needs_the_whole_interval(one: float, other: float, expect: Expectation) -> None:
    low, high = sorted((one, other))
    verdict = decide(low, high, expect)
    if any(low < boundary < high for boundary in BOUNDARIES[expect]):
        assert verdict == "undecided"
    inner = decide((low + high) / 2, (low + high) / 2, expect)
    if verdict != "undecided":
        assert inner == verdict  # what a whole interval says, each part of it says


@pytest.mark.parametrize(
    ("expect", "low", "high", "verdict"),
    [
        ("greater", 1, 9, "holds"), ("greater", -9, -1, "fails"), ("greater", -1, 9, "undecided"),
        ("greater", 0, 9, "undecided"), ("less", -9, -1, "holds"), ("less", 1, 9, "fails"),
        ("gains_little", -500, 99, "holds"), ("gains_little", 101, 500, "fails"), ("gains_little", 0, 101, "undecided"),
        ("equivalent", -99, 99, "holds"), ("equivalent", -200, -101, "fails"), ("equivalent", -101, 9, "undecided"),
        ("greater", nan, nan, "undecided"), ("equivalent", nan, nan, "undecided"), ("less", nan, nan, "undecided"),
    ],
)  # fmt: skip
def test_what_an_interval_decides(expect: Expectation, low: float, high: float, verdict: Verdict) -> None:
    assert decide(low, high, expect) == verdict


@given(st.lists(st.sampled_from(VERDICTS), min_size=1, max_size=6))
def test_all_comparisons_must_hold(verdicts: list[Verdict]) -> None:
    found = combined(verdicts)
    assert (found == "holds") == all(each == "holds" for each in verdicts)
    assert (found == "fails") == ("fails" in verdicts)
    assert (found == "not run") == all(each == "not run" for each in verdicts)


def test_a_verdict_is_never_the_point_estimate_s(claim: Claim) -> None:
    scattered = [run("ik-walker", 1, 900), run("ik-walker", 2, 310), run("ik-walker", 3, 500)]
    steady = [run("ik-walker", 1, 410), run("ik-walker", 2, 411), run("ik-walker", 3, 412)]
    baseline = [run("baseline", seed, 300) for seed in (1, 2, 3)]
    found = judge(claim, data(*scattered, *baseline))
    assert (found.verdict, found.bootstrap_verdict, found.seeds) == ("undecided", "holds", "3")
    assert found.score == "1 comparison: 1 undecided"
    assert found.power_note.startswith("about ")
    assert judge(claim, data(*steady, *baseline)).verdict == "holds"
    lower = [replace(each, scores={"final": 100 + each.seed}) for each in steady]
    assert judge(claim, data(*lower, *baseline)).verdict == "fails"


def test_runs_that_are_missing_leave_a_claim_open(claim: Claim) -> None:
    assert judge(claim, data()).verdict == "not run"
    assert judge(claim, data(run("baseline", 1, 5))).verdict == "not run"
    alone = judge(claim, data(run("baseline", 1, 5), run("ik-walker", 1, 500)))
    assert (alone.verdict, alone.seeds) == ("undecided", "1")
    assert "one run each" in alone.power_note


def test_classifiers_are_compared_by_their_seeds() -> None:
    entry = load_claims()["grouped-convolutions"]
    own = [Classifier("grouping", f"{name}-{seed}" if seed else name, seed, top1 + seed / 1000, 0.01)
           for name, top1 in (("grouped", 0.6), ("standard", 0.3)) for seed in range(3)]  # fmt: skip
    assert judge(entry, data(classifiers=tuple(own))).verdict == "holds"
    assert judge(entry, data(classifiers=tuple(own[:3]))).verdict == "not run"


def test_what_the_authors_logs_say() -> None:
    """Three seeds settle none of the claims; single comparisons are another matter."""
    logs = load_published()
    verdicts = {name: judge(entry, logs) for name, entry in load_claims().items()}
    assert {name for name, found in verdicts.items() if found.verdict == "not run"} == {
        "grouped-convolutions", "head-init-control", "head-init-alone",
    }  # fmt: skip
    assert {found.verdict for found in verdicts.values()} == {"undecided", "not run"}
    reacher = verdicts["ik-final"].findings[1]
    assert (reacher.environment, reacher.verdict) == ("reacher-easy", "holds")
    assert verdicts["small-budget"].bootstrap_verdict == "fails"
    assert verdicts["imagenet-walker-lower"].seeds == "1"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('metric = "final"', 'metric = "best"', "claims.one.metric: input should be 'final', 'auc', 'early' or 'top1'"),
        ('expect = "greater"', 'expect = "better"', "expect: input should be 'greater'"),
        ("expect =", "metrik = 'auc', expect =", "unknown key; did you mean 'metric'?"),
        ('metric = "final"', 'metric = "final"\nmargin = 3', "claims.one.margin: unknown key"),
        ("[claims.one]", "[claim.one]", "claims: missing"),
        ('section = "1"\n', "", "claims.one.section: missing"),
        ('"walker-walk"', '"walker-wlak"', "did you mean 'walker-walk'?"),
        ("figure = 8", "figure = -8", "claims.one.figure: input should be greater than or equal to 0 (given: -8)"),
    ],
)
def test_a_bad_entry_is_one_line_with_its_place(tmp_path: Path, old: str, new: str, problem: str) -> None:
    path = tmp_path / "claims.toml"
    path.write_text(ENTRY.replace(old, new))
    with pytest.raises(UsageError) as caught:
        load_claims(path)
    assert str(path) in str(caught.value)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_accuracy_has_no_margin_in_returns(tmp_path: Path) -> None:
    path = tmp_path / "claims.toml"
    path.write_text(ENTRY.replace('"final"', '"top1"').replace('"greater"', '"equivalent"'))
    with pytest.raises(UsageError, match=r"claims\.one: expect = .* a margin in returns"):
        load_claims(path)


def test_a_claim_about_what_is_not_in_the_manifest_is_refused(tmp_path: Path) -> None:
    manifest = load_manifest(REPOSITORY / "experiments" / "fig08_ik.toml")
    path = tmp_path / "claims.toml"
    for old, new in (('"ik-walker"', '"ik-wlaker"'), ('"baseline"', '["baseline", "nobody"]')):
        path.write_text(ENTRY.replace(old, new))
        with pytest.raises(UsageError, match=r"claims\.one: \w+ .* is not in .*fig08_ik\.toml"):
            check_claims(load_claims(path), {"fig08_ik": manifest}, path)


def test_every_claim_fits_its_manifest_and_says_where_it_is_from() -> None:
    folder = REPOSITORY / "experiments"
    paths = [*folder.glob("*.toml"), *(folder / "extra").glob("*.toml")]
    manifests = {path.stem: load_manifest(path) for path in paths}
    claims = load_claims()
    check_claims(claims, manifests)
    for claim in claims.values():
        assert claim.manifest in manifests
        assert claim.section
