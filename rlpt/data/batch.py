"""Batches of transitions: as they are, or as what a device needs to cut them out of its frames."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Transitions from the replay buffer, cropped, on the agent's device."""

    observations: Tensor
    "uint8 [batch, 3 · frame_stack, crop, crop]"
    actions: Tensor
    "float32 [batch, actions], in [-1, 1]"
    rewards: Tensor
    "float32 [batch, 1]"
    discounts: Tensor
    "float32 [batch, 1]: the environment's own; 0 only where a task, not the clock, ended the episode"
    next_observations: Tensor
    "like observations"

    def __len__(self) -> int:
        return len(self.rewards)

    def cut(self) -> Self:
        """Returns itself: it is cut already."""
        return self


@dataclass(frozen=True)
class DrawnBatch:
    """The same transitions before they are cut: what was drawn is small, and cutting can be part of a CUDA graph."""

    frames: Tensor
    "uint8 [frames, 3, size, size], all on the device"
    crop: int
    "Height and width of an observation."
    places: Tensor
    "int64 [2, batch, frame_stack + 2]: of observations and next observations, the frames, and the crop's top and left"
    outcomes: Tensor
    "float32 [batch, actions + 2]: action, reward, discount"

    def __len__(self) -> int:
        return len(self.outcomes)

    def cut(self) -> Batch:
        """Returns the transitions themselves."""
        observations, next_observations = self._cut(self.places[0]), self._cut(self.places[1])
        actions, rewards, discounts = self.outcomes[:, :-2], self.outcomes[:, -2:-1], self.outcomes[:, -1:]
        return Batch(observations, actions, rewards, discounts, next_observations)

    def _cut(self, places: Tensor) -> Tensor:
        windows = self.frames.unfold(2, self.crop, 1).unfold(3, self.crop, 1)  # [frames, 3, tops, lefts, crop, crop]
        numbers, top, left = places[:, :-2], places[:, -2:-1], places[:, -1:]
        return windows[numbers, :, top, left].reshape(len(places), -1, self.crop, self.crop)

    def with_own_draws(self) -> Self:
        """Returns a batch from the same frames, whose draws `take` can change."""
        return replace(self, places=self.places.clone(), outcomes=self.outcomes.clone())

    def take(self, other: "DrawnBatch") -> None:
        """Copies what was drawn for another batch from the same frames."""
        torch._foreach_copy_([self.places, self.outcomes], [other.places, other.outcomes])
