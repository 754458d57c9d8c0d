"""The report's three files: with the authors' logs alone, with runs of ours, and from the command line."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rlpt.cli import main
from rlpt.manifest import load_manifest
from rlpt.pipeline.execution import Execution, run_job
from rlpt.pipeline.jobs import curves, plan
from rlpt.report.report import write_report
from tests.conftest import REPOSITORY, write_finished_run

EXPERIMENTS = REPOSITORY / "experiments"
COMMITTED = REPOSITORY / "docs" / "report"
FILES = ["claims.json", "index.html", "report.md"]


OWN = """
title = "Mine <&>"
environments = ["reacher-easy"]
seeds = [1, 2]

[conditions.scratch]
label = "Scratch"

[conditions.ik]
label = "IK"
pretrain = "ik"
"""


class Page(HTMLParser):
    """Collects ids, links and whatever would be fetched."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "a":
            self.links.append(given["href"])
        if tag in ("script", "img", "iframe") and "src" in given:
            self.fetched.append(given["src"])
        if tag == "link":
            self.fetched.append(given["href"])


def report(out: Path, *arguments: str) -> Any:
    result = CliRunner().invoke(main, ["report", *arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    return json.loads((out / "claims.json").read_text(encoding="utf-8"))


def finish_figure_8(profile: str, runs: Path, final: float) -> None:
    manifest = load_manifest(EXPERIMENTS / "fig08_ik.toml", profile)
    for curve in curves(manifest):
        level = (final if curve.condition == "baseline" else final + 200) + curve.seed / 100
        write_finished_run(curve.job, runs, [level] * 40)


def test_the_authors_logs_alone_are_worth_a_report(tmp_path: Path) -> None:
    claims = report(tmp_path / "out", "--runs", str(tmp_path / "runs"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    for claim in claims:
        assert set(claim) == {"id", "text", "kind", "source", "manifest", "metric", "data_sets"}
        (data,) = claim["data_sets"]
        assert data["data_set"] == "Authors' logs"
        assert data["profile"] is None
        for comparison in data["comparisons"]:
            if comparison["verdict"] == "holds":
                low, high = comparison["interval"]
                assert low < comparison["difference"] < high
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "none is finished yet" in page
    assert page.count("learned nothing") >= 4
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "| `small-budget`: Out of a budget" in text
    assert text.count("**learned nothing**") == 3
    for line in text.splitlines():
        assert not line.startswith("|") or line.endswith("|")


def test_the_page_stands_alone_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    finish_figure_8("paper", tmp_path / "runs", 300)
    report(tmp_path / "out", "--runs", str(tmp_path / "runs"))
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.fetched == ["data:,"]
    assert "url(" not in text
    assert "@import" not in text
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert (tmp_path / "out" / link).exists(), link
    assert len({link for link in page.links if link.endswith("episodes.csv")}) == 36


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        report(tmp_path / folder, "--runs", str(tmp_path / "runs"))
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_paper_runs_are_held_against_the_authors_and_lite_ones_are_not(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    finish_figure_8("paper", runs, 300)
    finish_figure_8("lite", runs, 400)
    claims = {claim["id"]: claim for claim in report(tmp_path / "out", "--runs", str(runs))}
    verdicts = {data["profile"]: data["verdict"] for data in claims["ik-final"]["data_sets"]}
    assert verdicts == {None: "undecided", "paper": "holds", "lite": "holds"}
    cross = {data["profile"]: data["verdict"] for data in claims["cross-hurts-cheetah"]["data_sets"]}
    assert cross == {None: "undecided", "paper": "fails", "lite": "fails"}
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    agreement = page[page.index('id="agreement"') : page.index('id="statistics"')]
    paper, lite = agreement.split("<h3>Ours, lite profile</h3>")
    assert "Ours minus theirs" in paper
    assert "our curve over theirs" in paper
    assert "Ours minus theirs" not in lite
    assert "our curve over theirs" not in lite
    lite = lite.replace(">25,000<", "><")  # how far ours went
    assert not re.search(r">[^<]*\d\d\d[^<]*<", lite), "a number beside the authors'"


def test_a_manifest_of_one_s_own_is_reported_too(tmp_path: Path) -> None:
    own = tmp_path / "experiments" / "mine.toml"
    own.parent.mkdir()
    own.write_text(OWN)
    for curve in curves(load_manifest(own)):
        write_finished_run(curve.job, tmp_path / "runs", [100.0 + curve.seed] * 20)
    report(tmp_path / "out", str(own), "--profile", "paper", "--runs", str(tmp_path / "runs"))
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert '<figure id="mine">' in page
    assert "Mine &lt;&amp;&gt;" in page


def test_a_real_run_appears_with_its_settings_and_provenance(tmp_path: Path) -> None:
    overrides = ("train.steps=520", "environments=['reacher-easy']")
    manifest = load_manifest(EXPERIMENTS / "fig08_ik.toml", "smoke", overrides)
    job = next(job for job in plan(manifest) if job.stage == "train" and not job.inputs)
    run_job(job, Execution(tmp_path / "runs", tmp_path / "data", "cpu", 1, quiet=True))
    index, *_ = write_report({"smoke": [manifest]}, [tmp_path / "runs"], tmp_path / "out")
    page = index.read_text(encoding="utf-8")
    assert "Ours, smoke profile" in page
    assert "train.steps = 520" in page
    assert f'href="../runs/train/{job.id}/provenance.json"' in page
    assert f'href="../runs/train/{job.id}/episodes.csv"' in page
    assert "(one run: no interval)" in page


def test_the_committed_report_is_what_the_code_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    kept = sorted(map(str, Path("results").glob("*/*")))
    claims = report(tmp_path, *(word for folder in kept for word in ("--runs", folder)))
    committed = json.loads((COMMITTED / "claims.json").read_text(encoding="utf-8"))
    assert claims == committed, f"make it anew: rlpt report --runs {' --runs '.join(kept)} --out docs/report"
    assert (COMMITTED / "report.md").read_text(encoding="utf-8") == (tmp_path / "report.md").read_text(encoding="utf-8")
    assert sum(path.stat().st_size for path in COMMITTED.iterdir()) < 1_500_000


def test_a_manifest_without_finished_runs_is_named(tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text(OWN)
    result = CliRunner().invoke(main, ["report", str(own), "--runs", str(tmp_path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0
    problem = f"rlpt: {own}: nothing of it is finished under profile paper or lite in {tmp_path}: say --profile"
    assert problem in result.stderr


def test_a_copy_of_a_figure_s_manifest_may_rename_its_conditions(tmp_path: Path) -> None:
    """The authors' runs of that figure keep their own names."""
    text = (EXPERIMENTS / "fig08_ik.toml").read_text(encoding="utf-8")
    (tmp_path / "fig08_mine.toml").write_text(text.replace('"IK cheetah"', '"Mine"'))
    (tmp_path / "profiles").symlink_to(EXPERIMENTS / "profiles")
    command = ["report", str(tmp_path / "fig08_mine.toml"), "--runs", str(tmp_path), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(main, command).exit_code == 0
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "Performance profile, Figure 8" in page


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["absent.toml"], "absent.toml: no such file"),
        (["--profile", "huge"], "no profile 'huge'"),
        (["--out", "/dev/null/x"], "choose another folder (--runs, --data, --out)"),
    ],
)
def test_bad_usage_is_one_line(tmp_path: Path, arguments: list[str], problem: str) -> None:
    result = CliRunner().invoke(main, ["report", "--out", str(tmp_path), *arguments])
    assert result.exit_code == 2
    assert problem in result.stderr
    assert result.stderr.count("\n") == 1


def test_manifests_that_the_report_could_not_tell_apart_are_refused(tmp_path: Path) -> None:
    original = REPOSITORY / "experiments" / "fig08_ik.toml"
    copied = tmp_path / original.name
    copied.write_bytes(original.read_bytes())
    result = CliRunner().invoke(main, ["report", str(original), str(copied), "--out", str(tmp_path / "report")])
    assert result.exit_code == 2
    assert (
        "2 manifests are called fig08_ik, and the report tells them apart by name: rename all but one" in result.stderr
    )
