"""Replay buffer and dataset in the plain way: both observations of every transition are stored as whole stacks."""

from pathlib import Path

import numpy as np
import torch

from rlpt.data.batch import Batch
from rlpt.data.crops import random_offsets
from rlpt.streams import stream


class PlainReplay:
    """The last `capacity` transitions; draws the same ones, and the same crops, as rlpt's buffer from the same seed."""

    def __init__(self, capacity: int, size: int, frame_stack: int, actions: int, seed: int) -> None:
        """Reserves memory: uint8 [capacity, 3 · frame_stack, size, size] twice, and the rest."""
        self.capacity = capacity
        self.observations = np.zeros((capacity, 3 * frame_stack, size, size), np.uint8)
        self.next_observations = np.zeros_like(self.observations)
        self.actions = np.zeros((capacity, actions), np.float32)
        self.rewards = np.zeros((capacity, 1), np.float32)
        self.discounts = np.zeros((capacity, 1), np.float32)
        self._added = 0
        self._index_random, self._crop_random = stream(seed, "replay"), stream(seed, "crops")

    @property
    def bytes_per_transition(self) -> float:
        """Memory a transition takes when the buffer is full."""
        arrays = (self.observations, self.next_observations, self.actions, self.rewards, self.discounts)
        return sum(array.nbytes for array in arrays) / self.capacity

    def add(
        self, observation: np.ndarray, action: np.ndarray, reward: float, discount: float, next_observation: np.ndarray
    ) -> None:
        """Adds a transition, overwriting the oldest when full."""
        slot = self._added % self.capacity
        self.observations[slot], self.next_observations[slot] = observation, next_observation
        self.actions[slot], self.rewards[slot], self.discounts[slot] = action, reward, discount
        self._added += 1

    def sample(self, batch_size: int, crop: int, device: torch.device | str = "cpu") -> Batch:
        """Draws transitions uniformly and crops each observation at its own offset."""
        first = max(0, self._added - self.capacity)
        rows = self._index_random.integers(first, self._added, batch_size) % self.capacity
        return Batch(
            observations=torch.from_numpy(self._cropped(self.observations[rows], crop)).to(device),
            actions=torch.from_numpy(self.actions[rows]).to(device),
            rewards=torch.from_numpy(self.rewards[rows]).to(device),
            discounts=torch.from_numpy(self.discounts[rows]).to(device),
            next_observations=torch.from_numpy(self._cropped(self.next_observations[rows], crop)).to(device),
        )

    def _cropped(self, images: np.ndarray, crop: int) -> np.ndarray:
        tops, lefts = random_offsets(self._crop_random, len(images), images.shape[-1], crop)
        offsets = zip(images, tops, lefts, strict=True)
        return np.stack([image[:, top : top + crop, left : left + crop] for image, top, left in offsets])


def save_pairs(folder: Path, observations: np.ndarray, actions: np.ndarray, next_observations: np.ndarray) -> int:
    """Writes whole stacks before and after each action, uncompressed; returns the bytes on disk."""
    arrays = {"observations": observations, "actions": actions, "next_observations": next_observations}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return sum((folder / f"{name}.npy").stat().st_size for name in arrays)
