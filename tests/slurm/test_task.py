"""The script of a task, with programs in the place of rlpt, scontrol and sleep."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path

import pytest

# Says when it listens and what it is told; holds out until then. The job "held" is another process's, the job "ends"
# becomes a finished run, and "fails" does not.
JOB = """
import os, pathlib, signal, sys, time
name = sys.argv[-1].removeprefix("--job=")
runs = pathlib.Path(os.environ["RUNS"])
with (runs / f"{name}.starts").open("a") as starts:
    print(os.environ.get("PYTHONPATH"), file=starts)
def told(number, frame):
    with (runs / f"{name}.told").open("a") as file:
        print(signal.Signals(number).name, file=file)
    print("saved")
    sys.exit(0)
if name == "fails":
    sys.exit("it is broken")
if name == "held" and not (runs / "released").exists():
    print("rlpt: another process is working on this run")
    sys.exit(75)
if name in ("ends", "held"):
    (runs / "train" / name).mkdir(parents=True)
    sys.exit(0)
signal.signal(signal.SIGUSR1, told)
signal.signal(signal.SIGTERM, told)
(runs / f"{name}.listens").touch()
while True:
    time.sleep(60)
"""
Start = Callable[..., "subprocess.Popen[str]"]


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits for processes of this machine; only one that hangs reaches the limit."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def start(tmp_path: Path) -> Iterable[Start]:
    """Starts the script for jobs by their names; what sleeps and requeues is noted in files."""
    real = "/bin/sleep" if Path("/bin/sleep").exists() else "/usr/bin/sleep"
    program(tmp_path / "bin" / "rlpt", f"#!{sys.executable}\n{JOB}")
    shorter = f'[ "$1" = 30 ] && exec {real} 0.1\nexec {real} 0.02'
    program(tmp_path / "bin" / "sleep", f'#!/bin/sh\necho "$1" >>"$RUNS/slept"\n{shorter}\n')
    program(
        tmp_path / "bin" / "scontrol",
        '#!/bin/sh\necho "$@" >>"$RUNS/scontrol"\n[ "$(wc -l <"$RUNS/scontrol")" -ge "$ACCEPTED" ]\n',
    )
    started = []

    def call(*jobs: str, image: str = "", accepted: int = 1, **more: str) -> "subprocess.Popen[str]":
        script = [f"stage=train runs={shlex.quote(str(tmp_path))} {image or 'image= image_state='}"]
        script += ["rlpt=(rlpt)", "options=(--quiet)", f"tasks=('{' '.join(jobs)}')"]
        script.append(resources.files("rlpt.slurm").joinpath("task.sh").read_text(encoding="utf-8"))
        (tmp_path / "script").write_text("\n".join(script))
        path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
        slurm = {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_JOB_ID": "7", "RUNS": str(tmp_path)}
        variables = os.environ | slurm | {"PATH": path, "ACCEPTED": str(accepted)} | more
        process = subprocess.Popen(
            ["bash", tmp_path / "script"], env=variables, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        return process

    yield call
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def listening(folder: Path, *jobs: str) -> None:
    wait_until(lambda: all((folder / f"{job}.listens").exists() for job in jobs))


def end(process: "subprocess.Popen[str]") -> tuple[int, list[str]]:
    output, _ = process.communicate(timeout=60)
    return process.returncode, output.splitlines()


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_what_became_of_each_job_is_one_line(start: Start, tmp_path: Path) -> None:
    status, said = end(start("ends", "fails"))
    assert status == 1
    assert sorted(said) == ["done: ends", "failed: fails: status 1: it is broken"]


def test_a_sigterm_of_the_script_alone_reaches_the_jobs(start: Start, tmp_path: Path) -> None:
    task = start("a", "b")
    listening(tmp_path, "a", "b")
    task.send_signal(signal.SIGTERM)
    status, said = end(task)
    assert (status, sorted(said)) == (0, ["stopped by Slurm: a", "stopped by Slurm: b"])
    assert set(lines(tmp_path / "a.told")) == set(lines(tmp_path / "b.told")) == {"SIGTERM"}
    assert not (tmp_path / "scontrol").exists(), "who cancels does not want it back"


def test_a_time_limit_puts_the_task_back(start: Start, tmp_path: Path) -> None:
    task = start("a", "ends")
    listening(tmp_path, "a")
    wait_until((tmp_path / "train" / "ends").is_dir)
    task.send_signal(signal.SIGUSR1)
    status, said = end(task)
    assert (status, sorted(said)) == (0, ["done: ends", "stopped to make room: a"])
    assert set(lines(tmp_path / "a.told")) == {"SIGUSR1"}
    assert lines(tmp_path / "scontrol") == ["requeue 7_0"]


def test_the_time_limit_s_own_sigterm_changes_nothing_of_it(start: Start, tmp_path: Path) -> None:
    task = start("a")
    listening(tmp_path, "a")
    task.send_signal(signal.SIGUSR1)
    wait_until(lambda: (tmp_path / "a.told").exists())
    task.send_signal(signal.SIGTERM)
    status, said = end(task)
    assert (status, said) == (0, ["stopped to make room: a"])
    assert lines(tmp_path / "scontrol") == ["requeue 7_0"]


@pytest.mark.parametrize(("accepted", "calls", "status"), [(3, 3, 0), (9, 5, 1)])
def test_slurm_is_asked_several_times_to_take_a_task_back(
    start: Start, tmp_path: Path, accepted: int, calls: int, status: int
) -> None:
    task = start("a", accepted=accepted)
    listening(tmp_path, "a")
    task.send_signal(signal.SIGUSR1)
    found, said = end(task)
    assert found == status
    assert len(lines(tmp_path / "scontrol")) == calls
    assert ("failed: a: saved, but Slurm does not take the task back" in said[-1]) == (status == 1)


def test_a_job_that_another_process_holds_is_tried_again(start: Start, tmp_path: Path) -> None:
    task = start("held", "ends")
    wait_until(lambda: len(lines(tmp_path / "held.starts")) > 2)
    (tmp_path / "released").touch()
    status, said = end(task)
    assert status == 0
    assert said.count("waiting: held: rlpt: another process is working on this run") == 1
    assert {"done: ends", "done: held"} <= set(said)


def test_a_job_that_stays_held_is_reported_after_ten_minutes(start: Start, tmp_path: Path) -> None:
    status, said = end(start("held"))
    assert status == 1
    assert said[-1] == "busy: held: still, after 10 minutes: rlpt: another process is working on this run"
    assert sum(int(pause) for pause in lines(tmp_path / "slept") if pause == "30") == 600


def test_a_task_that_only_waits_for_another_process_stops_too(start: Start, tmp_path: Path) -> None:
    task = start("held")
    wait_until(lambda: len(lines(tmp_path / "held.starts")) > 1)
    task.send_signal(signal.SIGUSR1)
    status, said = end(task)
    assert (status, said[-1]) == (0, "stopped to make room: held")
    assert lines(tmp_path / "scontrol") == ["requeue 7_0"]


def test_packages_beside_the_environment_are_left_out(start: Start, tmp_path: Path) -> None:
    assert end(start("ends", PYTHONPATH="/a/module/of/the/cluster"))[0] == 0
    assert lines(tmp_path / "ends.starts") == ["None"]


@pytest.mark.parametrize("changed", [False, True])
def test_an_image_that_has_changed_since_is_not_used(start: Start, tmp_path: Path, changed: bool) -> None:
    image = tmp_path / "rlpt.sif"
    image.write_bytes(b"abc")
    os.utime(image, (1000, 1000))
    status, said = end(start("ends", image=f"image={image} image_state='3 {1001 if changed else 1000}'"))
    assert status == changed
    assert len(said) == 1
    assert said[0].startswith(f"failed: ends: {image} is not what it was" if changed else "done: ends")
