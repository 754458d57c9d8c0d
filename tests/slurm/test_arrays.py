import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from rlpt.cli import main
from rlpt.errors import UsageError
from rlpt.manifest import load_manifest
from rlpt.pipeline.execution import Execution
from rlpt.pipeline.jobs import plan
from rlpt.slurm.arrays import arrays, batch_script
from rlpt.slurm.settings import SlurmSettings
from tests.conftest import REPOSITORY

FIG08 = load_manifest(REPOSITORY / "experiments" / "fig08_ik.toml")
JOBS = plan(FIG08)
NOWHERE = Path("/nowhere")


def test_one_array_a_stage_and_training_from_scratch_waits_for_nothing() -> None:
    found = arrays("f", JOBS, NOWHERE, {}, SlurmSettings())
    assert [(array.name, array.job_count, array.after) for array in found] == [
        ("f-generate-1", 3, ()),
        ("f-pretrain-1", 3, ("f-generate-1",)),
        ("f-train-1", 9, ()),
        ("f-train-2", 27, ("f-pretrain-1",)),
    ]


def test_what_is_done_is_left_out_and_not_waited_for(tmp_path: Path) -> None:
    for job in JOBS:
        if job.stage == "generate" or job.slug == "ik-walker-walk-t200000":
            job.folder(tmp_path).path.mkdir(parents=True)
    found = arrays("f", JOBS, tmp_path, {}, SlurmSettings())
    assert [(array.name, array.job_count, array.after) for array in found] == [
        ("f-pretrain-1", 2, ()),
        ("f-train-1", 18, ()),
        ("f-train-2", 18, ("f-pretrain-1",)),
    ]


@settings(max_examples=50, deadline=None)
@given(st.sets(st.sampled_from([job.id for job in JOBS])), st.integers(1, 5))
def test_every_job_is_submitted_once_after_its_inputs(queued: set[str], size: int) -> None:
    numbers = {job: str(7 + n % 2) for n, job in enumerate(sorted(queued))}
    found = arrays("f", JOBS, NOWHERE, numbers, SlurmSettings(runs_per_gpu=size))
    place = numbers | {job.id: array.name for array in found for task in array.tasks for job in task}
    names = [array.name for array in found]
    assert sorted(place) == sorted(job.id for job in JOBS)
    assert sum(array.job_count for array in found) == len(JOBS) - len(queued)
    for array in found:
        assert all(len(task) <= (size if array.stage == "train" else 1) for task in array.tasks)
        before = names[: names.index(array.name)]
        assert all(name in (*before, *numbers.values()) for name in array.after)
        for task in array.tasks:
            for job in task:
                assert {place[needed.id] for needed in job.inputs} <= set(array.after)


def script(stage: str, execution: Execution, cluster: SlurmSettings) -> str:
    array = next(array for array in arrays("f", JOBS, execution.runs, {}, cluster) if array.stage == stage)
    return batch_script(array, FIG08, execution, cluster)


def test_a_script_asks_for_what_is_set_and_for_nothing_else(tmp_path: Path) -> None:
    wanted = SlurmSettings(partition="gpu", gres="gpu:1", time="1-0", cpus=8, array_parallelism=2, runs_per_gpu=4)
    text = script("train", Execution(tmp_path / "my runs"), wanted)
    requests = [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH ")]
    assert {"--requeue", "--array=0-2%2", "--partition=gpu", "--gres=gpu:1", "--time=1-0"} <= set(requests)
    assert {"--cpus-per-task=8", "--signal=B:USR1@120", f"--chdir={Path.cwd()}"} <= set(requests)
    assert not any(request.startswith(("--mem", "--account", "--qos")) for request in requests)
    assert "--threads=2" in text
    assert f"runs={shlex.quote(str(tmp_path / 'my runs'))}" in text
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
    assert "--gres" not in script("generate", Execution(tmp_path), wanted)


@pytest.mark.parametrize(
    ("stage", "told", "threads"), [("pretrain", 0, 8), ("generate", 0, 8), ("train", 0, 2), ("train", 3, 3)]
)
def test_a_lone_job_has_all_cores_unless_told_otherwise(tmp_path: Path, stage: str, told: int, threads: int) -> None:
    text = script(stage, Execution(tmp_path, threads=told), SlurmSettings(cpus=8, runs_per_gpu=4))
    assert text.count("--threads=") == 1
    assert re.search(rf" --threads={threads}\b", text)


@pytest.mark.parametrize(
    ("stage", "device", "gres", "told"),
    [
        ("train", "auto", "gpu:1", "cuda"),
        ("pretrain", "auto", "license:2,gpu:a100:1", "cuda"),
        ("train", "auto", None, "auto"),
        ("train", "auto", "tmpfs:gpus", "auto"),
        ("train", "cpu", "gpu:1", "cpu"),
        ("train", "cuda", None, "cuda"),
        ("generate", "auto", "gpu:1", "cpu"),
        ("generate", "cuda", "gpu:1", "cpu"),
    ],
)
def test_a_gpu_that_is_asked_for_is_used_or_missed(
    tmp_path: Path, stage: str, device: str, gres: str | None, told: str
) -> None:
    text = script(stage, Execution(tmp_path, device=device), SlurmSettings(gres=gres))
    assert f" --device={told} " in text
    assert text.count("--device=") == 1


def test_an_image_is_named_by_its_digest_and_sees_the_data(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "data" / "imagenet").symlink_to(tmp_path / "images")
    (tmp_path / "rlpt.sif").write_bytes(b"abc")
    os.utime(tmp_path / "rlpt.sif", (1000, 1000.7))
    execution = Execution(tmp_path / "runs", tmp_path / "data")
    cluster = SlurmSettings(sif=str(tmp_path / "rlpt.sif"))
    text = script("train", execution, cluster)
    (line,) = [line for line in text.splitlines() if line.startswith("rlpt=(")]
    assert line.startswith('rlpt=("${APPTAINER:-apptainer}" exec --nv ')
    assert line.endswith(f"{tmp_path}/rlpt.sif rlpt)")
    assert all(f"--bind={tmp_path / name} " in line for name in ("runs", "data", "images"))
    assert "/nodata" not in script("train", Execution(tmp_path, tmp_path / "nodata"), cluster).partition("options=")[0]
    assert "RLPT_CONTAINER_DIGEST=sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" in line
    assert f"image={tmp_path}/rlpt.sif image_state='3 1000'\n" in text
    assert "--nv" not in script("generate", execution, cluster), "generation gets no GPU"


def test_an_image_sees_folders_by_the_names_that_they_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/scratch and /datasets are links to where a cluster's storage is mounted."""
    for name in ("lustre/me/runs", "gpfs/sets/imagenet", "home/data"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "scratch").symlink_to("lustre")
    (tmp_path / "datasets").symlink_to(tmp_path / "gpfs" / "sets")
    (tmp_path / "home" / "runs").symlink_to(tmp_path / "scratch" / "me" / "runs")
    (tmp_path / "home" / "data" / "imagenet").symlink_to(tmp_path / "datasets" / "imagenet")
    (tmp_path / "rlpt.sif").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    cluster = SlurmSettings(sif=str(tmp_path / "rlpt.sif"))
    runs = f"{tmp_path}/lustre/me/runs"
    images = f"{tmp_path}/gpfs/sets/imagenet"
    for folder in (Path("runs"), tmp_path / "scratch" / "me" / "runs"):
        (line,) = [line for line in script("train", Execution(folder), cluster).splitlines() if "--bind=" in line]
        binds = [word.removeprefix("--bind=") for word in line.split() if word.startswith("--bind=")]
        assert binds == [
            f"{tmp_path}/home",
            f"{runs}:{tmp_path}/scratch/me/runs",
            runs,
            f"{tmp_path}/home/data",
            f"{images}:{tmp_path}/datasets/imagenet",
            images,
            str(FIG08.path.parent),
        ]


@pytest.mark.parametrize(
    ("folder", "settings", "message"),
    [
        ("run_12:30", SlurmSettings(sif="."), "--sif cannot take a folder with a colon or comma in its name"),
        ("a,b", SlurmSettings(sif="."), "--sif cannot take a folder with a colon or comma in its name"),
        ("a\\b", SlurmSettings(), "Slurm leaves out the backslash"),
        ("loop/runs", SlurmSettings(sif="."), "loop/runs: a link that leads back to itself"),
    ],
)
def test_folders_that_would_be_misread_are_refused(
    tmp_path: Path, folder: str, settings: SlurmSettings, message: str
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match=message):
        script("train", Execution(tmp_path / folder), settings)


def test_a_percent_sign_in_a_folder_is_one(tmp_path: Path) -> None:
    text = script("train", Execution(tmp_path / "a%Ab"), SlurmSettings())
    assert f"{tmp_path}/a%%Ab/logs/slurm/%A_%a.log" in text


def test_a_new_image_is_read_anew_and_the_same_one_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "rlpt.sif"
    read: list[bytes] = []

    def digest(path: Path) -> str:
        read.append(path.read_bytes())
        return str(len(read))

    monkeypatch.setattr("rlpt.slurm.container.file_sha256", digest)
    for content in (b"first", b"first", b"the second"):
        image.write_bytes(content)
        os.utime(image, (1000, 1000))
        for stage in ("generate", "train"):
            script(stage, Execution(tmp_path), SlurmSettings(sif=str(image)))
    assert read == [b"first", b"the second"]


def test_an_image_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"slurm\.sif: .*no such file: `make sif` builds one"):
        script("train", Execution(tmp_path), SlurmSettings(sif=str(tmp_path / "rlpt.sif")))


def test_a_machine_without_slurm_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    command = [str(FIG08.path), f"--runs={tmp_path}"]
    result = CliRunner().invoke(main, ["run", *command, "--executor", "slurm"])
    assert result.exit_code == 2
    assert result.stderr.startswith("rlpt: squeue: not found: ")
    assert result.stderr.count("\n") == 1
    assert CliRunner().invoke(main, ["cancel", *command]).exit_code == 2
    plan = CliRunner().invoke(main, ["plan", *command, "--executor", "slurm"])
    assert plan.stdout.count("#!/usr/bin/env bash") == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gres=gpu:1"], "--gres: only with --executor slurm"),
        (["--executor=slurm", "--time-limit=9"], "--time-limit: --executor slurm has Slurm's own: say --time"),
        (["--executor=slurm", "--time=soon"], "--time: expected minutes or a time such as 24:00:00"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["run", str(FIG08.path), f"--runs={tmp_path}", *options])
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_script_asks_for_memory_account_and_whole_logs(tmp_path: Path) -> None:
    wanted = SlurmSettings(mem="8G", account="me", qos="low", cpus=1, runs_per_gpu=4)
    text = script("train", Execution(tmp_path), wanted)
    requests = {line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH ")}
    assert {"--mem=8G", "--account=me", "--qos=low", "--open-mode=append", "--nodes=1", "--ntasks=1"} <= requests
    assert "export OMP_NUM_THREADS=1\n" in text, "no fewer than one, if there are more runs than cores"
    assert "--threads=1 " in text
