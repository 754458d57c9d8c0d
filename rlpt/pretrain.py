"""Stage 2: an encoder from inverse kinematics (paper section 3.3.2, Figure 6)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rlpt.data.splits import batches, held_out
from rlpt.data.stacks import as_channels
from rlpt.data.transitions import TransitionDataset
from rlpt.files import write_json
from rlpt.metrics import MetricsWriter
from rlpt.models.encoder import save_encoder
from rlpt.models.inverse_kinematics import InverseKinematics, action_loss
from rlpt.progress import Report
from rlpt.settings import Settings
from rlpt.streams import integer_seed, stream

_TEST_BATCH = 256


@dataclass(frozen=True)
class Pairs:
    """A dataset's pairs of observations, cropped to the middle and held in memory, every frame once."""

    frames: np.ndarray
    "uint8 [frames, crop, crop, 3]"
    numbers: np.ndarray
    "Frames of o_t and o_{t+1}: int64 [transitions, 2, frame_stack]"
    actions: np.ndarray
    "float32 [transitions, |A|]"

    @classmethod
    def read(cls, path: Path, crop: int, frame_stack: int) -> "Pairs":
        """Loads the dataset at `path`."""
        with TransitionDataset(path, frame_stack) as dataset:
            frames = np.empty((dataset.frame_count, crop, crop, 3), np.uint8)
            filled = 0
            for block in dataset.load_frames(crop):
                frames[filled : filled + len(block)] = block
                filled += len(block)
            return cls(frames, dataset.observation_frames(np.arange(len(dataset))), dataset.actions)

    def batch(self, rows: np.ndarray, input_range: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Returns o_t, o_{t+1} (float32 [batch, 3 · frame_stack, crop, crop] in 0…input_range) and a_t."""
        stacks = self.frames[self.numbers[rows]]
        pair = [torch.from_numpy(as_channels(stacks[:, which])).to(device).float() for which in (0, 1)]
        if input_range == 1:
            pair = [images.div_(255) for images in pair]
        return pair[0], pair[1], torch.from_numpy(self.actions[rows]).to(device)


def pretrain(dataset: Path, settings: Settings, folder: Path, device: torch.device, report: Report) -> dict[str, float]:
    """Trains on the dataset and writes `encoder.safetensors`, `epochs.csv` and `summary.json` into `folder`.

    Returns:
        The last epoch's row of metrics; `test_r2` ≤ 0 means that the encoder has learned nothing.
    """
    ik = settings.ik
    pairs = Pairs.read(dataset, settings.encoder.crop, settings.environment.frame_stack)
    rows = np.arange(len(pairs.actions))
    if ik.transitions is not None:
        rows = np.sort(stream(ik.seed, "subset").choice(rows, ik.transitions, replace=False))
    training, test = (rows[part] for part in held_out(len(rows), ik.test_fraction))
    torch.manual_seed(integer_seed(ik.seed, "initialisation and dropout"))
    network = InverseKinematics(settings.encoder, settings.environment.frame_stack, pairs.actions.shape[1], ik).to(
        device, memory_format=torch.channels_last
    )  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(network.parameters(), lr=ik.learning_rate)

    # Whoever has learned nothing can still predict the mean action: R² counts from there.
    mean_action = pairs.actions[training].mean(0)
    floors = [float(np.square(pairs.actions[rows] - mean_action).mean()) for rows in (training, test)]
    shuffle = stream(ik.seed, "shuffle")
    row: dict[str, float] = {}
    updates = 0
    columns = ("updates", "train_mse", "test_mse", "train_r2", "test_r2")
    with MetricsWriter(folder, {"epochs": columns}) as metrics:
        for epoch in range(1, ik.epochs + 1):
            network.train()
            losses = []
            for rows in batches(shuffle.permutation(training), ik.batch_size):
                observations, next_observations, actions = pairs.batch(rows, ik.input_range, device)
                loss = action_loss(network(observations, next_observations), actions)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                losses.append(loss.detach())
                updates += 1
                report(updates, f"test R² {row['test_r2']:.2f}" if row else "")
            mse = float(torch.stack(losses).mean()), _test_mse(network, pairs, test, ik.input_range, device)
            row = {
                "updates": updates,
                "train_mse": mse[0],
                "test_mse": mse[1],
                "train_r2": 1 - mse[0] / floors[0],
                "test_r2": 1 - mse[1] / floors[1],
            }
            metrics.row("epochs", epoch, row)
    save_encoder(folder / "encoder.safetensors", network.encoder, network.statistics)
    write_json(folder / "summary.json", {"test_mse_of_mean_action": floors[1], **row, "learned": row["test_r2"] > 0})
    return row


@torch.no_grad()
def _test_mse(
    network: InverseKinematics, pairs: Pairs, rows: np.ndarray, input_range: int, device: torch.device
) -> float:
    network.eval()
    total = 0.0
    for first in range(0, len(rows), _TEST_BATCH):
        observations, next_observations, actions = pairs.batch(rows[first : first + _TEST_BATCH], input_range, device)
        total += float(action_loss(network(observations, next_observations), actions)) * len(actions)
    return total / len(rows)
