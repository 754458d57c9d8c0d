"""The Dockerfile, really built, and the demo inside it: without root, without a GPU, on a read-only root."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY

_STORE = {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
# What a container runtime does with --read-only, two volumes and the image's user.
_ENTER = """
root=$1 runs=$2 data=$3; shift 3
mount --bind "$root" "$root"
mount --bind "$runs" "$root/runs"; mount --bind "$data" "$root/data"
mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"
mount -o remount,bind,ro "$root"
exec chroot --userspec=1000:1000 "$root" "$@"
"""


def last_commit(form: str) -> str:
    command = ["git", "log", "-1", f"--format={form}"]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.strip()


def buildah(*arguments: str) -> str:
    environment = os.environ | _STORE
    return subprocess.run(
        ["buildah", *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


@dataclass(frozen=True)
class Image:
    root: Path
    config: dict[str, Any]
    commit: str
    "What it was built from."

    def run(self, volumes: Path, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command as the image's user, who can write to the folders runs and data of `volumes` alone."""
        for name in ("runs", "data"):
            (volumes / name).mkdir(exist_ok=True)
            os.chown(volumes / name, 1000, 1000)
        enter = ["unshare", "--mount", "--propagation=private", "bash", "-euc", _ENTER, "_", str(self.root)]
        folders = [str(volumes / "runs"), str(volumes / "data")]
        variables = dict(text.split("=", 1) for text in self.config["Env"])
        return subprocess.run(
            [*enter, *folders, *command], env=variables, capture_output=True, text=True, check=False, cwd="/"
        )


@pytest.fixture(scope="module")
def image(debian: Path) -> Iterator[Image]:
    if shutil.which("buildah") is None:
        pytest.skip("buildah is not installed: apt-get install buildah")
    commit = last_commit("%H")
    flags = f"BUILD_FLAGS=--format docker --timestamp {last_commit('%ct')}"
    command = ["make", "image", "BUILDER=buildah", flags, "IMAGE=rlpt-test"]
    command += ["BASE_IMAGE=localhost/debian:12", "TORCH=cpu"]
    subprocess.run(command, cwd=REPOSITORY, env=os.environ | _STORE, check=True)
    container = buildah("from", "rlpt-test").strip()
    try:
        config = json.loads(buildah("inspect", "--type", "image", "rlpt-test"))["Docker"]["config"]
        yield Image(Path(buildah("mount", container).strip()), config, commit)
    finally:
        buildah("rm", container)
        buildah("rmi", "rlpt-test")


def test_the_image_says_what_it_is(image: Image) -> None:
    config = image.config
    assert config["Entrypoint"] == ["rlpt"]
    assert config["User"] == "1000:1000"
    assert config["Healthcheck"]["Test"] == ["CMD", "rlpt", "doctor"]
    assert set(config["Volumes"]) == {"/runs", "/data"}
    assert {"MUJOCO_GL=egl", "NVIDIA_DRIVER_CAPABILITIES=compute,graphics,utility"} <= set(config["Env"])
    assert config["Labels"]["org.opencontainers.image.revision"] == image.commit
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


def test_the_health_check_renders(image: Image, tmp_path: Path) -> None:
    done = image.run(tmp_path, *image.config["Healthcheck"]["Test"][1:])
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"commit {image.commit[:9]}" in done.stdout
    assert "rendering: egl, " in done.stdout


def test_the_demo_runs_read_only_without_root(image: Image, tmp_path: Path) -> None:
    assert image.run(tmp_path, "touch", "/opt/rlpt/file").returncode != 0
    done = image.run(tmp_path, "rlpt", "run", "experiments/demo.toml", "--profile=smoke", "--jobs=2", "--quiet")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 ran" in done.stdout
    assert (tmp_path / "runs" / "figures" / "demo-smoke.pdf").stat().st_uid == 1000
    (provenance, *_) = (tmp_path / "runs" / "train").glob("*/provenance.json")
    assert json.loads(provenance.read_text())["code"]["commit"] == image.commit


def test_the_dockerfile_has_no_known_faults() -> None:
    program = REPOSITORY / ".venv" / "bin" / "hadolint"
    if not program.is_file():
        pytest.skip(f"{program} is not here: make setup")
    assert subprocess.run([program, REPOSITORY / "Dockerfile"], check=False).returncode == 0
