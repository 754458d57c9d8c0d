"""Run folders: complete or absent, one process at a time."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from rlpt.errors import Busy, UsageError
from rlpt.manifest import Manifest
from rlpt.pipeline.execution import unfinished
from rlpt.pipeline.jobs import plan
from rlpt.runs.files import whole_file, whole_folder, write_safetensors, write_text
from rlpt.runs.folder import CHECKPOINT_FILE, RunFolder
from rlpt.runs.interruption import Paused


def test_a_run_appears_when_it_is_complete(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "train", "a-1")
    assert folder.state() == "missing"
    with folder.claim({"steps": 3}, {}, {"device": "cpu"}) as work:
        (work / "result.txt").write_text("x")
        assert folder.state() == "running"
        assert not folder.path.exists()
    assert folder.state() == "done"
    assert yaml.safe_load((folder.path / "settings.yaml").read_text()) == {"steps": 3}
    provenance = json.loads((folder.path / "provenance.json").read_text())
    assert set(provenance) == {"code", "packages", "locks", "container", "sessions", "outputs"}
    (session,) = provenance["sessions"]
    machine = {"device", "commit", "packages", "machine", "renderer", "threads", "load"}
    assert set(session) == machine | {"started", "ended", "seconds", "end"}
    assert session["end"] == "done"
    assert set(provenance["outputs"]) == {"result.txt", "settings.yaml"}
    assert sorted(path.name for path in folder.path.parent.iterdir()) == [".a-1.lock", "a-1"]
    with (
        pytest.raises(Busy),
        folder.claim({"steps": 3}, {}, {"device": "cpu"}),
    ):  # finished by another process, between a look and the claim
        pass


def test_a_failed_run_says_why_and_can_be_repeated(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "train", "a-1")
    with pytest.raises(RuntimeError), folder.claim({}, {}, {"device": "cpu"}) as work:
        (work / "half.txt").write_text("x")
        raise RuntimeError("it broke\nin two lines")
    assert (folder.state(), folder.error()) == ("failed", "it broke")
    with folder.claim({}, {}, {"device": "cpu"}) as work:
        assert (work / "half.txt").exists()  # the job may be able to go on from it
    assert (folder.state(), folder.error()) == ("done", "")


def test_an_interrupted_run_is_paused_and_every_session_is_remembered(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "train", "a-1")
    for _ in range(2):
        with pytest.raises(Paused), folder.claim({}, {}, {"device": "cpu"}):
            raise Paused
        assert folder.state() == "paused"
    with folder.claim({}, {}, {"device": "cpu"}) as work:
        (work / CHECKPOINT_FILE).write_text("the job's")
    assert len(json.loads((folder.path / "provenance.json").read_text())["sessions"]) == 3
    assert sorted(path.name for path in folder.path.iterdir()) == ["provenance.json", "settings.yaml"]


def test_what_a_kill_in_the_last_moment_left_is_deleted_by_the_next_look(
    finished_runs: tuple[Manifest, Path], tmp_path: Path
) -> None:
    manifest, finished = finished_runs
    runs = shutil.copytree(finished, tmp_path / "runs")
    job = plan(manifest)[-1]
    leftover = job.folder(runs).path / CHECKPOINT_FILE
    leftover.write_text("no longer needed")
    assert unfinished(plan(manifest), runs) == []
    assert not leftover.exists()


def test_a_run_is_worked_on_by_one_process(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "train", "a-1")
    with (
        folder.claim({}, {}, {"device": "cpu"}),
        pytest.raises(Busy, match="another process"),
        RunFolder(tmp_path, "train", "a-1").claim({}, {}, {"device": "cpu"}),
    ):
        pass


def test_a_runs_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file in the way")
    with (
        pytest.raises(UsageError, match=r"choose another (--runs|folder)"),
        RunFolder(tmp_path / "runs", "train", "a").claim({}, {}, {"device": "cpu"}),
    ):
        pass


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.txt"
    write_text(path, "first")
    with pytest.raises(RuntimeError), whole_file(path) as aside:
        aside.write_text("half")
        assert path.read_text() == "first"
        raise RuntimeError
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_a_run_that_another_machine_has_just_finished_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On NFS, a look at a name that was not there a moment ago is answered from memory."""
    folder = RunFolder(tmp_path, "train", "a-1")
    with folder.claim({}, {}, {"device": "cpu"}):
        pass
    monkeypatch.setattr(RunFolder, "is_done", lambda _: False)
    with pytest.raises(Busy, match="has just finished"), folder.claim({}, {}, {"device": "cpu"}):
        pass
    assert sorted(path.name for path in folder.path.parent.iterdir()) == [".a-1.lock", "a-1"]


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_files_and_folders_are_as_open_as_the_umask_says(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.txt", "x")
        write_safetensors(tmp_path / "d.safetensors", {"x": torch.zeros(1)})
        with whole_folder(tmp_path / "b") as aside:
            (aside / "c.txt").write_text("x")
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("a.txt", "d.safetensors", "b", "b/c.txt")]
    assert modes == [0o666 & ~umask, 0o666 & ~umask, 0o777 & ~umask, 0o666 & ~umask]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b", "d.safetensors"]


def test_what_is_in_the_way_of_a_run_is_named(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "train", "a-1")
    folder.path.parent.mkdir()
    folder.path.touch()
    with (
        pytest.raises(UsageError, match=r"a-1: is in the way of a run's folder: move it away"),
        folder.claim({}, {}, {"device": "cpu"}),
    ):
        pass


def test_a_link_that_leads_nowhere_does_not_keep_a_run_from_its_end(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "train", "a-1")
    with folder.claim({}, {}, {"device": "cpu"}) as work:
        (work / "left-by-an-editor").symlink_to("gone")
    assert folder.state() == "done"


def test_an_error_is_forgotten_when_the_run_goes_on(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "train", "a-1")
    with pytest.raises(RuntimeError), folder.claim({}, {}, {"device": "cpu"}):
        raise RuntimeError("it broke")
    with folder.claim({}, {}, {"device": "cpu"}):
        assert folder.error() == ""
    assert not (folder.path / "error.txt").exists()


def test_what_was_needed_only_on_the_way_is_gone_in_the_end(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "train", "a-1")
    folder.partial.mkdir(parents=True)
    (folder.partial / ".rlpt-half-0a1b2c3d").write_text("half")
    with folder.claim({}, {}, {"device": "cpu"}) as work:
        for name in ("checkpoint.safetensors", "replay.frames", "progress.txt"):
            (work / name).write_text("x")
    assert sorted(path.name for path in folder.path.iterdir()) == ["provenance.json", "settings.yaml"]
    assert set(json.loads((folder.path / "provenance.json").read_text())["outputs"]) == {"settings.yaml"}
