"""An encoder from classifying ImageNet's images, a stack of them at a time (paper section 3.2.1, Figures 3 and 4)."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rlpt.data.crops import center_crop
from rlpt.data.imagenet import LabelledImages
from rlpt.errors import UsageError
from rlpt.files import write_json
from rlpt.metrics import MetricsWriter
from rlpt.models.classifier import StackClassifier, classification_loss
from rlpt.models.encoder import save_encoder
from rlpt.progress import Report
from rlpt.settings import EncoderSettings, ImageNetSettings
from rlpt.streams import integer_seed, stream

_COLUMNS = ("updates", "train_loss", "train_top1", "train_top5", "val_loss", "val_top1", "val_top5")

# The published code lets the cosine end here: at this rate for a batch of 256, in inverse proportion for others.
_FINAL_LEARNING_RATE = 1e-6
_FINAL_BATCH_SIZE = 256

# Guessing gets above chance + 3 standard errors once in 700 runs.
_STANDARD_ERRORS = 3


def pretrain_imagenet(
    train: LabelledImages,
    val: LabelledImages,
    encoder: EncoderSettings,
    frame_stack: int,
    settings: ImageNetSettings,
    folder: Path,
    device: torch.device,
    report: Report,
) -> dict[str, float]:
    """Trains on the images and writes `encoder.safetensors`, `epochs.csv` and `summary.json` into `folder`.

    Training sees random crops, each image of each epoch its own; validation sees the middle. Accuracies are fractions,
    of the network after the epoch on validation images, of the changing network during it on training images. The few
    images that fill no stack, or no second stack of a training batch, are left out of an epoch.

    Args:
        train: images to learn from, at least two stacks.
        val: images to validate on, of the same classes and size, at least one stack.
        encoder: of the paper's size: 288 filters in 3 groups in all 11 layers.
        frame_stack: images in a stack.
        settings: the section `[imagenet]`.
        folder: an existing folder.
        device: where to compute.
        report: called after every update with the number of updates.

    Returns:
        The last epoch's row of metrics. The summary says whether validation accuracy is above guessing.

    Raises:
        UsageError: if images and settings do not fit together.
    """
    _require_fit(train, val, encoder, frame_stack, settings)
    torch.manual_seed(integer_seed(settings.seed, "initialisation"))
    network = StackClassifier(encoder, frame_stack, len(train.classes), settings.hidden).to(
        device, memory_format=torch.channels_last
    )  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule_updates = update_count(len(train.labels), settings.batch_size, frame_stack, settings.schedule_epochs)

    shuffle, crops = stream(settings.seed, "shuffle"), stream(settings.seed, "crops")
    row: dict[str, float] = {}
    updates = 0
    with MetricsWriter(folder, {"epochs": _COLUMNS}) as metrics:
        for epoch in range(1, settings.epochs + 1):
            network.train()
            scores = []
            for rows in training_batches(shuffle.permutation(len(train.labels)), settings.batch_size, frame_stack):
                images = _as_input(random_crops(train.images[rows], encoder.crop, crops), device)
                labels = torch.from_numpy(train.labels[rows]).to(device)
                for group in optimiser.param_groups:
                    group["lr"] = learning_rate(settings, schedule_updates, updates)
                logits = network(images)
                loss = classification_loss(logits, labels)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                scores.append(_scores(logits.detach(), labels))
                updates += 1
                report(updates, f"val top-1 {row['val_top1']:.1%}" if row else "")
            row = {
                "updates": updates,
                **_means("train", scores),
                **_validate(network, val, encoder.crop, settings.batch_size, device),
            }
            metrics.row("epochs", epoch, row)
    save_encoder(folder / "encoder.safetensors", network.encoder, network.statistics)
    write_json(folder / "summary.json", _summary(train, val, row))
    return row


def update_count(images: int, batch_size: int, frame_stack: int, epochs: int) -> int:
    """Returns how many gradient steps `epochs` over so many images take."""
    return epochs * sum(1 for _ in training_batches(np.arange(images), batch_size, frame_stack))


def _require_fit(
    train: LabelledImages, val: LabelledImages, encoder: EncoderSettings, frame_stack: int, settings: ImageNetSettings
) -> None:
    size = train.images.shape[1]
    if settings.batch_size % frame_stack or settings.batch_size < 2 * frame_stack:
        raise UsageError(
            f"imagenet.batch_size = {settings.batch_size} is not two or more whole stacks of "
            f"environment.frame_stack = {frame_stack} images: choose a multiple"
        )
    if encoder.filters % frame_stack:
        raise UsageError(
            f"encoder.filters = {encoder.filters} cannot be shared out among the environment.frame_stack = "
            f"{frame_stack} images of a stack: choose a multiple"
        )
    if encoder.crop > size:
        raise UsageError(
            f"encoder.crop = {encoder.crop} is larger than the images, {size} pixels: choose a smaller one"
        )
    if train.classes != val.classes or val.images.shape[1] != size:
        raise UsageError("the training and validation images are of other classes or sizes: load both alike")
    for name, split, stacks in (("train", train, 2), ("val", val, 1)):
        if len(split.labels) < stacks * frame_stack:
            raise UsageError(
                f"{name}: {len(split.labels)} images are fewer than {stacks} stacks of {frame_stack}: add images"
            )


def training_batches(rows: np.ndarray, batch_size: int, frame_stack: int) -> Iterator[np.ndarray]:
    """Cuts rows into batches of whole stacks; a last one of fewer than two stacks is left out."""
    return (batch for batch in _whole_stacks(rows, batch_size, frame_stack) if len(batch) >= 2 * frame_stack)


def _whole_stacks(rows: np.ndarray, batch_size: int, frame_stack: int) -> Iterator[np.ndarray]:
    filled = len(rows) - len(rows) % frame_stack
    return (rows[first : min(first + batch_size, filled)] for first in range(0, filled, batch_size))


def random_crops(images: np.ndarray, crop: int, random: np.random.Generator) -> np.ndarray:
    """Cuts each image at its own place.

    Every offset can be drawn, 0…16 at 84 of 100; in reinforcement learning the last is left out.

    Args:
        images: uint8 [batch, size, size, 3].
        crop: height and width of the result.
        random: draws the places.

    Returns:
        uint8 [batch, crop, crop, 3].
    """
    corners = random.integers(0, images.shape[1] - crop + 1, (len(images), 2))
    cut = [image[top : top + crop, left : left + crop] for image, (top, left) in zip(images, corners, strict=True)]
    return np.stack(cut)


def _as_input(images: np.ndarray, device: torch.device) -> Tensor:
    """Returns uint8 [batch, crop, crop, 3] as float32 [batch, 3, crop, crop] in 0…1."""
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float().div_(255)


def learning_rate(settings: ImageNetSettings, schedule_updates: int, update: int) -> float:
    """Returns the rate after `update` updates: a cosine from `settings.learning_rate` that ends at schedule_updates."""
    last = _FINAL_LEARNING_RATE * _FINAL_BATCH_SIZE / settings.batch_size
    return last + (settings.learning_rate - last) * 0.5 * (1 + math.cos(math.pi * update / schedule_updates))


def _scores(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns each image's loss and whether it is among the best 1 and 5: float32 [3, batch]."""
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    hits = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
    return torch.stack([losses, hits[:, 0].float(), hits.any(1).float()])


def _means(split: str, scores: list[Tensor]) -> dict[str, float]:
    means = torch.cat(scores, dim=1).double().mean(1).tolist()
    return {f"{split}_{name}": mean for name, mean in zip(("loss", "top1", "top5"), means, strict=True)}


@torch.no_grad()
def _validate(
    network: StackClassifier, val: LabelledImages, crop: int, batch_size: int, device: torch.device
) -> dict[str, float]:
    network.eval()
    scores = []
    for rows in _whole_stacks(np.arange(len(val.labels)), batch_size, network.frame_stack):
        middle = center_crop(val.images[rows].transpose(0, 3, 1, 2), crop).transpose(0, 2, 3, 1)
        labels = torch.from_numpy(val.labels[rows]).to(device)
        scores.append(_scores(network(_as_input(middle, device)), labels))
    return _means("val", scores)


def _summary(train: LabelledImages, val: LabelledImages, row: dict[str, float]) -> dict[str, object]:
    chance = 1 / len(train.classes)
    error = math.sqrt(chance * (1 - chance) / len(val.labels))
    return {
        "classes": len(train.classes),
        "train_images": len(train.labels),
        "val_images": len(val.labels),
        "train_digest": train.digest,
        "val_digest": val.digest,
        "chance_top1": chance,
        **row,
        "learned": row["val_top1"] > chance + _STANDARD_ERRORS * error,
    }
