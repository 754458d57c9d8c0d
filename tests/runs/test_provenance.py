import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest

from rlpt.runs import provenance
from rlpt.runs.files import write_text


def commit_all(folder: Path) -> None:
    """Makes a checkout of a folder, with all that is in it."""
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run(["git", "-C", folder, *command], check=True)


def test_asking_for_the_commit_leaves_the_index_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`git status` writes what it has learned of touched files under a lock, which a killed job would leave behind."""
    source = tmp_path / "rlpt" / "train.py"
    write_text(source, "1\n")
    commit_all(tmp_path)
    index = tmp_path / ".git" / "index"
    before = index.read_bytes()
    source.touch()
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    version = provenance.code_version.__wrapped__()
    assert version["dirty"] is False and len(version["commit"]) == 40
    assert index.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "dirty"),
    [("rlpt/train.py", True), ("install/a.lock", True), ("pyproject.toml", True), ("README.md", False)],
)
def test_what_decides_results_makes_a_checkout_dirty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, dirty: bool
) -> None:
    for path in ("rlpt/train.py", "install/a.lock", "pyproject.toml", "README.md"):
        write_text(tmp_path / path, "1\n")
    commit_all(tmp_path)
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    (tmp_path / name).write_text("2\n")
    assert provenance.code_version.__wrapped__()["dirty"] is dirty


@pytest.mark.parametrize(
    ("built_from", "commit", "dirty"), [("abc", "abc", None), ("abc-dirty", "abc", True), (None, None, None)]
)
def test_an_image_knows_what_it_was_built_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built_from: str | None, commit: str | None, dirty: bool | None
) -> None:
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.delenv("RLPT_COMMIT", raising=False)
    if built_from:
        monkeypatch.setenv("RLPT_COMMIT", built_from)
    found = provenance.code_version.__wrapped__()
    assert (found["commit"], found.get("dirty")) == (commit, dirty)


def test_a_version_says_whether_files_were_changed() -> None:
    code = {"rlpt": "0.1.0", "commit": "0123456789abcdef"}
    assert provenance.version_text(code) == "rlpt 0.1.0, commit 012345678"
    assert provenance.version_text(code | {"dirty": True}) == "rlpt 0.1.0, commit 012345678+changes"


def test_a_container_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RLPT_CONTAINER_DIGEST", raising=False)
    monkeypatch.delenv("APPTAINER_CONTAINER", raising=False)
    assert provenance.container() is None
    monkeypatch.setenv("RLPT_CONTAINER_DIGEST", "sha256:1")
    assert provenance.container() == {"digest": "sha256:1"}


def test_a_session_remembers_how_and_how_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    times = Mock(now=Mock(side_effect=[begun, begun + timedelta(seconds=90.26)]))
    monkeypatch.setattr(provenance, "datetime", times)
    how = {"device": "cuda:7", "deterministic": True}
    with provenance.describe_session(tmp_path / "sessions.json", False, how) as record:
        pass
    (session,) = record["sessions"]
    assert how.items() <= session.items()
    assert (session["started"], session["ended"]) == ("2026-01-01T00:00:00+00:00", "2026-01-01T00:01:30+00:00")
    assert session["seconds"] == 90.3


def test_the_commit_is_that_of_the_code_whatever_git_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside a git hook GIT_DIR names another repository."""
    expected = provenance.code_version.__wrapped__()
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    assert provenance.code_version.__wrapped__() == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a checkout away")
def test_the_commit_of_another_user_s_checkout_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit_all(tmp_path)
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
    monkeypatch.delenv("SLURM_NTASKS", raising=False)
    assert provenance.available_cores() == cores


@pytest.mark.parametrize(("tasks", "cores"), [("1", 2), ("4", 8)])
def test_slurm_s_cores_are_those_of_a_single_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tasks: str, cores: int
) -> None:
    monkeypatch.setattr(provenance, "_CPU_LIMIT", tmp_path / "none")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    monkeypatch.setenv("SLURM_NTASKS", tasks)
    assert provenance.available_cores() == cores
