"""Claims: entries that are refused."""

from pathlib import Path

import pytest

from rlpt.errors import UsageError
from rlpt.manifest import load_manifest
from rlpt.report.claims import Claim, Comparison, Expectation, check_claims, load_claims
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


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('metric = "final"', 'metric = "best"', "claims.one.metric: input should be 'final', 'auc', 'early' or 'top1'"),
        ('expect = "greater"', 'expect = "better"', "expect: input should be 'greater'"),
        ("expect =", "metrik = 'auc', expect =", "unknown key; did you mean 'metric'?"),
        ('metric = "final"', 'metric = "final"\nmargin = 3', "claims.one.margin: unknown key"),
        ("[claims.one]", "[claim.one]", "claim: unknown key; did you mean 'claims'?"),
        ('section = "1"\n', "", "claims.one.section: missing"),
        ('["walker-walk"]', "[]", "claims.one.compare.0.environments: "),
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


def test_gains_are_of_returns(tmp_path: Path) -> None:
    path = tmp_path / "claims.toml"
    than = '"greater", than = { figure = 7, manifest = "fig07_imagenet", condition = "imagenet", versus = "baseline" }'
    path.write_text(ENTRY.replace('"greater"', than))
    assert load_claims(path)["one"].compare[0].than is not None
    entry = ENTRY.replace('"greater"', than)
    several = entry.replace('versus = "baseline", expect', 'versus = ["baseline", "ik-reacher"], expect')
    for text in (entry.replace('"final"', '"top1"'), several):
        path.write_text(text)
        with pytest.raises(UsageError, match=r"claims\.one: than compares gains in returns"):
            load_claims(path)
    path.write_text(entry.replace("than = {", "than = { manifst = 1,"))
    with pytest.raises(UsageError, match=r"than\.manifst: unknown key; did you mean 'manifest'\?"):
        load_claims(path)
    path.write_text(entry.replace('"imagenet"', '"ik"'))
    manifest = load_manifest(REPOSITORY / "experiments" / "fig07_imagenet.toml")
    with pytest.raises(UsageError, match=r"claims\.one: than: condition 'ik' is not in .*fig07_imagenet\.toml"):
        check_claims(load_claims(path), {"fig07_imagenet": manifest}, path)


def test_a_claim_about_what_is_not_in_the_manifest_is_refused(tmp_path: Path) -> None:
    manifest = load_manifest(REPOSITORY / "experiments" / "fig08_ik.toml")
    path = tmp_path / "claims.toml"
    for old, new in (('"ik-walker"', '"ik-wlaker"'), ('"baseline"', '["baseline", "nobody"]')):
        path.write_text(ENTRY.replace(old, new))
        with pytest.raises(UsageError, match=r"claims\.one: \w+ .* is not in .*fig08_ik\.toml"):
            check_claims(load_claims(path), {"fig08_ik": manifest}, path)


def test_a_claim_about_another_figure_or_no_manifest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "claims.toml"
    path.write_text(ENTRY.replace("figure = 8", "figure = 9"))
    with pytest.raises(UsageError, match=r"claims\.one: figure is 9, but manifest 'fig08_ik'"):
        check_claims(load_claims(path), {}, path)
    path.write_text(ENTRY.replace("fig08_ik", "fig08_kinematics"))
    with pytest.raises(UsageError, match=r"claims\.one: manifest 'fig08_kinematics' is neither in experiments/"):
        check_claims(load_claims(path), {}, path)


def test_every_claim_fits_its_manifest_and_says_where_it_is_from() -> None:
    folder = REPOSITORY / "experiments"
    paths = [*folder.glob("*.toml"), *(folder / "extra").glob("*.toml")]
    manifests = {path.stem: load_manifest(path) for path in paths}
    claims = load_claims()
    check_claims(claims, manifests)
    for claim in claims.values():
        assert claim.manifest in manifests
        assert claim.section
        for each in claim.compare:
            assert set(each.environments) <= {"", *manifests[claim.manifest].environments}


@pytest.mark.parametrize("expect", ["gains_much", "gains_little", "equivalent"])
def test_a_margin_in_returns_says_nothing_of_accuracies(expect: Expectation) -> None:
    compare = [Comparison(condition="a", versus="b", expect=expect)]
    with pytest.raises(ValueError, match="margin in returns"):
        Claim(text="x", section="1", figure=8, manifest="fig08_ik", metric="top1", compare=compare)
