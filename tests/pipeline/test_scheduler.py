"""Several processes on one folder of runs."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from rich.progress import TaskID

from rlpt.errors import BUSY_STATUS
from rlpt.manifest import load_manifest
from rlpt.pipeline.execution import Execution, threads_of
from rlpt.pipeline.jobs import Job, plan
from rlpt.pipeline.scheduler import LocalScheduler, _Running, stage_command
from rlpt.runs.files import write_json
from rlpt.runs.interruption import Schedule
from rlpt.runs.provenance import available_cores
from tests.conftest import REPOSITORY


def test_two_runs_on_one_folder_share_the_work(tmp_path: Path) -> None:
    """Each job is done once, by one of them, and both end well."""
    command = [sys.executable, "-m", "rlpt", "run", str(REPOSITORY / "experiments" / "demo.toml"), "--quiet"]
    command += ["--profile=smoke", f"--runs={tmp_path}", "--threads=1", "--set=environment.size=32"]
    command += ["--set=encoder.crop=28", "--set=train.steps=105"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    records = [json.loads(path.read_text()) for path in tmp_path.glob("*/*/provenance.json")]
    assert len(records) == 4
    assert [len(record["sessions"]) for record in records] == [1] * 4
    assert {path.name for path in tmp_path.glob("figures/*.png")} == {"demo-smoke.png", "demo-encoders-smoke.png"}


def test_a_log_is_read_from_where_its_process_began(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    path.write_text("WARNING: of the last time\n")
    running = _Running(Mock(), Mock(), TaskID(0), path, path.stat().st_size)
    assert running.lines() == []
    with path.open("a") as file:
        file.write("\nfirst\nlast\n")
    assert running.lines() == ["first", "last"]


def test_a_job_goes_on_with_the_threads_that_it_began_with(tmp_path: Path) -> None:
    """Whatever its share of the cores is now: another number of threads changes the last digits."""
    generating, *_, training = plan(load_manifest(REPOSITORY / "experiments" / "demo.toml"))
    execution = Execution(tmp_path)
    assert [threads_of(job, execution, 3) for job in (generating, training)] == [3, 3]
    for job in (generating, training):
        write_json(job.folder(tmp_path).partial / "sessions.json", [{"threads": 7}, {"threads": 1}])
    assert [threads_of(job, execution, 3) for job in (generating, training)] == [3, 1], "workers change nothing"
    assert threads_of(training, Execution(tmp_path, threads=4), 3) == 4
    write_json(training.folder(tmp_path).partial / "sessions.json", [{"threads": 100_000}])
    assert threads_of(training, execution, 3) == available_cores(), "of a larger machine"


def test_a_job_s_command_says_all_that_it_was_asked_for(tmp_path: Path) -> None:
    manifest = load_manifest(REPOSITORY / "experiments" / "demo.toml", "smoke", ("train.steps=105",))
    schedule = Schedule(minutes=3, steps=7)
    execution = Execution(tmp_path / "runs", tmp_path / "data", device="cpu", deterministic=True, schedule=schedule)
    command = stage_command(plan(manifest)[0], manifest, execution)
    places = {f"--runs={tmp_path / 'runs'}", f"--data={tmp_path / 'data'}"}
    options = {"--deterministic", "--device=cpu", "--checkpoint-minutes=3", "--checkpoint-steps=7"}
    assert places | options | {"--set=train.steps=105", "--profile=smoke"} <= {*command}


@pytest.mark.parametrize(("parallel", "threads", "fit"), [(2, 3, 1), (2, 2, 2), (9, 1, 4), (1, 1, 1), (3, 9, 1)])
def test_as_many_jobs_run_as_were_asked_for_and_the_cores_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parallel: int, threads: int, fit: int
) -> None:
    """A job that wants more than there are runs by itself."""
    monkeypatch.setattr("rlpt.pipeline.scheduler.available_cores", lambda: 4)
    monkeypatch.setattr("rlpt.pipeline.scheduler.threads_of", lambda *_: threads)
    manifest = load_manifest(REPOSITORY / "experiments" / "fig08_ik.toml")
    scheduler = LocalScheduler(manifest, plan(manifest), Execution(tmp_path), parallel)
    for job in plan(manifest):
        if scheduler._fits(job):
            scheduler._running.append(SimpleNamespace(job=job))  # type: ignore[arg-type]
    assert len(scheduler._running) == fit


def test_the_cores_are_shared_among_as_many_jobs_as_a_stage_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlpt.pipeline.scheduler.available_cores", lambda: 12)
    manifest = load_manifest(REPOSITORY / "experiments" / "fig08_ik.toml")
    jobs = plan(manifest)
    jobs[-1].folder(tmp_path).path.mkdir(parents=True)  # what is done counts too: the digits must not depend on it
    scheduler = LocalScheduler(manifest, jobs, Execution(tmp_path), 4)
    assert {job.stage: scheduler._threads[job.id] for job in jobs} == {"generate": 4, "pretrain": 4, "train": 3}


def after_a_process(runs: Path, status: int, said: str) -> tuple[LocalScheduler, Job]:
    """Returns a scheduler of one job, whose process has just ended with this status and said this, and the job."""
    manifest = load_manifest(REPOSITORY / "experiments" / "demo.toml", "smoke")
    job = plan(manifest)[0]
    scheduler = LocalScheduler(manifest, [job], Execution(runs, quiet=True), 1)
    scheduler._waiting.clear()
    log = runs / "job.log"
    log.write_text(said)
    process = Mock(returncode=status, poll=lambda: status)
    scheduler._running.append(_Running(job, process, TaskID(0), log, 0))
    return scheduler, job


@pytest.mark.parametrize(
    ("status", "stopping", "outcome", "reason"),
    [
        (0, False, "paused", "run again to go on"),
        (1, False, "failed", "it broke (see "),
        (BUSY_STATUS, False, "", ""),
        (-signal.SIGKILL, False, "failed", "killed, perhaps for lack of memory"),
        (-signal.SIGTERM, False, "failed", "ended by SIGTERM"),
        (-signal.SIGTERM, True, "paused", "run again to go on"),
        (128 + signal.SIGTERM, True, "paused", "run again to go on"),
    ],
)
def test_how_a_process_ended_says_what_became_of_its_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], status: int, stopping: bool, outcome: str, reason: str
) -> None:
    scheduler, job = after_a_process(tmp_path, status, "WARNING: of another kind\nrlpt: it broke\n")
    if stopping:
        scheduler._stop.make("SIGTERM")
    scheduler._look_after_running(Mock())
    assert scheduler._running == []
    assert scheduler.outcome == ({outcome: 1, "done": 0} if outcome else {"done": 0})
    assert scheduler._waiting == ([] if outcome else [job]), "what another process holds is waited for"
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"{outcome}: {job.id}: {reason}") if outcome else complaint == ""


def test_warnings_of_a_job_that_ran_are_passed_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scheduler, job = after_a_process(tmp_path, 0, "progress\nWARNING: it has learned nothing\n")
    job.folder(tmp_path).path.mkdir(parents=True)
    scheduler._look_after_running(Mock())
    assert capsys.readouterr().err == "WARNING: it has learned nothing\n"
    assert scheduler.outcome == {"ran": 1, "done": 0}


def test_a_job_that_another_process_finished_meanwhile_has_not_run_here(tmp_path: Path) -> None:
    scheduler, job = after_a_process(tmp_path, BUSY_STATUS, "rlpt: another process has just finished this run\n")
    job.folder(tmp_path).path.mkdir(parents=True)
    scheduler._look_after_running(Mock())
    assert (scheduler.outcome, scheduler._waiting) == ({"done": 1}, [])
