"""Dockerfile and Apptainer.def, really built, with jobs inside: read-only and without root, and as a Slurm task."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.hpc.conftest import HPC, Cluster, wait_until
from tests.hpc.container_image import Image, built_image, podman

DEMO = str(REPOSITORY / "experiments" / "demo.toml")
SMALL = ("--profile=smoke", "--condition=baseline", "--set=train.steps=260")


@pytest.fixture(scope="module")
def commit() -> str:
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.strip()


def test_the_image_says_what_it_is(image: Image, commit: str) -> None:
    config = image.config
    assert config["Entrypoint"] == ["rlpt"]
    assert config["User"] == "1000:1000"
    assert config["Healthcheck"]["Test"] == ["CMD", "rlpt", "doctor"]
    assert set(config["Volumes"]) == {"/runs", "/data"}
    assert {"MUJOCO_GL=egl", "NVIDIA_DRIVER_CAPABILITIES=compute,graphics,utility"} <= set(config["Env"])
    assert config["Labels"]["org.opencontainers.image.revision"].removesuffix("-dirty") == commit
    assert config["Labels"]["org.opencontainers.image.version"] == "0.1.0"


def test_no_compiler_cache_or_development_tool_is_left_behind(image: Image) -> None:
    for path in (
        "usr/bin/gcc",
        "usr/bin/cc",
        "root/.cache",
        "opt/venv/bin/pytest",
        "opt/venv/bin/ruff",
        "opt/rlpt/tests",
    ):
        assert not (image.root / path).exists(), path
    assert not list((image.root / "var" / "lib" / "apt" / "lists").iterdir())
    vendors = {path.name for path in (image.root / "usr" / "share" / "glvnd" / "egl_vendor.d").iterdir()}
    assert vendors == {"10_nvidia.json", "50_mesa.json"}
    assert "home = /usr/bin\n" in (image.root / "opt" / "venv" / "pyvenv.cfg").read_text(), "the distribution's Python"


def test_the_health_check_passes_and_sees_a_renderer(image: Image, commit: str, tmp_path: Path) -> None:
    doctor = image.run(tmp_path, "doctor").stdout
    assert f"commit {commit[:9]}" in doctor
    assert "rendering: egl, " in doctor
    container = image.run(tmp_path, "600", options=("--detach", "--entrypoint=sleep")).stdout.strip()
    try:
        check = podman("healthcheck", "run", container)
        assert check.returncode == 0, check.stdout + check.stderr
    finally:
        podman("rm", "--force", "--time=0", container)


def test_the_demo_runs_read_only_without_root(image: Image, commit: str, tmp_path: Path) -> None:
    assert "Read-only" in image.run(tmp_path, "/opt/rlpt/file", options=("--entrypoint=touch",)).stderr
    done = image.run(tmp_path, "run", "experiments/demo.toml", "--profile=smoke", "--jobs=2", "--quiet")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 ran" in done.stdout
    assert (tmp_path / "runs" / "figures" / "demo-smoke.pdf").stat().st_uid == 1000
    (provenance, *_) = (tmp_path / "runs" / "train").glob("*/provenance.json")
    assert json.loads(provenance.read_text())["code"]["commit"] == commit


def test_a_change_of_the_code_keeps_the_layers_of_the_packages(image: Image, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    aside = {".git", ".venv", "runs", "data"}
    shutil.copytree(REPOSITORY, changed, ignore=lambda folder, _: aside if Path(folder) == REPOSITORY else set())
    with (changed / "rlpt" / "cli.py").open("a") as code:
        code.write("# changed\n")
    for path in (changed / "rlpt", *(changed / "rlpt").rglob("*")):  # as a checkout under umask 077
        path.chmod(path.stat().st_mode & 0o700)
    with built_image("rlpt-changed", image.base, "COMMIT=changed", "EPOCH=2000000000", context=changed) as after:
        packages = next(n for n, (step, _) in enumerate(image.layers) if "image.sh packages" in step)
        assert after.layers[: packages + 1] == image.layers[: packages + 1]
        assert {digest for _, digest in after.layers[packages + 1 :]}.isdisjoint(digest for _, digest in image.layers)
        assert "# changed" in (after.root / "opt" / "rlpt" / "rlpt" / "cli.py").read_text()
        assert modes(after.root) == modes(image.root)


def modes(root: Path) -> dict[str, int]:
    """Returns who may do what with each file and folder of the code."""
    code = root / "opt" / "rlpt"
    return {str(path.relative_to(root)): path.lstat().st_mode & 0o7777 for path in (code, *code.rglob("*"))}


def test_everyone_may_read_the_code_and_its_owner_alone_write_it(image: Image) -> None:
    assert set(modes(image.root).values()) == {0o755, 0o644}


def test_building_the_same_commit_again_gives_the_same_layers(image: Image) -> None:
    with built_image("rlpt-again", image.base, "IMAGE_FLAGS=--no-cache") as again:
        assert again.layers == image.layers


@pytest.fixture(scope="module")
def apptainer() -> Path:
    program = HPC / "apptainer.sh"
    if os.geteuid() != 0 or not program.is_file():
        pytest.skip(f"needs root and {program}")
    return program


@pytest.fixture(scope="module")
def sandbox(apptainer: Path, debian: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the Apptainer image as a folder, which starts at once where images cannot be mounted; ends with %test."""
    folder = tmp_path_factory.mktemp("apptainer") / "rlpt"
    command = ["make", "sif", f"APPTAINER={apptainer}", f"SIF={folder}", "SIF_FLAGS=--force --sandbox"]
    command += ["BOOTSTRAP=localimage", f"BASE_IMAGE={debian}", "TORCH=cpu"]
    subprocess.run(command, cwd=REPOSITORY, check=True, umask=0o077)
    return folder


def test_the_apptainer_image_answers_for_itself(apptainer: Path, sandbox: Path) -> None:
    def ask(*words: str) -> str:
        return subprocess.run([apptainer, *words, sandbox], capture_output=True, text=True, check=True).stdout

    assert "does pretraining help" in ask("run-help")
    assert "org.opencontainers.image.version: 0.1.0" in ask("inspect")
    doctor = subprocess.run([apptainer, "run", sandbox, "doctor"], capture_output=True, text=True, check=False)
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert "rendering: egl, " in doctor.stdout


def test_both_images_hold_the_same_files(image: Image, sandbox: Path) -> None:
    command = ["diff", "--recursive", "--brief", "--no-dereference", str(image.root), str(sandbox)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    apptainers_own = f"Only in {sandbox}: "
    assert done.stderr == ""
    assert [line for line in done.stdout.splitlines() if not line.startswith(apptainers_own)] == []


def test_the_apptainer_image_s_files_are_as_readable(image: Image, sandbox: Path) -> None:
    assert modes(sandbox) == modes(image.root)


def test_the_host_s_python_stays_out_of_the_apptainer_image(apptainer: Path, sandbox: Path, tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('the host got in')\n")
    host = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONHOME": str(tmp_path)}
    command = [str(apptainer), "exec", str(sandbox), "python", "-c", "import numpy; print(numpy.__file__)"]
    done = subprocess.run(command, env=host, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("/opt/venv/"), done.stdout + done.stderr


def test_a_job_trains_in_the_apptainer_image(apptainer: Path, sandbox: Path, tmp_path: Path) -> None:
    options = (*SMALL, f"--runs={tmp_path}", "--threads=1", "--quiet")
    command = [str(apptainer), "run", str(sandbox), "train", DEMO, *options]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (policy,) = tmp_path.glob("train/*/policy.safetensors")
    code = json.loads(policy.with_name("provenance.json").read_text())["code"]
    assert "dirty" not in code, "the code is the image's, not the checkout's"


def test_a_slurm_task_in_it_saves_and_comes_back(
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
