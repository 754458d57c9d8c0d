"""The digest of the authors' logs: what it says, and that it is what the logs say."""

import runpy
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from rlpt.errors import UsageError
from rlpt.results.published import FOLDER, load_published
from tests.conftest import REFERENCE, REPOSITORY

LOGS = REFERENCE / "published_episodes.csv"
needs_logs = pytest.mark.skipif(not LOGS.is_file(), reason=f"the authors' logs are not here: {LOGS}")


def write_digest(logs: Path, out: Path) -> Result:
    main = runpy.run_path(str(REPOSITORY / "paper_figures" / "digest_published.py"))["main"]
    return CliRunner().invoke(main, [str(logs), "--out", str(out)])


@needs_logs
def test_the_committed_digest_is_what_the_logs_give(tmp_path: Path) -> None:
    assert write_digest(REFERENCE, tmp_path).exit_code == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(path.name for path in FOLDER.glob("*.csv"))
    for path in map(tmp_path.joinpath, names):
        assert path.read_bytes() == (FOLDER / path.name).read_bytes()


@needs_logs
def test_final_scores_and_aucs_are_the_published_ones() -> None:
    keys = ["figure", "seed", "gpu_hours", "ms_per_step", "steps"]  # together they name a run
    logs = pd.read_csv(REFERENCE / "published_runs.csv")
    both = pd.read_csv(FOLDER / "runs.csv").merge(logs, on=keys, validate="one_to_one")
    assert len(both) == len(logs) == 93
    assert (both["final"] - both["final15_mean"]).abs().max() < 0.06
    whole = both[both["shared_steps"] == both["steps"]]
    assert len(whole) > 60
    assert (whole["auc"] - whole["auc_mean"]).abs().max() < 0.06


def test_the_means_are_the_paper_s() -> None:
    data = load_published()
    for environment, condition, expected in (
        ("reacher-easy", "ik-reacher", 955),
        ("cheetah-run", "baseline", 319),
        ("walker-walk", "ik-cheetah", 588),
    ):
        runs = data.select(8, "", environment, [condition])
        assert sorted(run.seed for run in runs) == [37, 42, 69]
        assert sum(run.scores["final"] for run in runs) / 3 == pytest.approx(expected, abs=0.6)


def test_figure_11_shares_figure_8_s_baselines() -> None:
    data = load_published()
    assert len(data.runs) == 102
    assert data.distinct == data.planned == 93
    (shared, *_), (own, *_) = (
        data.select(figure, "", "walker-walk", [condition]) for figure, condition in ((11, "t0"), (8, "baseline"))
    )
    assert shared.seed == 37
    assert shared.scores["final"] == own.scores["final"]
    assert (shared.scores["auc"], own.scores["auc"]) == (320.78, 363.76)


def test_areas_of_runs_that_ended_early_are_over_the_same_steps() -> None:
    data = load_published()
    for environment, areas in (("cheetah-run", (83.49, 97.97)), ("walker-walk", None)):
        pair = [data.select(9, "", environment, [name])[0] for name in ("baseline", "imagenet")]
        assert {run.shared_steps for run in pair} == {min(run.steps for run in pair)}
        if areas:
            assert tuple(run.scores["auc"] for run in pair) == areas


def test_curves_are_thinned_and_smoothed() -> None:
    (run, *_) = load_published().select(8, "", "walker-walk", ["baseline"])
    assert run.curve["step"].tolist()[:3] == [2500, 5000, 7500]
    assert run.curve["step"].max() <= run.steps
    assert run.curve["smoothed"].diff().abs().mean() < run.curve["return"].diff().abs().mean()


def test_three_encoders_had_learned_nothing() -> None:
    encoders = load_published().encoders
    assert len(encoders) == 21
    dead = {(each.environment, each.transitions, each.video) for each in encoders if each.test_r2 <= 0}
    assert dead == {("reacher-easy", 200_000, "99"), ("walker-walk", 5_000, ""), ("walker-walk", 10_000, "")}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"runs\.csv: no such file"):
        load_published(tmp_path)
    result = write_digest(tmp_path, tmp_path / "out")
    assert result.exit_code == 2
    assert "published_episodes.csv: no such file" in result.output
    assert not (tmp_path / "out").exists()


def test_the_classifier_s_accuracy_is_a_share() -> None:
    (classifier,) = load_published().classifiers
    assert classifier.top1 == pytest.approx(0.6435, abs=1e-4)  # after epoch 400, whose encoder the authors used
    assert classifier.chance == 0.01
