"""The replay buffer: every frame once, stacks and crops made while sampling."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from rlpt.data.crops import random_offsets
from rlpt.data.stacks import as_channels, stack_indices
from rlpt.streams import stream

if TYPE_CHECKING:
    from rlpt.agents.sac import Batch


class ReplayBuffer:
    """The last `capacity` transitions, as a ring of frames.

    An episode of n transitions takes n + 1 frames; a transition refers to its frame by number, and a stack is that
    frame and those before it. At 100×100 this is about 30 KB a transition, against 180 KB for two stacks.
    """

    def __init__(
        self, capacity: int, size: int, frame_stack: int, actions: int, seed: int, episode_steps: int = 250
    ) -> None:
        """Reserves memory (which the system hands out only as it is filled).

        Args:
            capacity: transitions to keep.
            size: height and width of a frame.
            frame_stack: frames in an observation.
            actions: |A|.
            seed: of the streams that draw transitions and crops.
            episode_steps: the usual length of an episode; where episodes are shorter, slightly fewer transitions than
                `capacity` fit.
        """
        self.capacity = capacity
        self._frame_stack = frame_stack
        self._index_random = stream(seed, "replay")
        self._crop_random = stream(seed, "crops")
        slots = capacity + capacity // episode_steps + frame_stack + 1
        self._frames = np.zeros((slots, size, size, 3), np.uint8)
        self._frame = np.zeros(capacity, np.int64)  # running number of the frame of o_t; its slot is number % slots
        self._age = np.zeros(capacity, np.uint8)  # frames before it in its episode, at most frame_stack - 1
        self._actions = np.zeros((capacity, actions), np.float32)
        self._rewards = np.zeros(capacity, np.float32)
        self._discounts = np.zeros(capacity, np.float32)
        self._frames_seen = 0
        self._first, self._end = 0, 0  # running numbers of the oldest transition and of the next one
        self._steps = 0  # transitions since the episode's start

    def __len__(self) -> int:
        return self._end - self._first

    @property
    def bytes_per_transition(self) -> float:
        """Memory a transition takes when the buffer is full."""
        arrays = (self._frames, self._frame, self._age, self._actions, self._rewards, self._discounts)
        return sum(array.nbytes for array in arrays) / self.capacity

    def start_episode(self, frame: np.ndarray) -> None:
        """Adds an episode's first frame, uint8 [size, size, 3]."""
        self._add_frame(frame)
        self._steps = 0

    def add(self, action: np.ndarray, reward: float, discount: float, next_frame: np.ndarray) -> None:
        """Adds the transition from the newest frame to `next_frame`."""
        slot = self._end % self.capacity
        self._frame[slot] = self._frames_seen - 1
        self._age[slot] = min(self._steps, self._frame_stack - 1)
        self._actions[slot], self._rewards[slot], self._discounts[slot] = action, reward, discount
        self._end += 1
        self._first = max(self._first, self._end - self.capacity)
        self._steps += 1
        self._add_frame(next_frame)

    def _add_frame(self, frame: np.ndarray) -> None:
        slots = len(self._frames)
        self._frames[self._frames_seen % slots] = frame
        self._frames_seen += 1
        # Transitions whose oldest frame has just been overwritten are gone.
        while self._first < self._end:
            slot = self._first % self.capacity
            if self._frame[slot] - self._age[slot] >= self._frames_seen - slots:
                break
            self._first += 1

    def sample(self, batch_size: int, crop: int, device: torch.device | str = "cpu") -> "Batch":
        """Draws transitions uniformly, with replacement, and crops each of their observations at its own offset.

        Args:
            batch_size: number of transitions.
            crop: height and width of the crops.
            device: where the batch goes.
        """
        from rlpt.agents.sac import Batch

        drawn = self._index_random.integers(self._first, self._end, batch_size) % self.capacity
        newest, age = self._frame[drawn], self._age[drawn]
        return Batch(
            observations=self._stacks(newest, age, crop).to(device),
            actions=torch.from_numpy(self._actions[drawn]).to(device),
            rewards=torch.from_numpy(self._rewards[drawn, None]).to(device),
            discounts=torch.from_numpy(self._discounts[drawn, None]).to(device),
            next_observations=self._stacks(newest + 1, age + 1, crop).to(device),
        )

    def _stacks(self, newest: np.ndarray, age: np.ndarray, crop: int) -> torch.Tensor:
        frames = stack_indices(newest, age, self._frame_stack) % len(self._frames)
        tops, lefts = random_offsets(self._crop_random, len(newest), self._frames.shape[1], crop)
        windows = np.lib.stride_tricks.sliding_window_view(self._frames, (crop, crop), axis=(1, 2))
        stacks = windows.transpose(0, 1, 2, 4, 5, 3)[frames, tops[:, None], lefts[:, None]]
        return torch.from_numpy(as_channels(stacks))
