"""An encoder from classifying ImageNet's images, a stack of them at a time (paper section 3.2.1, Figures 3 and 4)."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlpt.data.crops import center_crop
from rlpt.data.device_frames import on_device
from rlpt.data.image_cache import LabelledImages
from rlpt.data.splits import batches, update_count
from rlpt.epochs import EpochTraining
from rlpt.errors import UsageError
from rlpt.models.classifier import StackClassifier, classification_loss
from rlpt.runs.checkpoint import State
from rlpt.settings import ImageNetSettings, Settings
from rlpt.streams import generator_state, integer_seed, set_generator_state, stream

# The published code lets the cosine end here: at this rate for a batch of 256, in inverse proportion for others.
_FINAL_LEARNING_RATE = 1e-6
_FINAL_BATCH_SIZE = 256

# Guessing gets above chance + 3 standard errors once in 700 runs.
_STANDARD_ERRORS = 3


class ImageNetTraining(EpochTraining[StackClassifier]):
    """Learns to classify a stack of images at once.

    Training sees random crops, each image of each epoch its own; validation sees the middle. Accuracies are fractions,
    of the network after the epoch on validation images, of the changing network during it on training images. The few
    images that fill no stack, or no second stack of a training batch, are left out of an epoch.
    """

    columns = ("updates", "train_loss", "train_top1", "train_top5", "val_loss", "val_top1", "val_top5")

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
        self._settings = imagenet = settings.imagenet
        frame_stack = settings.environment.frame_stack
        self._train, self._val, self._crop = train, val, settings.encoder.crop
        self._images = [train.digest, val.digest]
        torch.manual_seed(integer_seed(imagenet.seed, "initialisation"))
        network = StackClassifier(settings.encoder, frame_stack, len(train.classes), imagenet.hidden).to(
            device, memory_format=torch.channels_last
        )  # type: ignore[call-overload]
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=imagenet.learning_rate, weight_decay=imagenet.weight_decay, fused=True
        )
        rows, precision = np.arange(len(train.labels)), settings.compute.precision
        super().__init__(network, optimiser, rows, imagenet.epochs, imagenet.seed, precision, folder, device)
        self._schedule_updates = update_count(len(rows), imagenet.batch_size, imagenet.schedule_epochs, frame_stack)
        self._crops = stream(imagenet.seed, "crops")
        # Classmates lie side by side; in one stack they would help standard convolutions, which mix its images.
        self._val_order = stream(imagenet.seed, "validation").permutation(len(val.labels))

    def _batches(self, order: np.ndarray) -> Iterable[np.ndarray]:
        return batches(order, self._settings.batch_size, self._network.frame_stack)

    def _update(self, rows: np.ndarray) -> Tensor:
        images = _as_input(random_crops(self._train.images[rows], self._crop, self._crops), self._device)
        labels = on_device(self._train.labels[rows], self._device)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(self._settings, self._schedule_updates, self._updates)
        logits = self._network(images)
        self._descend(classification_loss(logits, labels))
        return _scores(logits.detach(), labels)

    def _metrics(self, scores: Tensor) -> dict[str, float]:
        return _means("train", scores) | _means("val", self._validate())

    @torch.no_grad()
    def _validate(self) -> Tensor:
        scores = []
        for rows in batches(self._val_order, self._settings.batch_size, self._network.frame_stack, least=1):
            middle = center_crop(self._val.images[rows].transpose(0, 3, 1, 2), self._crop).transpose(0, 2, 3, 1)
            labels = on_device(self._val.labels[rows], self._device)
            scores.append(_scores(self._network(_as_input(middle, self._device)), labels))
        return torch.cat(scores, dim=-1)

    def _note(self) -> str:
        return f"val top-1 {self._row['val_top1']:.1%}"

    def _summary(self) -> dict[str, Any]:
        chance = 1 / len(self._train.classes)
        error = math.sqrt(chance * (1 - chance) / len(self._val.labels))
        return {
            "classes": len(self._train.classes),
            "train_images": len(self._train.labels),
            "val_images": len(self._val.labels),
            "train_digest": self._train.digest,
            "val_digest": self._val.digest,
            "chance_top1": chance,
            **self._row,
            "learned": self._row["val_top1"] > chance + _STANDARD_ERRORS * error,
        }

    def _state(self) -> State:
        return super()._state() | {"images": self._images, "crops": generator_state(self._crops)}

    def _restore(self, state: State) -> None:
        if state["images"] != self._images:
            raise UsageError(
                f"{self._folder}: began with other images of dataset {self._settings.dataset!r}: restore them, or "
                "delete this folder, and it begins anew"
            )
        super()._restore(state)
        set_generator_state(self._crops, state["crops"])


def _require_fit(train: LabelledImages, val: LabelledImages, settings: Settings) -> None:
    size, crop, frame_stack = train.images.shape[1], settings.encoder.crop, settings.environment.frame_stack
    if crop > size:
        raise UsageError(f"encoder.crop = {crop} is larger than the images, {size} pixels: choose a smaller one")
    if train.classes != val.classes or val.images.shape[1] != size:
        raise UsageError("the training and validation images are of other classes or sizes: load both alike")
    for name, split, stacks in (("train", train, 2), ("val", val, 1)):
        if len(split.labels) < stacks * frame_stack:
            raise UsageError(
                f"{name}: {len(split.labels)} images are fewer than {stacks} stacks of {frame_stack}: add images"
            )


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


def _means(split: str, scores: Tensor) -> dict[str, float]:
    means = scores.double().mean(1).tolist()
    return {f"{split}_{name}": mean for name, mean in zip(("loss", "top1", "top5"), means, strict=True)}
