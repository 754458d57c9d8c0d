"""Apptainer.def, really built, with a job inside it: by hand, and as a Slurm task."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.hpc.conftest import HPC, Cluster, wait_until

DEMO = str(REPOSITORY / "experiments" / "demo.toml")
SMALL = ("--profile=smoke", "--condition=baseline", "--set=train.steps=260")


@pytest.fixture(scope="module")
def apptainer() -> Path:
    program = HPC / "apptainer.sh"
    if os.geteuid() != 0 or not program.is_file():
        pytest.skip(f"needs root and {program}")
    return program


@pytest.fixture(scope="module")
def sandbox(apptainer: Path, debian: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the image as a folder, which starts at once where images cannot be mounted; %test is run at its end."""
    folder = tmp_path_factory.mktemp("apptainer") / "rlpt"
    command = ["make", "sif", f"APPTAINER={apptainer}", f"SIF={folder}", "SIF_FLAGS=--force --sandbox"]
    command += ["BOOTSTRAP=localimage", f"BASE_IMAGE={debian}", "TORCH=cpu"]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    return folder


def test_the_image_answers_for_itself(apptainer: Path, sandbox: Path) -> None:
    def ask(*words: str) -> str:
        return subprocess.run([apptainer, *words, sandbox], capture_output=True, text=True, check=True).stdout

    assert "does pretraining help" in ask("run-help")
    assert "org.opencontainers.image.version: 0.1.0" in ask("inspect")
    doctor = subprocess.run([apptainer, "run", sandbox, "doctor"], capture_output=True, text=True, check=False)
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert "rendering: egl, " in doctor.stdout


def test_a_job_trains_inside(apptainer: Path, sandbox: Path, tmp_path: Path) -> None:
    command = [
        str(apptainer),
        "run",
        str(sandbox),
        "train",
        DEMO,
        *SMALL,
        f"--runs={tmp_path}",
        "--threads=1",
        "--quiet",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (policy,) = tmp_path.glob("train/*/policy.safetensors")
    code = json.loads(policy.with_name("provenance.json").read_text())["code"]
    assert "dirty" not in code, "the code is the image's, not the checkout's"


def test_a_slurm_task_runs_inside_saves_and_comes_back(
    on_cluster: Cluster, apptainer: Path, sandbox: Path, tmp_path: Path
) -> None:
    options = (*SMALL, "--set=train.steps=1000000", f"--runs={tmp_path}")
    cluster = ("--executor=slurm", "--cpus=1", "--mem=1500M", "--time=1", f"--sif={sandbox}")
    on_cluster("rlpt", "run", DEMO, *options, *cluster, APPTAINER=str(apptainer))

    def ends() -> list[str]:
        assert on_cluster("squeue", "--noheader").stdout, "the task has left the queue"
        files = (tmp_path / "train").glob("*.partial/sessions.json")
        return [session.get("end", "") for file in files for session in json.loads(file.read_text())]

    wait_until(lambda: "Paused: SIGUSR1" in ends()[:-1], "the task to save at its time limit and to come back")
    assert "cancelled 1 tasks" in on_cluster("rlpt", "cancel", DEMO, *options).stdout
