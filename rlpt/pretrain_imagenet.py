"""An encoder from classifying ImageNet's images, a stack of them at a time (paper section 3.2.1, Figures 3 and 4)."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rlpt.checkpoint import State, optimiser_state, set_optimiser_state
from rlpt.data.crops import center_crop
from rlpt.data.device_frames import on_device
from rlpt.data.image_cache import LabelledImages
from rlpt.errors import UsageError, require_finite
from rlpt.files import write_json
from rlpt.interruption import Checkpoints
from rlpt.metrics import MetricsWriter
from rlpt.models.classifier import StackClassifier, classification_loss
from rlpt.models.encoder import save_encoder
from rlpt.progress import Report
from rlpt.settings import ImageNetSettings, Settings
from rlpt.streams import generator_state, integer_seed, set_generator_state, stream

_COLUMNS = ("updates", "train_loss", "train_top1", "train_top5", "val_loss", "val_top1", "val_top5")

# The published code lets the cosine end here: at this rate for a batch of 256, in inverse proportion for others.
_FINAL_LEARNING_RATE = 1e-6
_FINAL_BATCH_SIZE = 256

# Guessing gets above chance + 3 standard errors once in 700 runs.
_STANDARD_ERRORS = 3


class ImageNetTraining:
    """One pretraining run, which can stop between any two updates and go on exactly where it was.

    Training sees random crops, each image of each epoch its own; validation sees the middle. Accuracies are fractions,
    of the network after the epoch on validation images, of the changing network during it on training images. The few
    images that fill no stack, or no second stack of a training batch, are left out of an epoch.

    Writes `epochs.csv`, `encoder.safetensors` and `summary.json` into its folder.
    """

    def __init__(
        self, train: LabelledImages, val: LabelledImages, settings: Settings, folder: Path, device: torch.device
    ) -> None:
        """Builds the network.

        Args:
            train: images to learn from, at least two stacks.
            val: images to validate on, of the same classes and size, at least one stack.
            settings: the sections imagenet, encoder and compute, and the frame stack.
            folder: an existing folder.
            device: where to compute.

        Raises:
            UsageError: if images and settings do not fit together.
        """
        _require_fit(train, val, settings)
        imagenet, frame_stack = settings.imagenet, settings.environment.frame_stack
        self._train, self._val, self._crop, self._frame_stack = train, val, settings.encoder.crop, frame_stack
        self._imagenet, self._folder, self._device = imagenet, folder, device
        self._images = [train.digest, val.digest]
        torch.manual_seed(integer_seed(imagenet.seed, "initialisation"))
        self._network = StackClassifier(settings.encoder, frame_stack, len(train.classes), imagenet.hidden).to(
            device, memory_format=torch.channels_last
        )  # type: ignore[call-overload]
        self._network.encoder.precision = settings.compute.precision
        self._optimiser = torch.optim.AdamW(
            self._network.parameters(), lr=imagenet.learning_rate, weight_decay=imagenet.weight_decay, fused=True
        )
        self._schedule_updates = update_count(
            len(train.labels), imagenet.batch_size, frame_stack, imagenet.schedule_epochs
        )
        self._shuffle, self._crops = stream(imagenet.seed, "shuffle"), stream(imagenet.seed, "crops")
        self._order = np.empty(0, np.int64)  # this epoch's rows
        self._scores: list[Tensor] = []  # of this epoch's updates
        self._row: dict[str, float] = {}
        self._epoch, self._updates, self._epoch_updates = 0, 0, 0

    def run(self, checkpoints: Checkpoints, report: Report) -> dict[str, float]:
        """Trains from the checkpoint, or from the beginning, to the end.

        Returns:
            The last epoch's row of metrics. The summary says whether validation accuracy is above guessing.

        Raises:
            Paused: where `checkpoints` stops the job.
        """
        saved = checkpoints.load()
        written, epoch = (saved["metrics"], saved["epoch"]) if saved else (None, 0)
        with MetricsWriter(self._folder, {"epochs": _COLUMNS}, written, epoch) as metrics:
            if saved:
                self._restore(saved)
            while self._epoch < self._imagenet.epochs:
                if not len(self._order):
                    self._order = self._shuffle.permutation(len(self._train.labels))
                of_epoch = list(training_batches(self._order, self._imagenet.batch_size, self._frame_stack))
                for rows in of_epoch[self._epoch_updates :]:
                    checkpoints.poll(lambda: self._state(metrics))
                    self._update(rows)
                    report(self._updates, f"val top-1 {self._row['val_top1']:.1%}" if self._row else "")
                self._end_epoch(metrics)
        save_encoder(self._folder / "encoder.safetensors", self._network.encoder, self._network.statistics)
        write_json(self._folder / "summary.json", _summary(self._train, self._val, self._row))
        return self._row

    def _update(self, rows: np.ndarray) -> None:
        self._network.train()
        images = _as_input(random_crops(self._train.images[rows], self._crop, self._crops), self._device)
        labels = on_device(self._train.labels[rows], self._device)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(self._imagenet, self._schedule_updates, self._updates)
        logits = self._network(images)
        loss = classification_loss(logits, labels)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        self._scores.append(_scores(logits.detach(), labels))
        self._updates += 1
        self._epoch_updates += 1

    def _end_epoch(self, metrics: MetricsWriter) -> None:
        self._row = {
            "updates": self._updates,
            **_means("train", self._scores),
            **_validate(self._network, self._val, self._crop, self._imagenet.batch_size, self._device),
        }
        require_finite(self._row, f"epoch {self._epoch + 1}")
        self._epoch += 1
        self._order, self._scores, self._epoch_updates = np.empty(0, np.int64), [], 0
        metrics.row("epochs", self._epoch, self._row)

    def _state(self, metrics: MetricsWriter) -> State:
        return {
            "images": self._images,
            "epoch": self._epoch,
            "updates": self._updates,
            "epoch_updates": self._epoch_updates,
            "row": self._row,
            "order": self._order,
            "scores": torch.cat(self._scores, dim=1) if self._scores else torch.empty(3, 0),
            "shuffle": generator_state(self._shuffle),
            "crops": generator_state(self._crops),
            "network": self._network.state_dict(),
            "optimiser": optimiser_state(self._optimiser),
            "metrics": metrics.state(),
        }

    def _restore(self, state: State) -> None:
        if state["images"] != self._images:
            raise UsageError(
                f"{self._folder}: began with other images of dataset {self._imagenet.dataset!r}: restore them, or "
                "delete this folder, and it begins anew"
            )
        self._epoch, self._updates, self._row = state["epoch"], state["updates"], state["row"]
        self._epoch_updates = state["epoch_updates"]
        self._order, self._scores = np.asarray(state["order"]), [state["scores"].to(self._device)]
        set_generator_state(self._shuffle, state["shuffle"])
        set_generator_state(self._crops, state["crops"])
        self._network.load_state_dict(state["network"])
        set_optimiser_state(self._optimiser, state["optimiser"])


def update_count(images: int, batch_size: int, frame_stack: int, epochs: int) -> int:
    """Returns how many gradient steps `epochs` over so many images take."""
    return epochs * sum(1 for _ in training_batches(np.arange(images), batch_size, frame_stack))


def _require_fit(train: LabelledImages, val: LabelledImages, settings: Settings) -> None:
    size, encoder, frame_stack = train.images.shape[1], settings.encoder, settings.environment.frame_stack
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
    return on_device(images, device).permute(0, 3, 1, 2).float().div_(255)


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
        labels = on_device(val.labels[rows], device)
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
