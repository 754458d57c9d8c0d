"""Runs from folders as records, their agreement with the authors' logs, and their statistics."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import trim_mean

from rlpt.errors import UsageError
from rlpt.manifest import Manifest, load_manifest
from rlpt.pipeline.jobs import curves
from rlpt.report import agreement
from rlpt.report.agreement import agreements, directions, encoder_outcomes
from rlpt.report.summaries import across_tasks, condition_summaries
from rlpt.results.published import load_published
from rlpt.results.records import DataSet, Run, figure_number, load_runs
from rlpt.results.run_files import read_returns
from tests.conftest import REPOSITORY, write_finished_run

FIGURE_8 = REPOSITORY / "experiments" / "fig08_ik.toml"
EPISODES = 60
LEVELS = {"baseline": 300.0, "ik-cheetah": 305.0, "ik-reacher": 800.0, "ik-walker": 200.0}


def finish(manifest: Manifest, runs: Path, episodes: int = EPISODES) -> DataSet:
    """Finishes all runs of a manifest: each condition of Figure 8 at its level, seeds one apart."""
    for curve in curves(manifest):
        offset = manifest.seeds.index(curve.seed)
        write_finished_run(
            curve.job, runs, list(np.linspace(0, 2, episodes) + LEVELS.get(curve.condition, 300) + offset)
        )
    return load_runs([manifest], [runs], "Ours")


def test_a_run_folder_as_a_record(tmp_path: Path) -> None:
    manifest = load_manifest(FIGURE_8)
    data = finish(manifest, tmp_path)
    assert (len(data.runs), data.planned, data.distinct) == (36, 36, 36)
    (run,) = (each for each in data.select(8, "fig08_ik", "reacher-easy", ["ik-cheetah"]) if each.seed == 42)
    assert run.scores["auc"] == pytest.approx(307)
    assert run.scores["final"] == pytest.approx(306 + np.linspace(0, 2, EPISODES)[-15:].mean())
    assert run.scores["early"] == pytest.approx(306 + np.linspace(0, 2, EPISODES)[:15].mean())
    assert (run.hours, run.steps) == (0.5, 80_000)
    assert run.steps_per_second == pytest.approx(80_000 / 1800)
    assert run.encoder is not None
    assert (run.encoder.environment, run.encoder.transitions) == ("cheetah-run", 200_000)
    assert run.encoder.test_r2 == pytest.approx(0.9)
    assert len(data.encoders) == 3
    assert len(run.curve) == EPISODES


def test_what_leads_up_to_the_end_is_compared_over_steps_that_all_conditions_have(tmp_path: Path) -> None:
    manifest = load_manifest(FIGURE_8.with_name("fig11_budget.toml"))
    for curve in curves(manifest):
        write_finished_run(curve.job, tmp_path, [100.0] * 240 + [900.0] * (curve.job.settings.train.steps // 250 - 240))
    data = load_runs([manifest], [tmp_path], "Ours")
    assert {run.condition: run.scores["auc"] for run in data.runs} == dict.fromkeys(
        ("t0", "t5000", "t10000", "t20000"), 100
    )
    assert {run.scores["early"] for run in data.runs} == {100}
    assert {run.scores["final"] for run in data.runs} == {100, 900}


@pytest.mark.parametrize("name", ["fig08_ik.toml", "fig08_of_mine.toml"])
def test_a_copy_with_more_seeds_is_still_the_paper_s_figure(tmp_path: Path, name: str) -> None:
    copy = tmp_path / name
    copy.write_text(FIGURE_8.read_text().replace("[37, 42, 69]", "[37, 42, 69, 1]"))
    data = finish(load_manifest(copy), tmp_path / "runs", 12)
    assert {run.figure for run in data.runs} == {8}
    assert {run.seed for run in data.runs} == {37, 42, 69, 1}
    if name == FIGURE_8.name:
        repeated = load_manifest(FIGURE_8.parent / "extra" / "fig11_published.toml")
        assert {run.figure for run in finish(repeated, tmp_path / "repeated", 12).runs} == {11}
    copy.write_text(copy.read_text() + "[train]\nsteps = 3000\n")
    assert {run.figure for run in finish(load_manifest(copy), tmp_path / "others", 12).runs} == {0}


def test_a_copy_with_other_settings_is_never_held_against_the_paper(tmp_path: Path) -> None:
    text = FIGURE_8.read_text()
    for place, name in (("same", ""), ("other", "[train]\nsteps = 3000\n")):
        (tmp_path / place).mkdir()
        copy = tmp_path / place / FIGURE_8.name
        copy.write_text(f"{text}\n{name}")
        data = finish(load_manifest(copy), tmp_path / place / "runs", 12)
        assert len(agreements(data, load_published())) == (24 if place == "same" else 0)
        assert len(data.select(8, "fig08_ik", "reacher-easy", ["baseline"])) == (3 if place == "same" else 0)


def test_unfinished_runs_are_left_out_and_folders_add_up(tmp_path: Path) -> None:
    manifest = load_manifest(FIGURE_8)
    first, second, *_ = curves(manifest)
    write_finished_run(first.job, tmp_path / "a", [1.0])
    write_finished_run(second.job, tmp_path / "b", [2.0])
    data = load_runs([manifest], [tmp_path / "a", tmp_path / "b"], "Ours")
    assert [run.scores["final"] for run in data.runs] == [1, 2]
    assert load_runs([manifest], [tmp_path / "nowhere"], "Ours").runs == ()


def test_of_a_run_that_several_folders_have_the_first_counts(tmp_path: Path) -> None:
    manifest = load_manifest(FIGURE_8)
    one, other = tmp_path / "one", tmp_path / "other"
    write_finished_run(curves(manifest)[0].job, one, [1.0])
    write_finished_run(curves(manifest)[0].job, other, [2.0])
    for folders, final in (([one, other], 1), ([other, one], 2)):
        (run,) = load_runs([manifest], folders, "Ours").runs
        assert run.scores["final"] == final


def test_a_curve_is_smoothed_as_its_manifest_says(tmp_path: Path) -> None:
    manifest = load_manifest(FIGURE_8, None, ("plot.smoothing=2",))
    write_finished_run(curves(manifest)[0].job, tmp_path, [0.0, 100.0, 200.0])
    (run,) = load_runs([manifest], [tmp_path], "Ours").runs
    assert run.curve["smoothed"].tolist() == [0, 50, 150]


def test_runs_behind_several_videos_are_repetitions_of_their_own(tmp_path: Path) -> None:
    manifest = load_manifest(FIGURE_8.with_name("fig10_ik_distracted.toml"))
    for number, curve in enumerate(curves(manifest)):
        write_finished_run(curve.job, tmp_path, [float(number)])
    data = load_runs([manifest], [tmp_path], "Ours")
    scores = data.scores("final", 10, manifest.name, "reacher-easy", ["ik"])
    (seed,) = manifest.seeds
    assert set(scores) == {(seed, "0"), (seed, "1"), (seed, "99")}
    assert len(set(scores.values())) == 3
    behind = {(encoder.environment, encoder.video) for encoder in data.encoders}
    assert behind == set(product(manifest.environments, ("0", "1", "99")))


def test_a_run_that_several_manifests_share_counts_once(tmp_path: Path) -> None:
    manifests = [load_manifest(FIGURE_8), load_manifest(FIGURE_8.with_name("fig11_budget.toml"))]
    write_finished_run(curves(manifests[0])[0].job, tmp_path, [1.0])
    data = load_runs(manifests, [tmp_path], "Ours")
    assert [run.condition for run in data.runs] == ["baseline", "t0"]
    assert (data.distinct, data.planned) == (1, 36 + 27)


def test_an_experiment_with_nothing_but_another_s_runs_is_left_out(tmp_path: Path) -> None:
    manifests = [load_manifest(FIGURE_8), load_manifest(FIGURE_8.with_name("fig11_budget.toml"))]
    for curve in (curves(manifests[0])[0], curves(manifests[0])[3]):
        write_finished_run(curve.job, tmp_path, [1.0])
    assert {run.manifest for run in load_runs(manifests, [tmp_path], "Ours").runs} == {"fig08_ik"}
    own = next(curve for curve in curves(manifests[1]) if curve.condition == "t5000")
    write_finished_run(own.job, tmp_path, [1.0])
    assert {run.manifest for run in load_runs(manifests, [tmp_path], "Ours").runs} == {"fig08_ik", "fig11_budget"}


def test_a_finished_experiment_is_kept_though_another_has_all_its_runs(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'title = "Mine"\nenvironments = ["reacher-easy"]\nseeds = [37]\n[conditions.baseline]\nlabel = "Scratch"\n'
    )
    manifests = [load_manifest(mine), load_manifest(FIGURE_8)]
    for curve in curves(manifests[1])[12:14]:
        write_finished_run(curve.job, tmp_path, [1.0])
    assert {run.manifest for run in load_runs(manifests, [tmp_path], "Ours").runs} == {"mine", "fig08_ik"}


def test_an_episode_less_run_is_left_out_and_a_broken_one_named(tmp_path: Path) -> None:
    manifest = load_manifest(FIGURE_8)
    job = curves(manifest)[0].job
    write_finished_run(job, tmp_path, [])
    assert load_runs([manifest], [tmp_path], "Ours").runs == ()
    path = job.folder(tmp_path).path / "episodes.csv"
    path.write_text("nonsense\n")
    with pytest.raises(UsageError, match=r"episodes\.csv: damaged: 9 bytes instead of"):
        load_runs([manifest], [tmp_path], "Ours")


@pytest.mark.parametrize(
    "text", ["nonsense\n", "step,return\n250,many\n", "step,return\n250,inf\n", "step,return\n,5\n"]
)
def test_a_table_that_is_none_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "episodes.csv").write_text(text)
    with pytest.raises(UsageError, match=r"episodes\.csv: damaged \("):
        read_returns(curves(load_manifest(FIGURE_8))[0], tmp_path, 15)


def test_agreement_with_the_authors_is_by_interval(tmp_path: Path) -> None:
    data = finish(load_manifest(FIGURE_8), tmp_path)
    found = agreements(data, load_published())
    assert len(found) == 4 * 3 * 2
    by_place = {(each.environment, each.label): each for each in found if each.metric == "final"}
    assert by_place["cheetah-run", "Baseline"].same == "holds"  # 302 against 319 ± 27
    assert by_place["reacher-easy", "Baseline"].same == "undecided"  # 302 against 295, but their seeds scatter by ± 160
    assert by_place["cheetah-run", "IK reacher"].same == "fails"  # 802 against 287 ± 15
    assert by_place["cheetah-run", "IK reacher"].difference.value == pytest.approx(802.7 - 287, abs=1)
    assert not any(each.difference.paired for each in found)


def test_scaled_down_runs_are_compared_in_direction_only(tmp_path: Path) -> None:
    data = finish(load_manifest(FIGURE_8, "lite"), tmp_path)
    logs = load_published()
    with pytest.raises(ValueError, match="lite"):
        agreements(data, logs)
    found = {(each.environment, each.label): each for each in directions(data, logs)}
    assert len(found) == 9
    reacher, walker = found["reacher-easy", "IK reacher"], found["walker-walk", "IK walker"]
    assert (reacher.theirs, reacher.ours, walker.theirs, walker.ours) == ("up", "up", "undecided", "down")
    assert (reacher.steps, reacher.theirs_then) == (25_000, "undecided")  # +454 [−118, 1,025]


def test_the_authors_curves_are_read_where_each_of_our_runs_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a budget a pretrained run has fewer steps than its baseline."""
    asked: set[tuple[str, int]] = set()
    smoothed = agreement._smoothed

    def noted(run: Run, steps: int) -> float:
        asked.add((run.condition, steps))
        return smoothed(run, steps)

    monkeypatch.setattr(agreement, "_smoothed", noted)
    manifest = load_manifest(FIGURE_8.with_name("fig11_budget.toml"), "lite")
    directions(finish(manifest, tmp_path), load_published())
    assert asked == {("t0", 40_000), ("t5000", 35_000), ("t10000", 30_000), ("t20000", 20_000)}


def test_encoders_stand_beside_what_they_led_to(tmp_path: Path) -> None:
    (row, *_) = encoder_outcomes(finish(load_manifest(FIGURE_8), tmp_path))
    encoder, outcomes = row
    assert encoder.environment == "cheetah-run"
    assert [each.environment for each in outcomes] == ["cheetah-run", "reacher-easy", "walker-walk"]
    for each in outcomes:
        assert each.difference is not None
        assert each.difference.value == pytest.approx(5)


def test_a_dead_encoder_s_run_is_held_against_its_own_video_s_baseline() -> None:
    rows = encoder_outcomes(load_published())
    (outcomes,) = (found for encoder, found in rows if (encoder.environment, encoder.video) == ("reacher-easy", "99"))
    (outcome,) = outcomes
    assert outcome.difference is not None
    assert outcome.difference.value == pytest.approx(227.4 - 557.7, abs=0.1)
    assert not outcome.difference.known


def test_statistics_of_an_experiment(tmp_path: Path) -> None:
    data = finish(load_manifest(FIGURE_8), tmp_path)
    runs = list(data.runs)
    rows = {(each.environment, each.label): each for each in condition_summaries(runs)}
    baseline, better, worse = (rows["walker-walk", label] for label in ("Baseline", "IK reacher", "IK walker"))
    assert set(baseline.differences.values()) == {None}
    for metric in ("final", "auc", "early"):
        found = better.differences[metric]
        assert found is not None
        assert found.value == better.scores[metric].value - baseline.scores[metric].value == pytest.approx(500)
    assert better.speed is not None
    assert better.speed.reached == 3
    assert worse.speed is not None
    assert (worse.speed.reached, worse.speed.steps.value) == (0, 80_000)
    assert better.probability is not None
    assert worse.probability is not None
    assert (better.probability.value, worse.probability.value) == (1, 0)
    (across, *_) = across_tasks(runs)
    assert (across.tasks, across.mean.count) == (3, 9)
    assert across.mean.low < across.iqm.value < across.mean.high
    uneven = [replace(run, scores={"final": 1000.0}) if run.environment == "walker-walk" else run for run in runs]
    (across, *_) = across_tasks(uneven)
    finals = [run.scores["final"] for run in uneven if run.condition == across.condition]
    assert across.iqm.value == pytest.approx(trim_mean(finals, 0.25)) != pytest.approx(across.mean.value)


def test_a_threshold_is_reached_by_the_smoothed_return(tmp_path: Path) -> None:
    manifest = load_manifest(FIGURE_8, None, ("environments=['reacher-easy']",))
    for curve in curves(manifest):
        write_finished_run(curve.job, tmp_path, [300.0] * 60 if curve.condition == "baseline" else [0.0, 500.0] * 30)
    rows = condition_summaries(list(load_runs([manifest], [tmp_path], "Ours").runs))
    (speed,) = (row.speed for row in rows if row.label == "IK reacher")
    assert speed is not None
    assert (speed.reached, speed.steps.value) == (0, 80_000)


def test_a_figure_s_number_is_in_its_manifest_s_name() -> None:
    assert [figure_number(name) for name in ("fig08_ik", "fig11_published", "head_init")] == [8, 11, 0]


def test_provenance_of_several_sessions_adds_up(tmp_path: Path) -> None:
    manifest = load_manifest(FIGURE_8)
    job = curves(manifest)[0].job
    write_finished_run(job, tmp_path, [1.0])
    path = job.folder(tmp_path).path / "provenance.json"
    record = json.loads(path.read_text())
    record["sessions"] = [record["sessions"][0] | {"seconds": seconds} for seconds in (1000.0, 800.0)]
    path.write_text(json.dumps(record))
    (run,) = load_runs([manifest], [tmp_path], "Ours").runs
    assert run.hours == 0.5
    assert run.steps_per_second == pytest.approx(80_000 / 1800)
    record["sessions"].append({"started": "2026-01-01T00:00:00+00:00"})  # a killed one
    path.write_text(json.dumps(record))
    (run,) = load_runs([manifest], [tmp_path], "Ours").runs
    assert run.hours == 0.5
    assert np.isnan(run.steps_per_second), "how long its steps took is not known"


def test_a_damaged_summary_is_named(tmp_path: Path) -> None:
    """Without it the report would leave out the encoder, and say nothing."""
    manifest = load_manifest(FIGURE_8)
    finish(manifest, tmp_path)
    path = next(tmp_path.glob("pretrain/*/summary.json"))
    path.write_text(path.read_text()[:20])
    with pytest.raises(UsageError, match=r"summary\.json: damaged: 20 bytes instead of"):
        load_runs([manifest], [tmp_path], "Ours")


def test_an_encoder_is_known_by_the_transitions_that_it_learned_from(tmp_path: Path) -> None:
    """Not by those of the dataset that they were drawn from."""
    manifest = load_manifest(REPOSITORY / "experiments" / "extra" / "fig11_published.toml")
    for curve in curves(manifest):
        write_finished_run(curve.job, tmp_path, [1.0])
    encoders = load_runs([manifest], [tmp_path], "Ours").encoders
    found = {(encoder.transitions, encoder.held_out) for encoder in encoders}
    assert found == {(5_000, 250), (10_000, 500), (20_000, 1_000)}
