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
from rlpt.runs.folder import PROGRESS_FILE
from tests.conftest import REPOSITORY, no_checkpoints, silent


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
    job = plan(load_manifest(REPOSITORY / "experiments" / "demo.toml"))[0]
    assert execution.progress_of(job, tmp_path) is None
    file = job.folder(tmp_path).partial / PROGRESS_FILE
    file.parent.mkdir(parents=True)
    execution._noted(silent, file)(5, 20, "return 7")
    assert execution.progress_of(job, tmp_path) == (5, 20, "return 7")
    file.write_text("5 of a former version")
    assert execution.progress_of(job, tmp_path) is None
