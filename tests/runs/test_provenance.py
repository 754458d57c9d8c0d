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
