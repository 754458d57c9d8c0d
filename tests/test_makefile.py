"""What `make` would do, and with which choices it sets an environment up again."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(folder: Path, *arguments: str) -> str:
    """Runs make in the repository with an environment in `folder`."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("TORCH", "RENDER", "MAKEFLAGS")}
    command = ["make", f"--directory={folder}", f"--file={REPOSITORY / 'Makefile'}", "--no-print-directory"]
    return subprocess.run([*command, *arguments], env=inherited, capture_output=True, text=True, check=True).stdout


def image(checkout: Path, *options: str) -> str:
    """Returns what `make image` would do."""
    return make(checkout, "--dry-run", *options, "image", "BUILDER=podman")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder in which setup only notes what it is told."""
    checkout = tmp_path / "my clone"
    (checkout / "install").mkdir(parents=True)
    (checkout / "pyproject.toml").touch()
    (checkout / "experiments").symlink_to(REPOSITORY / "experiments")
    (checkout / "paper_figures").symlink_to(REPOSITORY / "paper_figures")
    script = checkout / "install" / "setup.sh"
    script.write_text('#!/bin/sh\nmkdir -p "$VENV"\necho "TORCH=$TORCH RENDER=$RENDER" >>told\n')
    script.chmod(0o755)
    return checkout


@pytest.mark.parametrize(
    ("first", "told"),
    [((), "TORCH= RENDER="), (("TORCH=cpu", "RENDER=no"), "TORCH=cpu RENDER=no"), (("RENDER=no",), "TORCH= RENDER=no")],
)
def test_setup_runs_again_as_it_was_told_to_at_first(checkout: Path, first: tuple[str, ...], told: str) -> None:
    make(checkout, "setup", *first)
    make(checkout, ".venv/.installed")
    assert (checkout / "told").read_text().splitlines() == [told], "nothing has changed"
    os.utime(checkout / ".venv" / ".installed", (1000, 1000))
    make(checkout, ".venv/.installed")
    assert (checkout / "told").read_text().splitlines() == [told, told]


def test_setup_by_name_runs_again_and_takes_another_torch(checkout: Path) -> None:
    make(checkout, "setup", "TORCH=cpu", "RENDER=no")
    make(checkout, "setup")
    assert (checkout / "told").read_text().splitlines() == ["TORCH=cpu RENDER=no"] * 2
    make(checkout, "setup", "TORCH=cuda")
    assert (checkout / "told").read_text().splitlines()[-1].startswith("TORCH=cuda ")


def test_an_image_is_not_of_the_environment_s_torch(checkout: Path) -> None:
    make(checkout, "setup", "TORCH=cpu", "RENDER=no")
    assert "TORCH" not in make(checkout, "--dry-run", "sif")


def test_what_has_to_be_rendered_is_left_out_where_nothing_renders(checkout: Path) -> None:
    make(checkout, "setup", "RENDER=no")
    drawn = make(checkout, "--dry-run", "figures")
    assert "plot experiments/fig08_ik.toml" in drawn
    assert "paper_figures/fig01_tasks.py" not in drawn
    assert "data videos" not in drawn
    assert "not drawn where RENDER=no: fig01 " in drawn
    make(checkout, "clean")
    make(checkout, "setup")
    drawn = make(checkout, "--dry-run", "figures")
    assert "paper_figures/fig01_tasks.py" in drawn
    assert "not drawn" not in drawn


def test_one_folder_of_runs_has_no_blanks(checkout: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        make(checkout, "--dry-run", "clean-runs", "RUNS=a  b")
    assert "RUNS: one folder, without blanks in its name" in refused.value.stderr


def test_an_image_of_no_checkout_has_no_commit_and_a_date_all_the_same(checkout: Path) -> None:
    """As an archive that is unpacked inside another repository."""
    subprocess.run(["git", "init", "-q", checkout.parent], check=True)
    built = image(checkout)
    assert "--timestamp 315532800 " in built
    assert "RLPT_COMMIT= " in built


def test_an_image_names_the_commit_of_the_checkout(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "install", "pyproject.toml"], [*identity, "commit", "-qm", "one"]):
        subprocess.run(["git", "-C", checkout, *command], check=True)
    found = subprocess.run(["git", "-C", checkout, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    commit = found.stdout.strip()
    other = tmp_path_factory.mktemp("other")
    subprocess.run(["git", "init", "-q", other], check=True)
    for name in ("DIR", "INDEX_FILE"):  # as in a hook
        monkeypatch.setenv(f"GIT_{name}", str(other / ".git" / name))
    assert f"RLPT_COMMIT={commit} " in image(checkout)
    (checkout / "pyproject.toml").write_text("# changed")
    assert f"RLPT_COMMIT={commit}-dirty " in image(checkout)
