"""`rlpt verify`: finished runs against their records, and jobs that are killed against ones that are not."""

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlpt.errors import JobError
from rlpt.manifest import Manifest
from rlpt.pipeline import verification
from rlpt.pipeline.execution import Execution
from rlpt.pipeline.jobs import Job, plan
from rlpt.pipeline.verification import Repetition, finished_folders, repeat_with_kills
from tests.conftest import REPOSITORY, run_rlpt

DEMO = str(REPOSITORY / "experiments" / "demo.toml")


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """`rlpt verify` of a manifest listens to SIGTERM until its process ends."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def runs(finished_runs: tuple[Manifest, Path], tmp_path: Path) -> Path:
    return shutil.copytree(finished_runs[1], tmp_path / "runs")


def one(runs: Path, pattern: str) -> Path:
    (found,) = runs.glob(pattern)
    return found


def test_finished_runs_are_as_they_were_made(runs: Path) -> None:
    result = run_rlpt("verify", runs)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "4 runs, all ok")
    assert run_rlpt("verify", runs / "train").stdout.splitlines()[-1] == "2 runs, all ok"
    assert run_rlpt("verify", runs.rename(runs.with_name("train"))).stdout.splitlines()[-1] == "4 runs, all ok"


@pytest.mark.parametrize(
    ("pattern", "line", "runs_affected"),
    [
        ("train/*scratch*/episodes.csv", "episodes.csv: damaged: ", 1),
        ("pretrain/*/encoder.safetensors", "encoder.safetensors: damaged: ", 2),
        ("generate/*/transitions.h5", "transitions.h5: damaged: ", 2),
    ],
)
def test_a_changed_file_is_found_where_it_was_made_and_where_it_was_used(
    runs: Path, pattern: str, line: str, runs_affected: int
) -> None:
    file = one(runs, pattern)
    file.write_bytes(file.read_bytes() + b" ")
    result = run_rlpt("verify", runs)
    assert result.exit_code == 1
    assert result.stdout.count(line) == runs_affected
    assert f"4 runs, {runs_affected} of them not as they were made" in result.stdout


def test_a_run_without_a_record_is_wrong_and_the_others_are_looked_at(runs: Path) -> None:
    (one(runs, "train/r*scratch*") / "provenance.json").unlink()
    record = one(runs, "pretrain/ik-*") / "provenance.json"
    record.write_text(record.read_text()[:100])
    result = run_rlpt("verify", runs)
    assert result.exit_code == 1
    assert "record: " in result.stdout
    assert "4 runs, 3 of them not as they were made" in result.stdout  # one of them used the encoder


def test_a_run_is_named_by_its_id_or_stage(runs: Path) -> None:
    folder = one(runs, "train/r*scratch*")
    assert run_rlpt("verify", folder.name, "--runs", runs).stdout.endswith("1 runs, all ok\n")
    assert run_rlpt("verify", folder.parent).stdout.endswith("2 runs, all ok\n")


def test_a_folder_of_runs_goes_before_a_manifest_of_its_name(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs.rename(runs.with_name("fig08")).parent)
    assert run_rlpt("verify", "fig08").stdout.endswith("4 runs, all ok\n")


def test_an_input_that_was_made_anew_is_noticed(runs: Path) -> None:
    """Whoever replaces a dataset, its record included, is found out by the runs that used the old one."""
    folder = one(runs, "generate/r*")
    record = json.loads((folder / "provenance.json").read_text())
    record["outputs"]["transitions.h5"]["sha256"] = "0" * 64
    (folder / "provenance.json").write_text(json.dumps(record))
    result = run_rlpt("verify", one(runs, "pretrain/ik-*"))
    assert result.exit_code == 1
    assert "another file than the one that this run used" in result.stdout
    shutil.rmtree(folder)
    assert run_rlpt("verify", one(runs, "pretrain/ik-*")).exit_code == 0
    assert "no longer there, so that it cannot be compared" in run_rlpt("verify", one(runs, "pretrain/ik-*")).stdout


def test_a_run_under_another_s_name_is_noticed(runs: Path) -> None:
    folder = one(runs, "generate/r*")
    result = run_rlpt("verify", folder.rename(folder.with_name("renamed")))
    assert (result.exit_code, f"the folder holds the run {folder.name}" in result.stdout) == (1, True)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    result = run_rlpt("verify", tmp_path)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "neither a manifest (.toml), nor a finished run, nor a folder with finished runs" in result.stderr


def test_jobs_that_are_killed_at_random_moments_write_the_same_bytes(tmp_path: Path) -> None:
    """Three SIGKILLs for each of the three stages, at seeded moments while it is at work."""
    sizes = ["--set=environment.size=32", "--set=encoder.crop=28", "--set=train.steps=300", "--condition=ik"]
    result = run_rlpt(
        "verify", DEMO, "--profile=smoke", "--kills=3", f"--runs={tmp_path}", "--device=cpu", "--threads=1", "--quiet",
        *sizes,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["same"] * 3  # of none that was over before every kill
    assert not list(tmp_path.glob("verify-*"))


def test_copies_that_differ_are_kept_when_a_later_job_fails(
    finished_runs: tuple[Manifest, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, runs = finished_runs
    jobs = plan(manifest)

    def run(manifest: Manifest, job: Job, execution: Execution) -> None:
        if job == jobs[1]:
            raise JobError("it broke")
        shutil.copytree(job.folder(runs).path, job.folder(execution.runs).path)

    monkeypatch.setattr(verification, "_run", run)
    monkeypatch.setattr(verification, "_differences", lambda *_: ("transitions.h5",))
    repetitions = repeat_with_kills(manifest, jobs, Execution(tmp_path), 0, 0)
    assert next(repetitions).differences == ("transitions.h5",)
    with pytest.raises(JobError):
        next(repetitions)
    assert list(tmp_path.glob("verify-*/whole/generate/*"))


@pytest.mark.parametrize(
    ("kills", "hits", "verdict", "status"), [(3, 1, "same", 0), (3, 0, "untried", 1), (0, 0, "same", 0)]
)
def test_a_job_that_was_over_before_a_kill_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int, hits: int, verdict: str, status: int
) -> None:
    monkeypatch.setattr(
        verification, "repeat_with_kills", lambda manifest, jobs, *_: [Repetition(job, hits, ()) for job in jobs]
    )
    options = ("--profile=smoke", "--condition=baseline", f"--kills={kills}", f"--runs={tmp_path}", "--quiet")
    result = run_rlpt("verify", DEMO, *options)
    assert (result.exit_code, result.stdout.split()[0]) == (status, verdict)
    assert ("1 of 1 jobs were over before a kill" in result.stderr) == bool(status)


def test_a_difference_is_reported(finished_runs: tuple[Manifest, Path], tmp_path: Path) -> None:
    manifest, runs = finished_runs
    first, second = (job.folder(runs).path for job in plan(manifest) if job.stage == "train")
    assert verification._differences(first, first) == ()
    assert "policy.safetensors" in verification._differences(first, second)


def test_show_prints_what_made_a_run(finished_runs: tuple[Manifest, Path]) -> None:
    manifest, runs = finished_runs
    job = plan(manifest)[-1]
    for name in (job.id, job.folder(runs).path):
        result = run_rlpt("show", name, "--runs", runs)
        assert result.exit_code == 0
        for text in (
            job.id[:20],
            "demo.toml",
            "torch",
            "requirements.lock",
            "session 1",
            "encoder.safetensors",
            "seed: 37",
        ):
            assert text in result.stdout
    result = run_rlpt("show", job.id[:-2] + "zz", "--runs", runs)
    assert result.exit_code == 2
    assert f"did you mean {job.id}?" in result.stderr


def test_show_tells_of_interruptions(finished_runs: tuple[Manifest, Path], tmp_path: Path) -> None:
    options = [f"--runs={tmp_path}", "--profile=smoke", "--condition=baseline", "--set=train.steps=5000", "--quiet"]
    assert "paused" in run_rlpt("train", DEMO, *options, "--time-limit=0").stdout
    folder = one(tmp_path, "train/*.partial")
    result = run_rlpt("show", folder)
    assert "not finished" in result.stdout
    assert "Paused: time limit" in " ".join(result.stdout.split())


def test_show_tells_of_a_kill_in_a_finished_run(finished_runs: tuple[Manifest, Path], runs: Path) -> None:
    path = one(runs, "train/*scratch*/provenance.json")
    record = json.loads(path.read_text())
    killed = {key: value for key, value in record["sessions"][0].items() if key not in ("ended", "seconds")}
    path.write_text(json.dumps(record | {"sessions": [{**killed, "end": "killed"}, *record["sessions"]]}))
    result = run_rlpt("show", path.parent)
    assert result.exit_code == 0, result.output
    assert "running, or killed" in " ".join(result.stdout.split())
    assert "ended: done" in " ".join(result.stdout.split())


def test_show_prints_brackets_as_they_are(finished_runs: tuple[Manifest, Path], runs: Path) -> None:
    path = one(runs, "train/*scratch*/provenance.json")
    record = json.loads(path.read_text())
    record["manifest"]["set"] = ["seeds=[1]", "agent.betas=[0.9,0.99]"]
    record["sessions"][0]["end"] = "failed in [/data/x], not in [bold]"
    path.write_text(json.dumps(record))
    shown = " ".join(run_rlpt("show", path.parent).stdout.split())
    assert "--set seeds=[1], --set agent.betas=[0.9,0.99]" in shown
    assert "failed in [/data/x], not in [bold]" in shown


def test_what_selects_of_a_manifest_selects_of_nothing_else(runs: Path) -> None:
    result = run_rlpt("verify", runs, "--profile", "lite")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "is no manifest (.toml): --profile" in result.stderr


def test_runs_that_differ_are_kept_to_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished_runs: tuple[Manifest, Path]
) -> None:
    manifest, runs = finished_runs
    found = iter([("transitions.h5",), (), (), ()])
    monkeypatch.setattr(verification, "_differences", lambda *_: next(found))
    monkeypatch.setattr(
        verification,
        "_run",
        lambda _, job, execution: shutil.copytree(job.folder(runs).path, job.folder(execution.runs).path),
    )
    list(repeat_with_kills(manifest, plan(manifest), Execution(tmp_path), 0, 0))
    assert list(tmp_path.glob("verify-*/whole/generate/*"))


def test_unfinished_runs_are_not_checked(tmp_path: Path) -> None:
    for name in ("a-1", "b-2.partial"):
        (tmp_path / "train" / name).mkdir(parents=True)
    assert [folder.name for folder in finished_folders(tmp_path)] == ["a-1"]
