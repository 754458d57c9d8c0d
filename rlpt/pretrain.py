"""Stage 2: an encoder from inverse kinematics (paper section 3.3.2, Figure 6)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rlpt.checkpoint import (
    State,
    global_random_state,
    optimiser_state,
    set_global_random_state,
    set_optimiser_state,
)
from rlpt.data.device_frames import on_device
from rlpt.data.splits import batches, held_out
from rlpt.data.transitions import TransitionDataset
from rlpt.errors import require_finite
from rlpt.files import write_json
from rlpt.interruption import Checkpoints
from rlpt.metrics import MetricsWriter
from rlpt.models.encoder import save_encoder
from rlpt.models.inverse_kinematics import InverseKinematics, action_loss
from rlpt.progress import Report
from rlpt.settings import Settings
from rlpt.streams import generator_state, integer_seed, set_generator_state, stream

_COLUMNS = ("updates", "train_mse", "test_mse", "train_r2", "test_r2")
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


class InverseKinematicsTraining:
    """One pretraining run, which can stop between any two updates and go on exactly where it was.

    Writes `epochs.csv`, `encoder.safetensors` and `summary.json` into its folder.
    """

    def __init__(self, dataset: Path, settings: Settings, folder: Path, device: torch.device) -> None:
        """Reads the dataset and builds the network."""
        ik = settings.ik
        self._settings, self._folder, self._device = settings, folder, device
        self._pairs = Pairs.read(dataset, settings.encoder.crop, settings.environment.frame_stack, device)
        actions = self._pairs.actions
        rows = np.arange(len(actions))
        if ik.transitions is not None:
            rows = np.sort(stream(ik.seed, "subset").choice(rows, ik.transitions, replace=False))
        self._training, self._test = (rows[part] for part in held_out(len(rows), ik.test_fraction))
        # Whoever has learned nothing can still predict the mean action: R² counts from there.
        mean = actions[self._training].mean(0)
        self._floors = [float(np.square(actions[part] - mean).mean()) for part in (self._training, self._test)]
        torch.manual_seed(integer_seed(ik.seed, "initialisation and dropout"))
        frame_stack = settings.environment.frame_stack
        self._network = InverseKinematics(settings.encoder, frame_stack, actions.shape[1], ik).to(
            device, memory_format=torch.channels_last
        )  # type: ignore[call-overload]
        self._network.encoder.precision = settings.compute.precision
        self._optimiser = torch.optim.Adam(self._network.parameters(), lr=ik.learning_rate, fused=True)
        self._shuffle = stream(ik.seed, "shuffle")
        self._order = np.empty(0, np.int64)  # this epoch's rows
        self._losses: list[Tensor] = []  # of this epoch's updates
        self._row: dict[str, float] = {}
        self._epoch, self._updates = 0, 0

    def run(self, checkpoints: Checkpoints, report: Report) -> dict[str, float]:
        """Trains from the checkpoint, or from the beginning, to the end.

        Returns:
            The last epoch's row of metrics; `test_r2` ≤ 0 means that the encoder has learned nothing.

        Raises:
            Paused: where `checkpoints` stops the job.
        """
        saved = checkpoints.load()
        written, epoch = (saved["metrics"], saved["epoch"]) if saved else (None, 0)
        with MetricsWriter(self._folder, {"epochs": _COLUMNS}, written, epoch) as metrics:
            if saved:
                self._restore(saved)
            while self._epoch < self._settings.ik.epochs:
                if not len(self._order):
                    self._order = self._shuffle.permutation(self._training)
                batches_of_epoch = list(batches(self._order, self._settings.ik.batch_size))
                for rows in batches_of_epoch[len(self._losses) :]:
                    checkpoints.poll(lambda: self._state(metrics))
                    self._update(rows)
                    report(self._updates, f"test R² {self._row['test_r2']:.2f}" if self._row else "")
                self._end_epoch(metrics)
        save_encoder(self._folder / "encoder.safetensors", self._network.encoder, self._network.statistics)
        summary = {"test_mse_of_mean_action": self._floors[1], **self._row, "learned": self._row["test_r2"] > 0}
        write_json(self._folder / "summary.json", summary)
        return self._row

    def _update(self, rows: np.ndarray) -> None:
        self._network.train()
        observations, next_observations, actions = self._pairs.batch(rows, self._settings.ik.input_range)
        loss = action_loss(self._network(observations, next_observations), actions)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        self._losses.append(loss.detach())
        self._updates += 1

    def _end_epoch(self, metrics: MetricsWriter) -> None:
        train_mse = float(torch.stack(self._losses).mean())
        test_mse = _test_mse(self._network, self._pairs, self._test, self._settings.ik.input_range)
        self._row = {
            "updates": self._updates,
            "train_mse": train_mse,
            "test_mse": test_mse,
            "train_r2": 1 - train_mse / self._floors[0],
            "test_r2": 1 - test_mse / self._floors[1],
        }
        require_finite(self._row, f"epoch {self._epoch + 1}")
        self._epoch += 1
        self._order, self._losses = np.empty(0, np.int64), []
        metrics.row("epochs", self._epoch, self._row)

    def _state(self, metrics: MetricsWriter) -> State:
        return {
            "epoch": self._epoch,
            "updates": self._updates,
            "row": self._row,
            "order": self._order,
            "losses": torch.stack(self._losses) if self._losses else torch.empty(0),
            "shuffle": generator_state(self._shuffle),
            "dropout": global_random_state(self._device),
            "network": self._network.state_dict(),
            "optimiser": optimiser_state(self._optimiser),
            "metrics": metrics.state(),
        }

    def _restore(self, state: State) -> None:
        self._epoch, self._updates, self._row = state["epoch"], state["updates"], state["row"]
        self._order = np.asarray(state["order"])
        self._losses = list(state["losses"].to(self._device))
        set_generator_state(self._shuffle, state["shuffle"])
        set_global_random_state(self._device, state["dropout"])
        self._network.load_state_dict(state["network"])
        set_optimiser_state(self._optimiser, state["optimiser"])


@torch.no_grad()
def _test_mse(network: InverseKinematics, pairs: Pairs, rows: np.ndarray, input_range: int) -> float:
    network.eval()
    total = 0.0
    for first in range(0, len(rows), _TEST_BATCH):
        observations, next_observations, actions = pairs.batch(rows[first : first + _TEST_BATCH], input_range)
        total += float(action_loss(network(observations, next_observations), actions)) * len(actions)
    return total / len(rows)
