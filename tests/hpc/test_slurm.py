"""Whole figures, requeues, failures and cancellations on a real Slurm cluster of one node."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rlpt.runs.folder import TEMPORARY_FILES
from tests.conftest import REPOSITORY
from tests.hpc.conftest import Cluster, wait_until

FIG08 = str(REPOSITORY / "experiments" / "fig08_ik.toml")
DEMO = str(REPOSITORY / "experiments" / "demo.toml")
ON_SLURM = ("--executor=slurm", "--cpus=1", "--mem=1500M")
# Long enough for Slurm to end it at least once at a time limit of a minute.
LONG = ("--profile=smoke", "--condition=baseline", "--set=train.steps=3000")
ENDLESS = ("--profile=smoke", "--condition=baseline", "--set=train.steps=1000000")


def queue_is_empty(on_cluster: Cluster) -> bool:
    return not on_cluster("squeue", "--noheader").stdout


def folders(runs: Path, stage: str) -> list[Path]:
    return sorted(path for path in runs.glob(f"{stage}/*") if path.suffix != ".partial" and path.is_dir())


def results(folder: Path) -> dict[str, bytes]:
    """Returns what a run wrote, provenance and TensorBoard events aside."""
    others = {"provenance.json", *TEMPORARY_FILES}
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name not in others}


def wait_for_training(runs: Path) -> None:
    wait_until(lambda: list(runs.glob("train/*.partial/updates.csv")), "training to begin")


@contextmanager
def held(on_cluster: Cluster) -> Iterator[None]:
    """Lets the cluster take jobs and start none while the block runs."""
    on_cluster("scontrol", "update", "PartitionName=work", "State=DOWN")
    try:
        yield
    finally:
        on_cluster("scontrol", "update", "PartitionName=work", "State=UP")


def planned(scripts: str) -> list[tuple[str, str, str]]:
    """Returns what `rlpt plan` prints of each array: its name, the arrays it waits for, its script."""
    _, *parts = re.split(r"^# array (\S+): .*: sbatch(?: --dependency=afterany:(\S+))?\n", scripts, flags=re.MULTILINE)
    return [(name, after or "", script[:-1]) for name, after, script in zip(*[iter(parts)] * 3, strict=True)]


def queued(on_cluster: Cluster) -> list[tuple[str, str, str]]:
    """Returns the same of what is in the queue."""
    lines = on_cluster("squeue", "--noheader", "--sort=i", "--format=%F|%j|%E").stdout.splitlines()
    arrays = [line.strip().split("|") for line in lines]
    names = {number: name.removeprefix("rlpt-") for number, name, _ in arrays}
    script = lambda number: on_cluster("scontrol", "write", "batch_script", number, "-").stdout  # noqa: E731
    return [
        (names[number], ":".join(names[other] for other in re.findall(r"afterany:(\d+)", after)), script(number))
        for number, _, after in arrays
    ]


def test_a_figure_goes_through_the_arrays(on_cluster: Cluster, tmp_path: Path) -> None:
    conditions = [f"--condition={name}" for name in ("baseline", "ik-reacher", "ik-walker")]
    where = ("--profile=smoke", "--env=reacher-easy", *conditions, f"--runs={tmp_path}")
    options = (*where, *ON_SLURM, "--runs-per-gpu=2", "--array-parallelism=2")
    scripts = on_cluster("rlpt", "plan", FIG08, *options).stdout
    assert (tmp_path / "slurm").exists() is False

    with held(on_cluster):
        overriding = {"SBATCH_JOB_NAME": "other", "SBATCH_ARRAY_INX": "0-9", "SBATCH_MEM_PER_CPU": "7"}
        submitted = on_cluster("rlpt", "run", FIG08, *options, **overriding).stdout
        assert "train, 2 jobs in 1 tasks" in submitted
        assert "7 submitted, 0 in the queue before, 0 done" in submitted
        assert queued(on_cluster) == planned(scripts)
        again = on_cluster("rlpt", "run", FIG08, *options).stdout
        assert "submitted:" not in again
        assert "0 submitted, 7 in the queue before, 0 done" in again
        status = on_cluster("rlpt", "status", FIG08, *where).stdout
        assert "pending (Dependency)" in status
        assert "7 missing, 7 in the queue" in status

    wait_until(lambda: queue_is_empty(on_cluster), "the arrays to end")
    assert "7 done" in on_cluster("rlpt", "status", FIG08, *where).stdout
    drawn = on_cluster("rlpt", "run", FIG08, *options).stdout
    assert "nothing to do: all 7 jobs are done" in drawn
    assert (tmp_path / "figures" / "fig08_ik-smoke.pdf").is_file()


def test_one_command_submits_every_figure(on_cluster: Cluster, tmp_path: Path) -> None:
    manifests = sorted(map(str, (REPOSITORY / "experiments").glob("fig*.toml")))
    jobs = json.loads(on_cluster("rlpt", "plan", *manifests, "--profile=smoke", f"--runs={tmp_path}", "--json").stdout)
    front_door = ("PROFILE=smoke", f"RUNS={tmp_path}", f"DATA={tmp_path}", f"VENV={sys.prefix}")
    with held(on_cluster):
        on_cluster("make", "reproduce-all", *front_door, "EXECUTOR=slurm", "SLURM=--cpus=1 --mem=1500M")
        tasks = on_cluster("squeue", "--noheader", "--array", "--format=%A").stdout.splitlines()
        assert len(tasks) == len({job["id"] for job in jobs})
        on_cluster("scancel", "--user=root")


def test_a_job_requeued_at_its_time_limit_ends_with_the_same_bytes(on_cluster: Cluster, tmp_path: Path) -> None:
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    on_cluster("rlpt", "run", DEMO, *LONG, *ON_SLURM, f"--runs={broken}", "--time=1")
    command = [sys.executable, "-m", "rlpt", "train", DEMO, *LONG, f"--runs={whole}", "--threads=1", "--quiet"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL) as uninterrupted:
        assert uninterrupted.wait(480) == 0
    wait_until(lambda: queue_is_empty(on_cluster), "the job to end")
    (ours,), (expected,) = folders(broken, "train"), folders(whole, "train")
    sessions = json.loads((ours / "provenance.json").read_text())["sessions"]
    assert len(sessions) > 1, "the time limit never came: the job is too short for this machine"
    assert results(ours) == results(expected)
    assert {"policy.safetensors", "episodes.csv", "updates.csv"} <= results(ours).keys()


def test_a_preempted_job_saves_and_comes_back(on_cluster: Cluster, tmp_path: Path) -> None:
    on_cluster("rlpt", "run", DEMO, *ENDLESS, *ON_SLURM, f"--runs={tmp_path}")
    wait_for_training(tmp_path)
    blocker = on_cluster(
        "sbatch", "--parsable", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 10"
    ).stdout.strip()
    wait_until(lambda: list(tmp_path.glob("train/*.partial/checkpoint.safetensors")), "the checkpoint")
    wait_until(lambda: blocker not in on_cluster("squeue", "--noheader", "--format=%A").stdout, "the other job to end")
    sessions = lambda: json.loads(next(tmp_path.glob("train/*.partial/sessions.json")).read_text())  # noqa: E731
    wait_until(lambda: len(sessions()) == 2, "the job to come back")


def test_a_failed_job_fails_what_needs_it_and_only_that(on_cluster: Cluster, tmp_path: Path) -> None:
    in_the_way = tmp_path / "generate"
    in_the_way.write_text("a file where a folder should be")
    options = ("--profile=smoke", f"--runs={tmp_path}")
    on_cluster("rlpt", "run", DEMO, *options, *ON_SLURM)
    wait_until(lambda: queue_is_empty(on_cluster), "the arrays to end")
    status = on_cluster("rlpt", "status", DEMO, *options).stdout
    assert "1 done" in status, "the baseline needs nothing of what failed"
    assert "2 failed" in status
    assert "not there, and ik-reacher-easy" in status
    states = on_cluster("scontrol", "show", "job", "--oneliner").stdout
    logs = "\n".join(path.read_text() for path in (tmp_path / "logs" / "slurm").iterdir())
    assert logs.count("failed: ") == 3
    assert states.count("JobState=FAILED") >= 3

    in_the_way.unlink()
    again = on_cluster("rlpt", "run", DEMO, *options, *ON_SLURM).stdout
    assert "3 submitted, 0 in the queue before, 1 done" in again
    wait_until(lambda: queue_is_empty(on_cluster), "the arrays to end")
    assert "4 done" in on_cluster("rlpt", "status", DEMO, *options).stdout


def test_a_cancelled_job_saves_and_stays_away(on_cluster: Cluster, tmp_path: Path) -> None:
    options = (*ENDLESS, f"--runs={tmp_path}")
    on_cluster("rlpt", "run", DEMO, *options, *ON_SLURM)
    wait_for_training(tmp_path)
    status = on_cluster("rlpt", "status", DEMO, *options).stdout
    assert "1 running, 1 in the queue" in status
    assert "cancelled 1 tasks of 1 arrays" in on_cluster("rlpt", "cancel", DEMO, *options).stdout
    wait_until(lambda: queue_is_empty(on_cluster), "the queue to be empty")
    assert "1 paused" in on_cluster("rlpt", "status", DEMO, *options).stdout
    assert list(tmp_path.glob("train/*.partial/checkpoint.safetensors"))
    assert "cancelled 0 tasks" in on_cluster("rlpt", "cancel", DEMO, *options).stdout


def test_a_signal_that_only_the_batch_script_gets_reaches_the_job(on_cluster: Cluster, tmp_path: Path) -> None:
    """As Slurm sends it with proctrack/cgroup, which this cluster does not have."""
    options = (*ENDLESS, f"--runs={tmp_path}")
    on_cluster("rlpt", "run", DEMO, *options, *ON_SLURM)
    wait_for_training(tmp_path)
    (note,) = (tmp_path / "slurm").glob("*.json")
    on_cluster("scancel", "--batch", "--signal=TERM", f"{note.stem}_0")
    wait_until(lambda: queue_is_empty(on_cluster), "the task to end")
    assert "1 paused" in on_cluster("rlpt", "status", DEMO, *options).stdout
    assert list(tmp_path.glob("train/*.partial/checkpoint.safetensors"))


@pytest.mark.parametrize(("option", "reason"), [("--partition=none", "invalid partition"), ("--gres=gpu:1", "Invalid")])
def test_what_slurm_refuses_is_one_line(on_cluster: Cluster, tmp_path: Path, option: str, reason: str) -> None:
    done = on_cluster("rlpt", "run", DEMO, *ENDLESS, *ON_SLURM, f"--runs={tmp_path}", option, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("rlpt: sbatch did not succeed: ")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
