"""A full disk, a lack of memory and numbers that are not finite end a job in one line, and it can go on."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from rlpt.data.hdf5 import whole_hdf5
from rlpt.errors import Diverged, JobError, UsageError
from rlpt.manifest import load_manifest
from rlpt.pipeline import execution
from rlpt.pipeline.disk import require_room, required_bytes
from rlpt.pipeline.execution import Execution, run_job
from rlpt.pipeline.failures import explained
from rlpt.pipeline.jobs import Job, plan
from rlpt.runs.files import whole_file, write_safetensors
from tests.conftest import REPOSITORY

DEMO = REPOSITORY / "experiments" / "demo.toml"
SMALL = ["--set=environment.size=32", "--set=encoder.crop=28", "--set=encoder.filters=9"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "rlpt", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("needs root to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("room", [2_000_000, 200_000])
def test_a_file_that_finds_no_room_leaves_nothing_behind(small_disk: Path, room: int) -> None:
    (small_disk / "filling").write_bytes(bytes(3 * 2**20 - room))
    before = sorted(small_disk.iterdir())
    with pytest.raises(OSError, match="No space left"), whole_hdf5(small_disk / "a.h5") as file:
        file["numbers"] = torch.randn(1_000_000).numpy()
    with pytest.raises(OSError, match="No space left"):
        write_safetensors(small_disk / "a.safetensors", {"numbers": torch.zeros(1_000_000)})
    with pytest.raises(OSError, match="No space left"), whole_file(small_disk / "a.txt") as aside:
        aside.write_bytes(bytes(4_000_000))
    assert sorted(small_disk.iterdir()) == before


def stage_command(runs: Path, stage: str, *options: str) -> list[str]:
    condition = "baseline" if stage == "train" else "ik"
    command = [sys.executable, "-m", "rlpt", stage, str(DEMO), "--profile=smoke", f"--runs={runs}", "--quiet"]
    return [*command, f"--condition={condition}", "--device=cpu", "--threads=1", *SMALL, *options]


def run_stage(runs: Path, stage: str, *options: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Runs one stage of the demo in a process of its own: a bad write must not take pytest down."""
    command = stage_command(runs, stage, *options)
    return subprocess.run(command, capture_output=True, text=True, check=check, timeout=200)


def run_while_the_disk_fills(disk: Path, room: int, stage: str, *options: str) -> tuple[int, str]:
    """Leaves `room` bytes of the disk once the job has begun, and frees the rest when it has ended."""
    process = subprocess.Popen(stage_command(disk, stage, *options), stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not any(str(process.pid) in lock.read_text() for lock in disk.glob("*/.*.lock")):
        time.sleep(0.01)
    filling = disk / "filling"
    with suppress(OSError):
        filling.write_bytes(bytes(max(0, 3 * 2**20 - room - used(disk))))
    _, complaint = process.communicate(timeout=200)
    filling.unlink()
    return process.returncode, complaint


@pytest.mark.parametrize("stage", ["generate", "train"])
def test_a_job_goes_on_when_there_is_room_again(small_disk: Path, tmp_path: Path, stage: str) -> None:
    options = ["--set=train.steps=120", "--checkpoint-steps=10", "--set=generate.transitions=1000"]
    run_stage(tmp_path / "whole", stage, *options)
    (whole,) = (path for path in (tmp_path / "whole" / stage).iterdir() if path.is_dir())
    lines = []
    for room in (5_000, 150_000, 500_000):
        status, complaint = run_while_the_disk_fills(small_disk, room, stage, *options)
        assert status in (0, 1), complaint
        if status:
            lines.append(complaint.strip())
    assert lines
    for line in lines:
        assert "no room left" in line
        assert "\n" not in line
    run_stage(small_disk, stage, *options)
    (again,) = (path for path in (small_disk / stage).iterdir() if path.is_dir())
    names = [path.name for path in whole.iterdir() if path.is_file() and path.name != "provenance.json"]
    assert {name: (again / name).read_bytes() for name in names} == {
        name: (whole / name).read_bytes() for name in names
    }


def used(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_blocks * 512
    return total


def test_a_file_size_limit_is_a_full_disk_too(tmp_path: Path) -> None:
    command = f"ulimit -f 10; exec {sys.executable} -m rlpt generate {DEMO} --profile=smoke --runs={tmp_path} --quiet"
    command += " --condition=ik --threads=1 " + " ".join(SMALL)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 1
    assert done.stderr.startswith(f"rlpt: {tmp_path}: no room left (File too large)")
    run_stage(tmp_path, "generate")


@pytest.fixture(scope="module")
def jobs() -> list[Job]:
    return plan(load_manifest(DEMO, "paper"))


def test_too_small_a_disk_is_refused_before_anything_runs(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "not" / "there"
    needed = required_bytes(jobs, 2, runs)
    assert needed > required_bytes(jobs, 1, runs) > required_bytes(jobs[:1], 1, runs) > 0
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": needed}))
    with pytest.raises(UsageError, match=r"jobs need about .* MB, and .* has .* MB free: make room"):
        require_room(jobs, 2, runs)
    assert not runs.exists()
    require_room([], 2, runs)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "out of memory; .*lower train.batch_size, encoder.filters or --jobs"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), "out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (RuntimeError("CUDNN_STATUS_ALLOC_FAILED"), "out of memory"),
        (OSError(122, "Disk quota exceeded"), "no room left .*make room"),
        (OSError(28, "No space left on device", "data/cache/x"), "^data/cache/x: no room left"),
        (OSError(30, "Read-only file system", "runs/y"), "runs/y: cannot write there .*--runs"),
    ],
)
def test_what_the_machine_lacks_is_said_in_one_line(jobs: list[Job], error: Exception, line: str) -> None:
    with pytest.raises(JobError, match=line), explained(jobs[-1], Path("runs")):
        raise error


def test_other_errors_stay_what_they_are(jobs: list[Job]) -> None:
    unreadable = PermissionError(13, "Permission denied", "data/imagenet")
    for error in (RuntimeError("a bug"), OSError(5, "Input/output error"), unreadable, KeyError("x")):
        with pytest.raises(type(error)), explained(jobs[-1], Path("runs")):
            raise error


def test_a_read_only_folder_is_refused_in_one_line(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = run_stage(small_disk / "runs", "generate", check=False)
    assert done.returncode == 2
    assert "cannot write there (Read-only file system): make it writable, or choose another" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_training_that_diverges_keeps_its_last_good_checkpoint(tmp_path: Path) -> None:
    options = ["--set=agent.critic_learning_rate=1e30", "--set=train.steps=300", "--checkpoint-steps=1"]
    done = run_stage(tmp_path, "train", *options, check=False)
    assert done.returncode == 1
    assert "finite" in done.stderr or "is nan" in done.stderr
    assert "learning rate" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    (folder,) = (tmp_path / "train").glob("*.partial")
    from safetensors.torch import load_file

    tensors = load_file(folder / "checkpoint.safetensors")
    assert all(tensor.isfinite().all() for tensor in tensors.values() if tensor.is_floating_point())
    assert "learning rate" in (folder / "error.txt").read_text()


def test_numbers_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {"good": torch.ones(3)})
    before = path.read_bytes()
    with pytest.raises(Diverged, match="bad is no longer finite"):
        write_safetensors(path, {"good": torch.ones(3), "bad": torch.tensor([1.0, float("nan")])})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "variables", [{"__EGL_VENDOR_LIBRARY_FILENAMES": "/nonexistent"}, {"MUJOCO_GL": "no such backend"}]
)
def test_a_machine_that_cannot_render_says_what_to_install(tmp_path: Path, variables: dict[str, str]) -> None:
    command = stage_command(tmp_path, "generate")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, env=os.environ | variables)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "OpenGL" in done.stderr
    assert "rlpt doctor" in done.stderr


def test_deterministic_algorithms_are_asked_for_while_the_job_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU they compute the same; a GPU is what they are for."""
    asked: list[bool] = []
    monkeypatch.setitem(
        execution._WORK, "generate", lambda task: asked.append(torch.are_deterministic_algorithms_enabled())
    )
    job = plan(load_manifest(REPOSITORY / "experiments" / "demo.toml", "smoke"))[0]
    for deterministic in (False, True):
        runs = tmp_path / str(deterministic)
        run_job(job, Execution(runs, device="cpu", quiet=True, deterministic=deterministic))
    assert asked == [False, True]
    assert not torch.are_deterministic_algorithms_enabled()
