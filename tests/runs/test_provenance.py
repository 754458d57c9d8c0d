import os
import subprocess
from pathlib import Path

import pytest

from rlpt.runs import provenance


def test_asking_for_the_commit_leaves_the_index_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`git status` writes what it has learned of touched files under a lock, which a killed job would leave behind."""
    source = tmp_path / "rlpt" / "train.py"
    source.parent.mkdir()
    source.write_text("1\n")
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "one"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    index = tmp_path / ".git" / "index"
    before = index.read_bytes()
    source.touch()
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    version = provenance.code_version.__wrapped__()
    assert version["dirty"] is False and len(version["commit"]) == 40
    assert index.read_bytes() == before
    source.write_text("2\n")
    assert provenance.code_version.__wrapped__()["dirty"] is True


def test_the_commit_is_that_of_the_code_whatever_git_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside a git hook GIT_DIR names another repository."""
    expected = provenance.code_version.__wrapped__()
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    assert provenance.code_version.__wrapped__() == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a checkout away")
def test_the_commit_of_another_user_s_checkout_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, 12345, 12345)
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))  # where nothing calls it safe
    assert len(provenance.code_version.__wrapped__()["commit"] or "") == 40


@pytest.mark.parametrize(
    ("limit", "task", "cores"),
    [("max 100000", "", 8), ("250000 100000", "", 3), ("max 100000", "2", 2), ("50000 100000", "4", 1), ("?", "x", 8)],
)
def test_cores_are_those_that_slurm_and_the_container_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, task: str, cores: int
) -> None:
    monkeypatch.setattr(provenance, "_CPU_LIMIT", tmp_path / "cpu.max")
    (tmp_path / "cpu.max").write_text(f"{limit}\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", task)
    assert provenance.available_cores() == cores
