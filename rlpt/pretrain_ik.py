"""Stage 2: an encoder from inverse kinematics (paper section 3.3.2, Figure 6)."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlpt.data.device_frames import on_device
from rlpt.data.splits import LEARNED_R2, batches, held_out
from rlpt.data.transitions import TransitionDataset
from rlpt.epochs import EpochTraining
from rlpt.models.inverse_kinematics import InverseKinematics, action_loss
from rlpt.settings import Settings
from rlpt.streams import integer_seed, stream

_TEST_BATCH = 256


@dataclass(frozen=True)
class Pairs:
    """A dataset's pairs of observations, cropped to the middle, every frame once."""

    frames: Tensor
    "uint8 [frames, 3, crop, crop], in the memory of the device that learns"
    numbers: np.ndarray
    "Frames of o_t and o_{t+1}: int64 [transitions, 2, frame_stack]"
    actions: np.ndarray
    "float32 [transitions, |A|]"

    @classmethod
    def read(cls, path: Path, crop: int, frame_stack: int, device: torch.device) -> "Pairs":
        """Loads the dataset at `path` into the device's memory."""
        with TransitionDataset(path, frame_stack) as dataset:
            frames = torch.empty((dataset.frame_count, 3, crop, crop), dtype=torch.uint8, device=device)
            filled = 0
            for block in dataset.load_frames(crop):
                frames[filled : filled + len(block)] = torch.from_numpy(np.ascontiguousarray(block))
                filled += len(block)
            return cls(frames, dataset.observation_frames(np.arange(len(dataset))), dataset.actions)

    def batch(self, rows: np.ndarray, input_range: int) -> tuple[Tensor, Tensor, Tensor]:
        """Returns o_t, o_{t+1} (float32 [batch, 3 · frame_stack, crop, crop] in 0…input_range) and a_t."""
        device = self.frames.device
        observations, next_observations = (
            self._observations(on_device(self.numbers[rows, which], device), input_range) for which in (0, 1)
        )
        return observations, next_observations, on_device(self.actions[rows], device)

    def _observations(self, numbers: Tensor, input_range: int) -> Tensor:
        stacks = self.frames.index_select(0, numbers.flatten()).reshape(len(numbers), -1, *self.frames.shape[2:])
        images = stacks.to(torch.float32, memory_format=torch.channels_last)
        return images.div_(255) if input_range == 1 else images


class InverseKinematicsTraining(EpochTraining[InverseKinematics]):
    """Learns the action between two observations from random transitions, and tests on the last of them."""

    columns = ("updates", "train_mse", "test_mse", "train_r2", "test_r2")

    def __init__(self, dataset: Path, settings: Settings, folder: Path, device: torch.device) -> None:
        """Reads the dataset and builds the network."""
        self._settings = ik = settings.ik
        frame_stack = settings.environment.frame_stack
        self._pairs = Pairs.read(dataset, settings.encoder.crop, frame_stack, device)
        actions = self._pairs.actions
        rows = np.arange(len(actions))
        if ik.transitions is not None:
            rows = np.sort(stream(ik.seed, "subset").choice(rows, ik.transitions, replace=False))
        training, self._test = (rows[part] for part in held_out(len(rows), ik.test_fraction))
        # Whoever has learned nothing can still predict the mean action: R² counts from there.
        mean = actions[training].mean(0)
        self._floors = [float(np.square(actions[part] - mean).mean()) for part in (training, self._test)]
        torch.manual_seed(integer_seed(ik.seed, "initialisation and dropout"))
        network = InverseKinematics(settings.encoder, frame_stack, actions.shape[1], ik).to(
            device, memory_format=torch.channels_last
        )  # type: ignore[call-overload]
        optimiser = torch.optim.Adam(network.parameters(), lr=ik.learning_rate, fused=True)
        precision = settings.compute.precision
        super().__init__(network, optimiser, training, ik.epochs, ik.seed, precision, folder, device)

    def _batches(self, order: np.ndarray) -> Iterable[np.ndarray]:
        return batches(order, self._settings.batch_size)

    def _update(self, rows: np.ndarray) -> Tensor:
        loss = self._loss(rows)
        self._descend(loss)
        return loss.detach()[None]

    def _loss(self, rows: np.ndarray) -> Tensor:
        observations, next_observations, actions = self._pairs.batch(rows, self._settings.input_range)
        return action_loss(self._network(observations, next_observations), actions)

    def _metrics(self, scores: Tensor) -> dict[str, float]:
        train_mse, test_mse = float(scores.mean()), self._test_mse()
        train_r2, test_r2 = (1 - mse / floor for mse, floor in zip((train_mse, test_mse), self._floors, strict=True))
        return {"train_mse": train_mse, "test_mse": test_mse, "train_r2": train_r2, "test_r2": test_r2}

    @torch.no_grad()
    def _test_mse(self) -> float:
        batches_of_test = np.split(self._test, range(_TEST_BATCH, len(self._test), _TEST_BATCH))
        return sum(float(self._loss(rows)) * len(rows) for rows in batches_of_test) / len(self._test)

    def _note(self) -> str:
        return f"test R² {self._row['test_r2']:.2f}"

    def _summary(self) -> dict[str, Any]:
        return {"test_mse_of_mean_action": self._floors[1], **self._row, "learned": self._row["test_r2"] > LEARNED_R2}
