"""Run folders: complete or absent, one process at a time."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from rlpt.errors import Busy, UsageError
from rlpt.manifest import Manifest
from rlpt.pipeline.execution import unfinished
from rlpt.pipeline.jobs import plan
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
    for end in (Paused, KeyboardInterrupt, SystemExit):
        with pytest.raises(end), folder.claim({}, {}, {"device": "cpu"}):
            raise end
        assert (folder.state(), folder.error()) == ("paused", "")
    with folder.claim({}, {}, {"device": "cpu"}) as work:
        (work / CHECKPOINT_FILE).write_text("the job's")
    assert len(json.loads((folder.path / "provenance.json").read_text())["sessions"]) == 4
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


def test_a_run_is_on_the_disk_before_it_has_its_name_and_keeps_its_checkpoint_until_then(
    tmp_path: Path, disk_events: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path, "train", "a-1")
    replace = Path.replace

    def killed(path: Path, target: Path) -> Path:
        if path == folder.partial:
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt), folder.claim({}, {}, {"device": "cpu"}) as work:
        (work / "tensorboard").mkdir()
        for name in ("result.txt", "tensorboard/events", CHECKPOINT_FILE):
            (work / name).write_text("x")
    assert (folder.partial / CHECKPOINT_FILE).exists()
    synced = {path for event, path in disk_events if event == "sync"}
    assert {str(folder.partial / name) for name in ("result.txt", "tensorboard/events", "tensorboard")} <= synced


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


@pytest.mark.parametrize("kind", ["file", "link"])
@pytest.mark.parametrize("name", ["a-1", "a-1.partial"])
def test_what_is_in_the_way_of_a_run_is_named(tmp_path: Path, name: str, kind: str) -> None:
    folder = RunFolder(tmp_path, "train", "a-1")
    folder.path.parent.mkdir()
    place = folder.path.with_name(name)
    if kind == "file":
        place.touch()
    else:
        place.symlink_to("gone")
    with (
        pytest.raises(UsageError, match=rf"{name}: is in the way of a run's folder: move it away"),
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
    (folder.partial / ".rlpt-progress.txt").write_text("half")
    (folder.partial / ".rlpt-half-0a1b2c3d").mkdir()
    (folder.partial / ".rlpt-half-0a1b2c3d" / "half.h5").write_text("half")
    with folder.claim({}, {}, {"device": "cpu"}) as work:
        for name in ("checkpoint.safetensors", "replay.frames", "progress.txt"):
            (work / name).write_text("x")
    assert sorted(path.name for path in folder.path.iterdir()) == ["provenance.json", "settings.yaml"]
    assert set(json.loads((folder.path / "provenance.json").read_text())["outputs"]) == {"settings.yaml"}
