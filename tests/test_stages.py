"""The stages on real pixels at tiny sizes."""

import csv
import json
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from benchmarks.workload import changed
from rlpt.data.crops import center_crop
from rlpt.data.splits import LEARNED_R2
from rlpt.data.transitions import TransitionDataset, write_transitions
from rlpt.generate import RandomEpisodes, generate
from rlpt.models.encoder import ConvEncoder, RunningStatistics, load_encoder
from rlpt.pretrain_ik import InverseKinematicsTraining, Pairs
from rlpt.settings import Settings
from rlpt.train import Training
from tests.conftest import no_checkpoints, silent

CPU = torch.device("cpu")


def pretrain(dataset: Path, settings: Settings, folder: Path) -> dict[str, float]:
    return InverseKinematicsTraining(dataset, settings, folder, CPU).run(no_checkpoints(folder), silent)


def train(settings: Settings, folder: Path, encoder: Path | None = None) -> None:
    Training("reacher-easy", settings, 37, encoder, folder, CPU).run(no_checkpoints(folder), silent)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def dataset(tiny_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "transitions.h5"
    generate(
        RandomEpisodes("reacher-easy", tiny_settings.environment, tiny_settings.generate),
        path,
        1,
        no_checkpoints(path.parent),
        silent,
    )
    return path


def test_pretraining_reports_each_epoch_and_writes_the_encoder(
    tiny_settings: Settings, dataset: Path, tmp_path: Path
) -> None:
    last = pretrain(dataset, tiny_settings, tmp_path)
    epochs = rows(tmp_path / "epochs.csv")
    assert [row["step"] for row in epochs] == ["1", "2"]
    assert set(epochs[0]) == {"step", "updates", "train_mse", "test_mse", "train_r2", "test_r2"}
    assert int(epochs[-1]["updates"]) == last["updates"] == 8  # 57 training rows: 3 batches of 16 and one of 9, twice
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["test_r2"] == pytest.approx(1 - summary["test_mse"] / summary["test_mse_of_mean_action"])
    assert summary["learned"] == (summary["test_r2"] > LEARNED_R2)
    with TransitionDataset(dataset, 3) as stored:
        training, held_out = np.split(stored.actions, [57])
    floor = np.mean((held_out - training.mean(0)) ** 2)
    assert summary["test_mse_of_mean_action"] == pytest.approx(floor)
    encoder, statistics = ConvEncoder(tiny_settings.encoder, 3), RunningStatistics(tiny_settings.encoder)
    load_encoder(tmp_path / "encoder.safetensors", encoder, statistics)
    assert statistics.mean.abs().sum() > 0


def test_pretraining_can_learn(tiny_settings: Settings, tmp_path: Path) -> None:
    """Frames whose brightness change is the action: held-out R² rises far above the floor."""
    random = np.random.default_rng(0)
    actions = random.uniform(-1, 1, (400, 1)).astype(np.float32)
    with write_transitions(tmp_path / "data.h5", 400, 1, 24, 1) as writer:
        for action in actions:
            scene = random.integers(80, 120, (24, 24, 3))
            frames = np.stack([scene, scene + np.round(60 * action[0]) * (np.arange(24) > 12)[:, None, None]])
            writer.append(frames.astype(np.uint8), action[None])
    settings = changed(tiny_settings, "ik", epochs=12, dropout=0.0, input_range=1, hidden=(32, 16))
    assert pretrain(tmp_path / "data.h5", settings, tmp_path)["test_r2"] > 0.5


def test_an_encoder_is_tested_as_it_is_used(
    tiny_settings: Settings, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With running statistics, without dropout, without learning from what is held out, and on all of it."""
    monkeypatch.setattr("rlpt.pretrain_ik._TEST_BATCH", 2)
    settings = changed(tiny_settings, "ik", dropout=0.5)
    training = InverseKinematicsTraining(dataset, settings, tmp_path, CPU)
    last = training.run(no_checkpoints(tmp_path), silent)
    network = training._network.eval()
    before = network.statistics.mean.clone()
    observations, next_observations, actions = training._pairs.batch(training._test, settings.ik.input_range)
    with torch.no_grad():
        error = (network(observations, next_observations) - actions).square().mean()
    assert last["test_mse"] == pytest.approx(float(error), rel=1e-5)
    encoder, saved = ConvEncoder(settings.encoder, 3), RunningStatistics(settings.encoder)
    load_encoder(tmp_path / "encoder.safetensors", encoder, saved)
    assert torch.equal(saved.mean, before) and torch.equal(network.statistics.mean, before)


def test_pairs_are_the_dataset_s_middles_in_the_published_range(tiny_settings: Settings, dataset: Path) -> None:
    pairs = Pairs.read(dataset, crop=20, frame_stack=3, device=CPU)
    rows = np.array([0, 1, 7, 49, 50, 59])
    as_published, scaled = (pairs.batch(rows, input_range) for input_range in (255, 1))
    with TransitionDataset(dataset, 3) as stored:
        for at, row in enumerate(rows):
            observation, action, next_observation = stored[int(row)]
            for found, expected in zip(as_published[:2], (observation, next_observation), strict=True):
                np.testing.assert_array_equal(found[at].numpy(), center_crop(np.asarray(expected), 20))
            np.testing.assert_array_equal(as_published[2][at].numpy(), action)
    for found, other in zip(scaled[:2], as_published[:2], strict=True):
        torch.testing.assert_close(found * 255, other)


def test_a_video_is_behind_the_transitions(tiny_settings: Settings) -> None:
    video = np.full((2, 24, 24, 3), (250, 0, 250), np.uint8)
    episodes = RandomEpisodes("reacher-easy", tiny_settings.environment, tiny_settings.generate, video)
    with closing(episodes.load()) as environment:
        frames, _ = episodes.play(0, environment)
    assert ((frames == video[0]).all(-1).mean((1, 2)) > 0.3).all()


def test_pretraining_on_a_random_subset(tiny_settings: Settings, dataset: Path, tmp_path: Path) -> None:
    """As published for Figure 11: drawn from all transitions, the last of them in time held out."""
    settings = changed(tiny_settings, "ik", transitions=20, test_fraction=0.2)
    training = InverseKinematicsTraining(dataset, settings, tmp_path, CPU)
    rows = np.concatenate([training._rows, training._test])
    assert (len(training._rows), len(training._test)) == (16, 4)
    assert np.all(np.diff(rows) > 0)
    assert rows.max() > 20
    again = InverseKinematicsTraining(dataset, settings, tmp_path, CPU)
    other = InverseKinematicsTraining(dataset, changed(settings, "ik", seed=1), tmp_path, CPU)
    np.testing.assert_array_equal(again._rows, training._rows)
    assert not np.array_equal(other._rows, training._rows)


def test_pretraining_computes_in_the_precision_asked_for(
    tiny_settings: Settings, dataset: Path, tmp_path: Path
) -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        folder = tmp_path / precision
        folder.mkdir()
        losses[precision] = pretrain(dataset, changed(tiny_settings, "compute", precision=precision), folder)
    assert losses["float32"] != losses["bfloat16"]
    assert losses["float32"]["train_mse"] == pytest.approx(losses["bfloat16"]["train_mse"], rel=0.05)


def test_two_runs_of_one_job_write_the_same_bytes(tiny_settings: Settings, dataset: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        pretrain(dataset, tiny_settings, tmp_path / name)
        train(tiny_settings, tmp_path / name, tmp_path / name / "encoder.safetensors")
    files = sorted(path.name for path in (tmp_path / "a").iterdir() if path.is_file())
    assert {"encoder.safetensors", "epochs.csv", "evaluations.csv", "policy.safetensors", "updates.csv"} <= set(files)
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_training_logs_episodes_updates_and_evaluations(tiny_settings: Settings, tmp_path: Path) -> None:
    sizes = {"steps": 260, "evaluate_every": 130, "evaluation_episodes": 2, "initial_updates": 1}
    settings = changed(tiny_settings, "train", **sizes, record_video=True)
    train(settings, tmp_path)
    (episode,) = rows(tmp_path / "episodes.csv")
    assert (episode["step"], episode["episode"]) == ("250", "1")
    evaluations = rows(tmp_path / "evaluations.csv")
    assert [row["step"] for row in evaluations] == ["0", "130", "260"]
    for row in evaluations:
        returns = [float(row[f"return_{episode}"]) for episode in (1, 2)]
        assert returns[0] != returns[1]
        assert float(row["mean_return"]) == pytest.approx(np.mean(returns))
    updates = rows(tmp_path / "updates.csv")
    assert [row["step"] for row in updates] == [str(step) for step in range(20, 260, 10)]
    assert all(float(row["critic_loss"]) > 0 for row in updates)
    assert any((tmp_path / "tensorboard").iterdir())
    with av.open(str(tmp_path / "evaluation.mp4")) as video:
        frames = sum(1 for _ in video.decode(video=0))
        assert frames == 250
        assert (video.streams.video[0].width, float(video.streams.video[0].average_rate or 0)) == (96, 12.5)
