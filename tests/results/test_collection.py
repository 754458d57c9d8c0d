"""`rlpt collect`: what a repository keeps of runs, and the page about them."""

import json
import shutil
from pathlib import Path

import pytest

from rlpt.errors import UsageError
from rlpt.manifest import Manifest, load_manifest
from rlpt.pipeline.jobs import Selection, curves, plan
from rlpt.plots.learning_curves import draw_learning_curves
from rlpt.report.collection_page import collection_page
from rlpt.results.collection import LARGEST_FILE, collect_runs
from rlpt.runs.files import write_json, write_text
from tests.conftest import REPOSITORY, run_rlpt, write_finished_run

DEMO = str(REPOSITORY / "experiments" / "demo.toml")
FIGURE_8 = REPOSITORY / "experiments" / "fig08_ik.toml"
KEPT = {
    "generate": {"settings.yaml", "provenance.json"},
    "pretrain": {"settings.yaml", "provenance.json", "epochs.csv", "summary.json", "encoder.safetensors"},
    "train": {"settings.yaml", "provenance.json", "episodes.csv", "evaluations.csv", "updates.csv"},
}


def stop_early(manifest: Manifest, runs: Path, episodes: int) -> Path:
    """Leaves a run as if its process had been killed while it wrote its last row."""
    folder = curves(manifest)[0].job.folder(runs)
    rows = "".join(f"{250 * number},{number},1.0\n" for number in range(1, episodes + 1))
    write_text(folder.partial / "episodes.csv", f"step,episode,return\n{rows}{250 * episodes + 250},")
    write_text(folder.partial / "settings.yaml", "stage: train\n")
    session = {"started": "2026-01-01T00:00:00+00:00", "commit": "0123456789ab"}
    session["end"] = f"UsageError: {runs}/pretrain/x: not there"
    write_json(folder.partial / "sessions.json", [session])
    (folder.partial / "replay.frames").write_bytes(b"large")
    return folder.partial


@pytest.fixture
def large_policies(finished_runs: tuple[Manifest, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs of which datasets and policies are too large, as they are at any useful size."""
    small = max(path.stat().st_size for path in finished_runs[1].glob("*/*/*") if path.name in KEPT["pretrain"])
    assert small < LARGEST_FILE
    monkeypatch.setattr("rlpt.results.collection.LARGEST_FILE", small)
    return finished_runs[1]


def test_what_is_small_is_kept_and_can_be_checked(
    finished_runs: tuple[Manifest, Path], large_policies: Path, tmp_path: Path
) -> None:
    manifest, out = finished_runs[0], tmp_path / "out"
    collected = collect_runs(plan(manifest), large_policies, out)
    assert collected == {"finished": 4}
    for job in plan(manifest):
        kept, source = job.folder(out).path, job.folder(large_policies).path
        assert {path.name for path in kept.iterdir()} == KEPT[job.stage]
        record = json.loads((kept / "provenance.json").read_text())
        left_out = set(record.pop("left_out"))
        assert record == json.loads((source / "provenance.json").read_text())
        assert left_out == {name for name in record["outputs"] if not (kept / name).exists()}
    result = run_rlpt("verify", out)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "4 runs, all ok")
    (table,) = out.glob("train/*scratch*/episodes.csv")
    table.write_text(table.read_text() + "250,1,1000.0\n")
    assert run_rlpt("verify", out).exit_code == 1


def test_the_kept_files_give_the_same_figure(finished_runs: tuple[Manifest, Path], tmp_path: Path) -> None:
    manifest, runs = finished_runs
    collect_runs(plan(manifest), runs, tmp_path / "out")
    ours, kept = (draw_learning_curves(manifest, Selection(), folder) for folder in (runs, tmp_path / "out"))
    assert [path.read_bytes() for path in ours] == [path.read_bytes() for path in kept]


def test_a_run_can_start_from_a_kept_encoder(finished_runs: tuple[Manifest, Path], tmp_path: Path) -> None:
    manifest, runs = finished_runs
    collect_runs([job for job in plan(manifest) if job.stage == "pretrain"], runs, tmp_path / "out")
    steps = ("--set", "environment.size=32", "--set", "encoder.crop=28", "--set", "train.steps=105")
    options = ("--profile", "smoke", "--condition", "ik", *steps, "--threads", 1, "--quiet", "--device", "cpu")
    result = run_rlpt("train", DEMO, *options, "--runs", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert run_rlpt("verify", tmp_path / "out").exit_code == 0


def test_an_unfinished_run_is_kept_to_where_it_got_and_replaced_when_it_gets_on(tmp_path: Path) -> None:
    manifest = load_manifest(FIGURE_8, "lite")
    job, runs, out = curves(manifest)[0].job, tmp_path / "runs", tmp_path / "out"
    stop_early(manifest, runs, 3)
    assert collect_runs([job], runs, out)["unfinished"] == 1
    kept = job.folder(out).partial
    assert {path.name for path in kept.iterdir()} == {"episodes.csv", "settings.yaml", "sessions.json"}
    assert (kept / "episodes.csv").read_text() == "step,episode,return\n250,1,1.0\n500,2,1.0\n750,3,1.0\n"
    assert collect_runs([job], runs, out)["unfinished"] == 0  # it has not got on
    stop_early(manifest, runs, 4)
    assert collect_runs([job], runs, out)["unfinished"] == 1
    assert (kept / "episodes.csv").read_text().endswith("1000,4,1.0\n")
    (session,) = json.loads((kept / "sessions.json").read_text())
    assert session["end"] == "UsageError: pretrain/x: not there", "without the folder of runs"
    stop_early(manifest, runs, 1)  # begun anew, elsewhere
    assert collect_runs([job], runs, out)["unfinished"] == 0


def test_unfinished_pretraining_is_kept_too(tmp_path: Path) -> None:
    manifest = load_manifest(FIGURE_8, "lite")
    runs, out = tmp_path / "runs", tmp_path / "out"
    job = next(job for job in plan(manifest) if job.stage == "pretrain")
    write_text(job.folder(runs).partial / "epochs.csv", "step,updates,train_r2,test_r2\n1,100,-0.1,0.0\n2,200,0.1,")
    write_json(job.folder(runs).partial / "sessions.json", [{"started": "2026-01-01T00:00:00+00:00", "seconds": 3600}])
    options = ("--profile", "lite", "--runs", runs, "--out", out)
    assert run_rlpt("collect", FIGURE_8, *options).stdout == f"{out}: 0 jobs added, 1 unfinished ones, 0 were there\n"
    assert (job.folder(out).partial / "epochs.csv").read_text().endswith("0.0\n")
    assert sorted(path.name for path in (out / "figures").iterdir()) == [
        f"fig08_ik-encoders-lite.{ending}" for ending in ("pdf", "png")
    ]
    page = (out / "README.md").read_text()
    assert "\nNo run of reinforcement learning has begun.\nThe profile is" in page
    assert "- ik-cheetah-run-t40000: stopped at 1 of 12 epochs" in page
    chosen = "fig08_ik.toml --profile lite --env cheetah-run --env reacher-easy --env walker-walk"
    assert [line.split()[1] for line in page.splitlines() if chosen in line] == ["generate", "pretrain"]
    assert "learn, profile lite](figures/fig08_ik-encoders-lite.png)" in page
    assert "| pretrain | 0 | 1 | 1.0 |" in page
    assert run_rlpt("plot", FIGURE_8, "--profile", "lite", "--runs", out).exit_code == 0  # as the page says
    assert collection_page(manifest, out) == page


def test_a_finished_run_takes_its_unfinished_self_s_place_and_stays(
    finished_runs: tuple[Manifest, Path], tmp_path: Path
) -> None:
    manifest, runs = finished_runs
    job, out = next(job for job in plan(manifest) if job.stage == "train"), tmp_path / "out"
    write_text(job.folder(out).partial / "episodes.csv", "step,episode,return\n250,1,1.0\n")
    assert collect_runs([job], runs, out)["finished"] == 1
    assert job.folder(out).is_done()
    assert not job.folder(out).partial.exists()
    assert collect_runs([job], tmp_path / "nowhere", out)["known"] == 1
    assert job.folder(out).is_done()
    assert [path.name for path in (out / "train").iterdir()] == [job.id], "nothing temporary is left"


def test_errors_of_sessions_are_kept_without_the_folder_of_runs(
    finished_runs: tuple[Manifest, Path], tmp_path: Path
) -> None:
    manifest, runs = finished_runs[0], shutil.copytree(finished_runs[1], tmp_path / "runs")
    job = next(job for job in plan(manifest) if job.stage == "pretrain")
    file = job.folder(runs).path / "provenance.json"
    record = json.loads(file.read_text())
    record["sessions"][0]["end"] = f"UsageError: {runs}/generate/x: not there"
    record["manifest"]["text"] = f"# {runs}/mine"
    write_json(file, record)
    collect_runs([job], runs, tmp_path / "out")
    kept = json.loads((job.folder(tmp_path / "out").path / "provenance.json").read_text())
    assert kept["sessions"][0]["end"] == "UsageError: generate/x: not there"
    assert kept["manifest"]["text"] == f"# {runs}/mine", "what has a checksum is as it was"


def test_a_damaged_run_is_refused_and_leaves_nothing(finished_runs: tuple[Manifest, Path], tmp_path: Path) -> None:
    manifest, runs = finished_runs[0], shutil.copytree(finished_runs[1], tmp_path / "runs")
    (table,) = runs.glob("train/*scratch*/episodes.csv")
    table.write_text(table.read_text() + "250,1,1000.0\n")
    result = run_rlpt("collect", manifest.path, "--profile", "smoke", "--set", "environment.size=32",
                  "--set", "encoder.crop=28", "--set", "train.steps=105", "--condition", "baseline",
                  "--runs", runs, "--out", tmp_path / "out")  # fmt: skip
    assert result.exit_code == 2
    assert "episodes.csv: damaged: " in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list((tmp_path / "out").glob("train/*"))


@pytest.mark.parametrize("name", ["../../stolen", "/etc/stolen", "."])
def test_a_record_cannot_name_files_elsewhere(finished_runs: tuple[Manifest, Path], tmp_path: Path, name: str) -> None:
    """Someone else's folder of runs could make a collection write outside of itself."""
    manifest, runs = finished_runs[0], shutil.copytree(finished_runs[1], tmp_path / "runs")
    (job,) = [job for job in plan(manifest) if job.stage == "train" and not job.inputs]
    path = job.folder(runs).path / "provenance.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"outputs": {name: {"bytes": 0, "sha256": ""}}}))
    with pytest.raises(UsageError, match=r"provenance\.json: not readable as a run's record"):
        collect_runs([job], runs, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*/*"))


def test_an_unfinished_run_s_links_are_not_followed(tmp_path: Path) -> None:
    manifest = load_manifest(FIGURE_8, "lite", ())
    runs, secret = tmp_path / "runs", tmp_path / "secret"
    secret.write_text("key,1\n")
    partial = stop_early(manifest, runs, 2)
    (partial / "updates.csv").symlink_to(secret)
    collect_runs(plan(manifest), runs, tmp_path / "out")
    (kept,) = (tmp_path / "out" / "train").iterdir()
    assert sorted(path.name for path in kept.iterdir()) == ["episodes.csv", "sessions.json", "settings.yaml"]


def test_nothing_to_collect_is_one_line(tmp_path: Path) -> None:
    result = run_rlpt("collect", FIGURE_8, "--runs", tmp_path / "none", "--out", tmp_path / "out")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "nothing of it has been run in" in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_page_says_what_came_out_and_what_did_not(tmp_path: Path) -> None:
    manifest, out = load_manifest(FIGURE_8, "lite"), tmp_path / "out"
    reacher = curves(manifest, Selection(("reacher-easy",), ("baseline", "ik-reacher")))
    for curve in reacher[:5]:  # the baseline's three, two of the pretrained
        level = 500.0 if curve.condition == "ik-reacher" else 100.0
        write_finished_run(curve.job, out, [level + curve.seed] * 100)
    folder = reacher[5].job.folder(out)
    write_text(folder.partial / "episodes.csv", "step,episode,return\n250,1,1.0\n500,2,1.0\n")
    draw_learning_curves(manifest, Selection(), out)
    page = collection_page(manifest, out)
    assert "Of 12 training runs on reacher easy, 5 are finished; stopped early: 1; not started: 6." in page
    assert "No run has begun on cheetah run, walker walk." in page
    assert "numbers are not comparable with the paper's" in page
    assert ", profile lite, on reacher easy](figures/fig08_ik-lite.png)" in page
    assert "| reacher easy | Baseline | 3 | 149 [137, 169] | – |" in page
    assert "| reacher easy | IK reacher | 2 | 540 [537, 542] | +400 [400, 400] |" in page
    assert "reacher-easy-from-ik-reacher-easy-t40000-s69: stopped at 500 of 25,000 agent steps" in page
    assert "| train | 5 | 0 | 2.5 |" in page
    assert "commit 012345678" in page
    assert "train.steps = 25000" in page
    assert f"rlpt verify {out.as_posix()}" in page


def test_the_page_names_a_manifest_that_reports_do_not_look_at_by_themselves(tmp_path: Path) -> None:
    for name, named in ((FIGURE_8.name, False), ("mine.toml", True)):
        copy = FIGURE_8 if not named else tmp_path / name
        if named:
            copy.write_text(FIGURE_8.read_text())
        manifest, out = load_manifest(copy, "lite"), tmp_path / name.replace(".", "_")
        write_finished_run(curves(manifest, Selection(("reacher-easy",), ("baseline",)))[0].job, out, [1.0] * 100)
        report = next(line for line in collection_page(manifest, out).splitlines() if "rlpt report" in line)
        assert (f"rlpt report {copy} --profile lite" in report) == named
        assert ("rlpt report --profile lite" in report) != named


def test_the_page_names_only_settings_that_decide_a_condition(tmp_path: Path) -> None:
    manifest, out = load_manifest(FIGURE_8.with_name("fig11_budget.toml"), "lite"), tmp_path / "out"
    write_finished_run(curves(manifest, Selection(("reacher-easy",), ("t0",)))[0].job, out, [1.0] * 100)
    page = collection_page(manifest, out)
    assert "\n- T = 0: train.steps = 40000\n" in page
    assert "\n- T = 5,000: generate.transitions = 5000, train.steps = 35000\n" in page
    assert "ik.input_range = 1" in page
    assert "imagenet." not in page


def test_a_collection_can_be_collected_where_more_counts_as_small(
    finished_runs: tuple[Manifest, Path], large_policies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first one left out is not there any more."""
    jobs, kept = plan(finished_runs[0]), [tmp_path / "first", tmp_path / "second"]
    collect_runs(jobs, large_policies, kept[0])
    monkeypatch.setattr("rlpt.results.collection.LARGEST_FILE", LARGEST_FILE)
    assert collect_runs(jobs, *kept) == {"finished": len(jobs)}
    for job in jobs:
        records = [(job.folder(place).path / "provenance.json").read_bytes() for place in kept]
        assert records[0] == records[1]
