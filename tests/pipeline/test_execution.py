"""What a job hands to its stage."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rlpt.data.clips import Clip
from rlpt.manifest import load_manifest
from rlpt.pipeline import execution
from rlpt.pipeline.jobs import plan
from rlpt.runs.checksums import file_sha256, read_provenance
from rlpt.runs.files import write_json
from rlpt.runs.folder import PROGRESS_FILE, SESSIONS_FILE
from tests.conftest import REPOSITORY, no_checkpoints, silent

DEMO = REPOSITORY / "experiments" / "demo.toml"


@pytest.mark.parametrize(("figure", "seeds", "videos"), [("fig08_ik", 3, 0), ("fig10_ik_distracted", 1, 3)])
def test_a_stage_gets_what_its_manifest_says(
    figure: str, seeds: int, videos: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def training(environment: str, settings: Any, seed: int, encoder: Any, folder: Any, device: Any, video: Any) -> Any:
        given[:] = [environment, settings, video, seed, encoder]
        return SimpleNamespace(run=lambda *_: None)

    def generate(episodes: Any, *_: Any) -> None:
        given[:] = [episodes.environment, (episodes.settings, episodes.generate), episodes.video]

    monkeypatch.setattr("rlpt.train.Training", training)
    monkeypatch.setattr("rlpt.generate.generate", generate)
    monkeypatch.setattr(Clip, "locate", lambda clip, data: data / clip.name)
    monkeypatch.setattr("rlpt.data.videos.load_video", lambda path, size: (path, size))

    jobs = [
        job for job in plan(load_manifest(REPOSITORY / "experiments" / f"{figure}.toml")) if job.stage != "pretrain"
    ]
    data = tmp_path / "data"
    for job in jobs:
        inputs = [tmp_path / needed.id for needed in job.inputs]
        task = execution._Task(job, inputs, tmp_path, data, torch.device("cpu"), no_checkpoints(tmp_path), silent)
        execution._WORK[job.stage](task)
        video = (data / job.clip.name, 100) if job.clip else None
        if job.stage == "train":
            assert given == [job.environment, job.settings, video, job.seed, inputs[0] if inputs else None]
        else:
            assert given == [job.environment, (job.settings.environment, job.settings.generate), video]
    assert len({job.seed for job in jobs if job.stage == "train"}) == seeds
    assert len({job.clip for job in jobs if job.clip}) == videos


def test_decoding_images_is_reported_and_training_counts_its_own_updates(tmp_path: Path) -> None:
    """How many images there are is known only when they have been listed."""
    manifest = load_manifest(REPOSITORY / "experiments" / "fig07_imagenet.toml", "smoke", ("imagenet.epochs=2",))
    job = next(job for job in plan(manifest) if job.method == "imagenet")
    told: list[tuple[int, int, str]] = []
    task = execution._Task(
        job, [], tmp_path, tmp_path, torch.device("cpu"), no_checkpoints(tmp_path), lambda *each: told.append(each)
    )
    execution._WORK["imagenet"](task)
    decoding, training = ([each for each in told if (each[2] == "decoding") == kind] for kind in (True, False))
    assert {done for done, total, _ in decoding if done == total} == {150, 60}
    updates = len(training)
    assert [each[:2] for each in training] == [(number, updates) for number in range(1, updates + 1)]
    assert training[0][2] == ""
    assert training[-1][2].startswith("val top-1")


def test_a_running_job_tells_how_far_it_is(tmp_path: Path) -> None:
    job = plan(load_manifest(DEMO))[0]
    assert execution.progress_of(job, tmp_path) is None
    file = job.folder(tmp_path).partial / PROGRESS_FILE
    file.parent.mkdir(parents=True)
    execution._noted(silent, file)(5, 20, "return 7")
    assert execution.progress_of(job, tmp_path) == (5, 20, "return 7")
    for former in ("5 return 7", "5 update 3/1000", "5 "):  # without the total
        file.write_text(former)
        assert execution.progress_of(job, tmp_path) is None


def test_a_classifier_learns_from_train_and_is_validated_on_val(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[Any] = set()
    given: list[Any] = []

    def load_split(folder: Path, split: str, classes: Any, size: int, cache: Path, *_: Any) -> str:
        asked.add((folder, classes, size, cache))
        return split

    def training(*arguments: Any) -> Any:
        given.extend(arguments)
        return SimpleNamespace(run=lambda *_: {"val_top1": 0.5, "val_top5": 0.6})

    monkeypatch.setattr("rlpt.data.image_cache.load_split", load_split)
    monkeypatch.setattr("rlpt.data.image_folder.class_names", lambda folder, choice: (choice,))
    monkeypatch.setattr("rlpt.pretrain_imagenet.ImageNetTraining", training)
    job, data = plan(load_manifest(REPOSITORY / "experiments" / "fig07_imagenet.toml"))[0], tmp_path / "data"
    task = execution._Task(job, [], tmp_path, data, torch.device("cpu"), no_checkpoints(tmp_path), silent)
    execution._WORK["imagenet"](task)
    assert given[:3] == ["train", "val", job.settings]
    assert asked == {(data / "imagenet", ("paper",), 100, data / "cache")}


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> list[execution._Task]:
    """What stages are given, which do nothing."""
    given: list[execution._Task] = []
    monkeypatch.setattr(execution, "_WORK", dict.fromkeys(execution._WORK, given.append))
    return given


def test_data_are_generated_without_a_gpu(
    stub: list[execution._Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose name is not asked for either: that takes some of its memory."""
    monkeypatch.setattr(execution, "choose_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: pytest.fail("asked for the name"))
    job = plan(load_manifest(DEMO, "smoke"))[0]
    execution.run_job(job, execution.Execution(tmp_path, quiet=True), {})
    (session,) = read_provenance(job.folder(tmp_path).path)["sessions"]
    assert (stub[0].device.type, session["device"], session["machine"]["gpu"]) == ("cpu", "cpu", None)


def test_what_a_job_computes_with_and_from_is_its_own(
    stub: list[execution._Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = load_manifest(REPOSITORY / "experiments" / "fig10_ik_distracted.toml", None, ("compute.precision=tf32",))
    job = plan(manifest)[0]
    assert job.clip
    clip = tmp_path / "clip.mp4"
    clip.write_text("x")
    rounded: list[bool] = []
    monkeypatch.setattr(Clip, "locate", lambda *_: clip)
    monkeypatch.setitem(execution._WORK, "generate", lambda _: rounded.append(torch.backends.cudnn.allow_tf32))
    execution.run_job(job, execution.Execution(tmp_path, quiet=True), {})
    assert rounded == [True]
    assert read_provenance(job.folder(tmp_path).path)["video"] == {"name": job.clip.name, "sha256": file_sha256(clip)}


@pytest.mark.parametrize(("before", "warned"), [(1, False), (2, True)])
def test_another_number_of_threads_is_said(
    before: int, warned: bool, stub: list[execution._Task], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = load_manifest(DEMO, "smoke", ("conditions.ik.pretrain=none",))
    job = plan(manifest)[0]
    write_json(job.folder(tmp_path).partial / SESSIONS_FILE, [{"threads": before, "seconds": 1.0, "end": "done"}])
    execution.run_job(job, execution.Execution(tmp_path, threads=1, quiet=True), {})
    said = capsys.readouterr().err
    assert ("goes on with" in said) == (f"{job.id} goes on with 1 threads after 2" in said) == warned
