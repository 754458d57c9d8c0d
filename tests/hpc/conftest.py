"""What the tests of clusters and containers share."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.hpc.container_image import PROGRAMS, Image, built_image, fresh_base
from tests.hpc.slurm_cluster import slurm_cluster

# Scripts that stand in for a registry and for an installed Apptainer; not distributed with the project.
HPC = Path(os.environ.get("RLPT_HPC", REPOSITORY.parent / "shared" / "hpc"))
# In the home folder, which that Apptainer sees.
_BASE = Path(os.environ.get("RLPT_BASE", Path.home() / ".cache" / "rlpt-hpc" / "debian12"))
_SECONDS_TO_WAIT = 480

Cluster = Callable[..., subprocess.CompletedProcess[str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.hpc)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Runs a cluster for all tests; yields the environment variables that lead to it."""
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as variables:
        yield variables


@pytest.fixture(scope="session")
def debian() -> Path:
    """Makes a Debian 12 to build images on: a folder, and localhost/debian:12 in buildah's store."""
    script = HPC / "base-rootfs.sh"
    if os.geteuid() != 0 or not script.is_file():
        pytest.skip(f"making a base image needs root and {script}")
    subprocess.run([script, _BASE], check=True)
    return _BASE


@pytest.fixture(scope="session")
def image(debian: Path) -> Iterator[Image]:
    """Builds the container image."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: apt-get install {' '.join(PROGRAMS)}")
    with fresh_base() as base, built_image("rlpt-test", base) as built:
        yield built


@pytest.fixture
def on_cluster(slurm: dict[str, str]) -> Iterator[Cluster]:
    """Runs a program on the cluster's login node, so to say; "rlpt" is this installation's.

    Whatever a test leaves in the queue is cancelled after it.
    """

    def call(program: str, *arguments: str, check: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "rlpt"] if program == "rlpt" else [program]
        variables = os.environ | slurm | {"COLUMNS": "400"} | more
        done = subprocess.run(
            [*words, *arguments], env=variables, cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    yield call
    call("scancel", "--user=root", "--full")
    wait_until(lambda: not call("squeue", "--noheader").stdout, "the queue to be empty")


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Waits for what a cluster does in its own time; only a machine that hangs reaches the limit."""
    deadline = time.monotonic() + _SECONDS_TO_WAIT
    while not condition():
        assert time.monotonic() < deadline, f"waited {_SECONDS_TO_WAIT} s for {what}"
        time.sleep(0.5)
