"""ImageNet pretraining at tiny sizes, on stripes of our own."""

import csv
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from rlpt.data.image_cache import LabelledImages, load_split
from rlpt.data.image_folder import SPLITS, class_names
from rlpt.data.splits import update_count
from rlpt.data.synthetic_images import write_synthetic_folder
from rlpt.errors import UsageError
from rlpt.models.encoder import ConvEncoder, RunningStatistics, load_encoder
from rlpt.pretrain_imagenet import ImageNetTraining, learning_rate, random_crops
from rlpt.settings import EncoderSettings, ImageNetSettings, Settings
from tests.conftest import no_checkpoints, silent

Splits = tuple[LabelledImages, LabelledImages]

ENCODER = EncoderSettings(crop=20, layers=3, filters=24, groups=3, grouped_layers=3)


def tiny(**changes: Any) -> ImageNetSettings:
    values = {"classes": "all", "epochs": 2, "schedule_epochs": 3, "batch_size": 24, "hidden": 32}
    return ImageNetSettings.model_validate(values | changes)


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    """Six classes, 25 images each to train on and 10 to validate on."""
    home = tmp_path_factory.mktemp("imagenet")
    write_synthetic_folder(home / "images", [f"n{number:08}" for number in range(6)], 25, 10)
    names = class_names(home / "images", "all")
    train, val = (load_split(home / "images", split, names, 24, home / "cache", 1, silent) for split in SPLITS)
    return train, val


def run(
    splits: Splits, folder: Path, settings: ImageNetSettings, encoder: EncoderSettings = ENCODER
) -> dict[str, float]:
    folder.mkdir(exist_ok=True)
    everything = Settings(imagenet=settings, encoder=encoder)
    training = ImageNetTraining(*splits, everything, folder, torch.device("cpu"))
    return training.run(no_checkpoints(folder), silent)


def test_each_epoch_is_reported_and_the_encoder_written(splits: Splits, tmp_path: Path) -> None:
    last = run(splits, tmp_path, tiny())
    with (tmp_path / "epochs.csv").open() as file:
        epochs = list(csv.DictReader(file))
    assert [row["step"] for row in epochs] == ["1", "2"]
    assert list(epochs[0])[1:] == list(last)
    assert last["updates"] == update_count(150, 24, epochs=2, stack=3) == 14  # 6 batches of 24 and one of 6, twice
    assert all(0 <= last[f"{split}_top1"] <= last[f"{split}_top5"] <= 1 for split in SPLITS)

    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["classes"], summary["train_images"], summary["val_images"]) == (6, 150, 60)
    assert summary["chance_top1"] == pytest.approx(1 / 6)
    assert summary["val_digest"] == splits[1].digest
    encoder, statistics = ConvEncoder(ENCODER, 3), RunningStatistics(ENCODER)
    load_encoder(tmp_path / "encoder.safetensors", encoder, statistics)
    assert statistics.mean.abs().sum() > 0


def test_the_learning_rate_follows_its_cosine(splits: Splits, tmp_path: Path) -> None:
    """Of three epochs, which the schedule takes, two are made."""
    settings = tiny()
    training = ImageNetTraining(*splits, Settings(imagenet=settings, encoder=ENCODER), tmp_path, torch.device("cpu"))
    training.run(no_checkpoints(tmp_path), silent)
    (group,) = training._optimiser.param_groups
    assert group["lr"] == learning_rate(settings, schedule_updates=21, update=13)
    assert group["lr"] < settings.learning_rate / 2


def test_stripes_can_be_learned(splits: Splits, tmp_path: Path) -> None:
    """Chance is 1/6."""
    row = run(splits, tmp_path, tiny(epochs=12, schedule_epochs=15, learning_rate=3e-3))
    assert row["val_top1"] > 0.6
    assert json.loads((tmp_path / "summary.json").read_text())["learned"] is True


def test_what_cannot_be_learned_is_not_called_learned(splits: Splits, tmp_path: Path) -> None:
    train, val = splits
    grey = [LabelledImages(np.full_like(each.images, 128), each.labels, each.classes, "") for each in (train, val)]
    run((grey[0], grey[1]), tmp_path, tiny(epochs=1))
    assert json.loads((tmp_path / "summary.json").read_text())["learned"] is False


def test_two_runs_write_the_same_bytes(splits: Splits, tmp_path: Path) -> None:
    for name in ("a", "b"):
        run(splits, tmp_path / name, tiny())
    run(splits, tmp_path / "other", tiny(seed=1))
    for name in ("encoder.safetensors", "epochs.csv", "summary.json"):
        content = (tmp_path / "a" / name).read_bytes()
        assert content == (tmp_path / "b" / name).read_bytes(), name
        assert content != (tmp_path / "other" / name).read_bytes(), name


def test_crops_reach_every_offset_and_keep_their_image() -> None:
    """Images whose red and green are row and column, and whose blue is their number."""
    row, column = np.mgrid[:100, :100].astype(np.uint8)
    images = np.stack([np.stack([row, column, np.full_like(row, number)], -1) for number in range(250)])
    cut = random_crops(images, 84, np.random.default_rng(0))
    assert cut.shape == (250, 84, 84, 3)
    for channel in (0, 1):
        assert set(cut[:, 0, 0, channel].tolist()) == set(range(17))
    np.testing.assert_array_equal(cut[:, -1, -1, :2], cut[:, 0, 0, :2] + 83)
    np.testing.assert_array_equal(cut[:, 5, 5, 2], np.arange(250))


def test_training_sees_random_crops_and_validation_the_middle(
    splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images whose red and green are row and column."""
    row, column = np.mgrid[:24, :24].astype(np.uint8)
    train, val = (
        replace(each, images=np.stack([np.stack([row, column, row], -1)] * len(each.labels))) for each in splits
    )
    training = ImageNetTraining(train, val, Settings(imagenet=tiny(), encoder=ENCODER), tmp_path, torch.device("cpu"))
    corners: dict[bool, set[tuple[int, int]]] = {True: set(), False: set()}
    forward = training._network.forward

    def noted_forward(images: Tensor) -> Tensor:
        found = torch.round(images[:, :2, 0, 0] * 255).int().tolist()
        corners[training._network.training] |= {(top, left) for top, left in found}
        return forward(images)

    monkeypatch.setattr(training._network, "forward", noted_forward)
    training.run(no_checkpoints(tmp_path), silent)
    assert corners == {True: set(itertools.product(range(5), repeat=2)), False: {(2, 2)}}


def test_weights_decay_only_where_asked_for(splits: Splits, tmp_path: Path) -> None:
    for decay in (0.0, 0.25):
        settings = Settings(imagenet=tiny(weight_decay=decay), encoder=ENCODER)
        training = ImageNetTraining(*splits, settings, tmp_path, torch.device("cpu"))
        (group,) = training._optimiser.param_groups
        assert group["weight_decay"] == decay


def test_the_learning_rate_follows_a_cosine_over_the_whole_schedule() -> None:
    settings = ImageNetSettings()
    rates = [learning_rate(settings, 500, epoch) for epoch in (0, 250, 400, 500)]
    assert rates == pytest.approx([1e-3, 5.01e-4, 9.75e-5, 2.13e-6], rel=1e-2)


def test_validation_stacks_mix_the_classes(splits: Splits, tmp_path: Path) -> None:
    orders = []
    for seed in (0, 0, 1):
        settings = Settings(imagenet=tiny(seed=seed), encoder=ENCODER)
        orders.append(ImageNetTraining(*splits, settings, tmp_path, torch.device("cpu"))._val_order)
    assert np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
    assert sorted(orders[0]) == list(range(60))
    assert len(set(splits[1].labels[orders[0]][:8].tolist())) > 2


def test_a_crop_that_does_not_fit_is_refused(splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"encoder\.crop = 26 is larger than the images, 24 pixels"):
        run(splits, tmp_path, tiny(), ENCODER.model_copy(update={"crop": 26}))
    assert list(tmp_path.iterdir()) == []


def test_images_that_do_not_fit_are_refused(splits: Splits, tmp_path: Path) -> None:
    train, val = splits
    few = LabelledImages(train.images[:5], train.labels[:5], train.classes, "")
    with pytest.raises(UsageError, match="train: 5 images are fewer than 2 stacks of 3"):
        run((few, val), tmp_path, tiny())
    other = LabelledImages(val.images, val.labels, val.classes[::-1], "")
    with pytest.raises(UsageError, match="of other classes or sizes"):
        run((train, other), tmp_path, tiny())


def test_a_schedule_shorter_than_the_training_is_refused() -> None:
    with pytest.raises(ValidationError, match="schedule_epochs = 500 is less than epochs = 600"):
        ImageNetSettings(epochs=600)
