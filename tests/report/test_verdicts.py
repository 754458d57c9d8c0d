"""Verdicts, which come from intervals alone."""

from dataclasses import replace
from math import nan

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlpt.report.claims import EXPECTATIONS, Claim, Comparison, Expectation, Gain, load_claims
from rlpt.report.verdicts import BOUNDARIES, VERDICTS, Verdict, combined, decide, judge
from rlpt.results.published import load_published
from rlpt.results.records import Classifier, DataSet, Run
from rlpt.stats import seeds_to_exclude

VALUE = st.floats(-500, 500)


def run(condition: str, seed: int, final: float, environment: str = "walker-walk") -> Run:
    return Run(
        figure=8, manifest="fig08_ik", environment=environment, condition=condition, label=condition,
        pretrained=condition != "baseline", seed=seed, video="", steps=250, shared_steps=250,
        scores={"final": final, "auc": final, "early": final}, curve=pd.DataFrame(), encoder=None, hours=1.0,
        steps_per_second=1.0,
    )  # fmt: skip


def data(*runs: Run, classifiers: tuple[Classifier, ...] = ()) -> DataSet:
    return DataSet("test", "paper", runs, (), classifiers, len(runs))


def claim(than: Gain | None = None) -> Claim:
    comparison = Comparison(
        environments=["walker-walk"], condition="ik-walker", versus="baseline", expect="greater", than=than
    )
    return Claim(text="x", section="1", figure=8, manifest="fig08_ik", metric="final", compare=[comparison])


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
        ("gains_much", 101, 500, "holds"), ("gains_much", -5, 99, "fails"), ("gains_much", 99, 300, "undecided"),
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


def test_a_verdict_is_never_the_point_estimate_s() -> None:
    scattered = [run("ik-walker", 1, 900), run("ik-walker", 2, 310), run("ik-walker", 3, 500)]
    steady = [run("ik-walker", 1, 410), run("ik-walker", 2, 411), run("ik-walker", 3, 412)]
    baseline = [run("baseline", seed, 300) for seed in (1, 2, 3)]
    found = judge(claim(), data(*scattered, *baseline))
    assert (found.verdict, found.bootstrap_verdict, found.seeds) == ("undecided", "holds", "3")
    assert found.score == "1 comparison: 1 undecided"
    assert found.power_note.startswith("about ")
    assert judge(claim(), data(*steady, *baseline)).verdict == "holds"
    lower = [replace(each, scores={"final": 100 + each.seed}) for each in steady]
    assert judge(claim(), data(*lower, *baseline)).verdict == "fails"


@pytest.mark.parametrize(
    ("expect", "distance"),
    [("greater", 60), ("less", 60), ("gains_much", 40), ("gains_little", 40), ("equivalent", 40)],
)
def test_seeds_are_counted_to_the_nearest_value_that_decides(expect: Expectation, distance: float) -> None:
    runs = [run("ik-walker", seed, final) for seed, final in ((1, 280), (2, 360), (3, 440))]
    runs += [run("baseline", seed, 300) for seed in (1, 2, 3)]
    comparison = claim().compare[0].model_copy(update={"expect": expect})
    (found,) = judge(claim().model_copy(update={"compare": [comparison]}), data(*runs)).findings
    assert found.seeds_needed == seeds_to_exclude(distance, 80)
    assert found.probability is not None
    assert found.probability.value == pytest.approx(2 / 3), "that the condition beats what it is compared with"


def test_the_comparison_that_needs_most_seeds_says_how_many() -> None:
    runs = [run("ik-walker", seed, final) for seed, final in ((1, 900), (2, 310), (3, 500))]
    runs += [run("ik-walker", seed, final, "reacher-easy") for seed, final in ((1, 800), (2, -150), (3, 340))]
    runs += [run("baseline", seed, 300, name) for seed in (1, 2, 3) for name in ("walker-walk", "reacher-easy")]
    both = claim().compare[0].model_copy(update={"environments": ["walker-walk", "reacher-easy"]})
    assert judge(claim().model_copy(update={"compare": [both]}), data(*runs)).power_note == "over 1,000"


def test_seeds_settle_only_what_was_run() -> None:
    baseline = [run("baseline", seed, 300) for seed in (1, 2, 3)]
    scattered = [run("ik-walker", seed, final) for seed, final in ((1, 900), (2, 310), (3, 500))]
    both = claim().compare[0].model_copy(update={"environments": ["walker-walk", "reacher-easy"]})
    found = judge(claim().model_copy(update={"compare": [both]}), data(*scattered, *baseline))
    assert found.score == "2 comparisons: 1 undecided, 1 not run"
    assert found.power_note == f"{judge(claim(), data(*scattered, *baseline)).power_note}, for those that ran"


def test_runs_that_are_missing_leave_a_claim_open() -> None:
    assert judge(claim(), data()).verdict == "not run"
    assert judge(claim(), data(run("baseline", 1, 5))).verdict == "not run"
    alone = judge(claim(), data(run("baseline", 1, 5), run("ik-walker", 1, 500)))
    assert (alone.verdict, alone.seeds) == ("undecided", "1")
    assert "one run each" in alone.power_note


def test_gains_of_two_experiments_are_compared_without_pairs() -> None:
    """A gain of about 100 against one of about 30, each over its own baseline."""
    here = [run("ik-walker", seed, 400 + seed) for seed in (1, 2, 3)]
    here += [run("baseline", seed, 300) for seed in (1, 2, 3)]
    there = [replace(run("ik", seed, 130 - seed), figure=10, manifest="fig10_ik") for seed in (1, 2, 3)]
    there += [replace(run("baseline", seed, 100), figure=10, manifest="fig10_ik") for seed in (1, 2, 3)]
    entry = claim(Gain(figure=10, manifest="fig10_ik", condition="ik", versus="baseline"))
    (found,) = judge(entry, data(*here, *there)).findings
    assert (found.condition, found.versus) == ("ik-walker − baseline", "ik − baseline of fig10_ik")
    assert found.difference is not None
    assert found.difference.value == pytest.approx(102 - 28)
    assert not found.difference.paired
    assert found.verdict == "holds"
    assert judge(entry, data(*here, *there[:3])).verdict == "not run"
    shorter = [replace(each, steps=100) for each in there]
    assert judge(entry, data(*here, *shorter)).findings[0].lengths == "250 against 100 steps"


def test_runs_of_unequal_length_are_named() -> None:
    longer = [replace(run("baseline", seed, 300), steps=500 + seed) for seed in (1, 2)]
    (found,) = judge(claim(), data(run("ik-walker", 1, 400), run("ik-walker", 2, 400), *longer)).findings
    assert found.lengths == "250 against 501–502 steps"
    of_area = claim().model_copy(update={"metric": "auc"})  # over the steps that all have
    assert judge(of_area, data(run("ik-walker", 1, 400), *longer)).findings[0].lengths == ""
    (found,) = judge(claim(), data(run("ik-walker", 1, 400), run("baseline", 1, 400))).findings
    assert found.lengths == ""


def test_a_margin_is_set_beside_the_score_that_it_is_a_part_of() -> None:
    runs = data(
        *(run("ik-walker", seed, 260 + seed) for seed in (1, 2)), *(run("baseline", seed, 250) for seed in (1, 2))
    )
    for expect, share, verdict in (
        ("greater", None, "holds"),
        ("gains_much", 0.4, "fails"),
        ("equivalent", 0.4, "holds"),
    ):
        comparison = claim().compare[0].model_copy(update={"expect": expect})
        (found,) = judge(claim().model_copy(update={"compare": [comparison]}), runs).findings
        assert (found.margin_share, found.verdict) == (share, verdict)


def test_classifiers_are_compared_by_their_seeds() -> None:
    entry = load_claims()["grouped-convolutions"]
    own = [Classifier("grouping", f"{name}-{seed}" if seed else name, seed, top1 + seed / 1000, 0.01)
           for name, top1 in (("grouped", 0.6), ("standard", 0.3)) for seed in range(3)]  # fmt: skip
    assert judge(entry, data(classifiers=tuple(own))).verdict == "holds"
    assert judge(entry, data(classifiers=tuple(own[:3]))).verdict == "not run"


def test_what_the_authors_logs_say() -> None:
    """Three seeds settle none of the claims; single comparisons are another matter."""
    logs = load_published()
    claims = load_claims()
    verdicts = {name: judge(entry, logs) for name, entry in claims.items()}
    of_figures = {name for name, entry in claims.items() if entry.figure}
    assert {name for name in of_figures if verdicts[name].verdict == "not run"} == set()
    assert verdicts["grouped-convolutions"].verdict == "not run", "the published log has one run of one kind"
    assert {found.verdict for found in verdicts.values()} == {"undecided", "not run"}
    assert verdicts["distracted-imagenet"].findings[0].lengths == "56,250 against 80,000 steps"
    reacher = verdicts["ik-final"].findings[1]
    assert (reacher.environment, reacher.verdict) == ("reacher-easy", "holds")
    assert verdicts["small-budget"].bootstrap_verdict == "fails"
    assert verdicts["imagenet-walker-lower"].seeds == "1"


def test_an_end_on_the_margin_decides_nothing() -> None:
    assert decide(0, 100, "gains_little") == decide(-100, 0, "equivalent") == "undecided"


def test_an_accuracy_is_that_of_its_own_figure() -> None:
    classifiers = tuple(
        Classifier(name, "imagenet", 0, top1, 0.01)
        for name, top1 in (("fig07_imagenet", 0.5), ("fig09_imagenet_distracted", 0.2))
    )
    assert data(classifiers=classifiers).scores("top1", 7, "fig07_imagenet", "", ["imagenet"]) == {0: 0.5}
