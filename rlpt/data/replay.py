"""The replay buffer: every frame once, stacks and crops made while sampling."""

import errno
import math
import os
import zlib
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

from rlpt.data.batch import Batch, DrawnBatch
from rlpt.data.crops import random_offsets
from rlpt.data.device_frames import DeviceFrames
from rlpt.data.stacks import stack_indices
from rlpt.errors import UsageError
from rlpt.streams import generator_state, set_generator_state, stream

_CPU = torch.device("cpu")


class ReplayBuffer:
    """All transitions of a run, of which the last `capacity` are drawn from.

    An episode of n transitions takes n + 1 frames; a transition refers to its frame by number, and a stack is that
    frame and those before it. At 100×100 this is about 30 KB a transition, against 180 KB for two stacks. Frames are
    only ever appended, so that a checkpoint needs to say no more than how many there are.
    """

    def __init__(
        self,
        steps: int,
        capacity: int,
        size: int,
        frame_stack: int,
        actions: int,
        seed: int,
        file: Path | None = None,
        device: torch.device = _CPU,
    ) -> None:
        """Reserves space, which the system hands out only as it is filled.

        Args:
            steps: transitions that will be added in all.
            capacity: how many of them, the latest, are drawn from.
            size: height and width of a frame.
            frame_stack: frames in an observation.
            actions: |A|.
            seed: of the streams that draw transitions and crops.
            file: holds the frames, if they are to outlive this process; None: memory.
            device: where batches go. A GPU keeps a copy of all frames, and batches for it are not cut yet.
        """
        self.capacity = capacity
        self._frame_stack = frame_stack
        self._index_random = stream(seed, "replay")
        self._crop_random = stream(seed, "crops")
        # Colour by colour, so that a crop is copied straight into the channels of a stack. The most frames there can be
        # are those of episodes of a single step.
        shape = (2 * steps + 1, 3, size, size)
        self._file = None if file is None else _frame_file(file, math.prod(shape))
        self._frames = np.zeros(shape, np.uint8) if file is None else np.memmap(file, np.uint8, "r", shape=shape)
        # Episodes of fewer than 50 steps are rare.
        self._copy = DeviceFrames(steps + steps // 50 + 1, size, device) if device.type == "cuda" else None
        self._checksum = 0  # of all frames, in order
        self._frame = np.zeros(steps, np.int64)  # number of the frame of o_t
        self._age = np.zeros(steps, np.uint8)  # frames before it in its episode, at most frame_stack - 1
        self._actions = np.zeros((steps, actions), np.float32)
        self._rewards = np.zeros(steps, np.float32)
        self._discounts = np.zeros(steps, np.float32)
        self._frame_count = 0
        self._end = 0
        self._episode_steps = 0

    def __len__(self) -> int:
        """Transitions that are drawn from."""
        return min(self._end, self.capacity)

    @property
    def used_bytes(self) -> int:
        """Memory or disk that the transitions so far take."""
        arrays = (self._frame, self._age, self._actions, self._rewards, self._discounts)
        return self._frame_count * int(self._frames[0].nbytes) + sum(array[: self._end].nbytes for array in arrays)

    def start_episode(self, frame: np.ndarray) -> None:
        """Adds an episode's first frame, uint8 [size, size, 3]."""
        self._add_frame(frame)
        self._episode_steps = 0

    def add(self, action: np.ndarray, reward: float, discount: float, next_frame: np.ndarray) -> None:
        """Adds the transition from the newest frame to `next_frame`, uint8 [size, size, 3], by an action, [actions]."""
        row = self._end
        self._frame[row] = self._frame_count - 1
        self._age[row] = min(self._episode_steps, self._frame_stack - 1)
        self._actions[row], self._rewards[row], self._discounts[row] = action, reward, discount
        self._end += 1
        self._episode_steps += 1
        self._add_frame(next_frame)

    def _add_frame(self, frame: np.ndarray) -> None:
        planes = np.ascontiguousarray(frame.transpose(2, 0, 1))
        if self._file is None:
            self._frames[self._frame_count] = planes
        else:  # written, not mapped: on a full disk a write fails, a write to mapped memory crashes the process
            written = os.pwrite(self._file.fileno(), planes.data, self._frame_count * planes.nbytes)
            if written < planes.nbytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._file.name)
        if self._copy:
            self._copy.put(self._frame_count, planes[None])
        self._checksum = zlib.crc32(planes.data, self._checksum)
        self._frame_count += 1

    def sample(self, batch_size: int, crop: int) -> Batch | DrawnBatch:
        """Draws transitions uniformly, with replacement, and crops each of their observations at its own offset.

        Args:
            batch_size: number of transitions.
            crop: height and width of the crops.

        Returns:
            The transitions; for a GPU before they are cut.
        """
        drawn = self._index_random.integers(self._end - len(self), self._end, batch_size)
        columns = self._actions[drawn], self._rewards[drawn, None], self._discounts[drawn, None]
        newest, age = self._frame[drawn], self._age[drawn]
        pair = self._places(newest, age, crop), self._places(newest + 1, age + 1, crop)
        if self._copy:
            return self._copy.drawn(np.stack(pair), np.hstack(columns), crop)
        observations, next_observations = (self._cut(places, crop) for places in pair)
        actions, rewards, discounts = (torch.from_numpy(column) for column in columns)
        return Batch(observations, actions, rewards, discounts, next_observations)

    def _places(self, newest: np.ndarray, age: np.ndarray, crop: int) -> np.ndarray:
        """Returns the frames of each observation and its crop's top and left, int64 [batch, frame_stack + 2]."""
        numbers = stack_indices(newest, age, self._frame_stack)
        offsets = random_offsets(self._crop_random, len(newest), self._frames.shape[2], crop)
        return np.column_stack([numbers, *offsets])

    def _cut(self, places: np.ndarray, crop: int) -> torch.Tensor:
        """Returns uint8 [batch, 3 · frame_stack, crop, crop]."""
        windows = sliding_window_view(self._frames, (crop, crop), axis=(2, 3))  # [frames, 3, tops, lefts, crop, crop]
        stacks = windows[places[:, :-2], :, places[:, -2:-1], places[:, -1:]]
        return torch.from_numpy(stacks.reshape(len(places), -1, crop, crop))

    def state(self) -> dict[str, Any]:
        """Returns what `restore` needs beside the frames' file, whose content is safely on disk afterwards."""
        if self._file is not None:
            os.fsync(self._file.fileno())
        filled = slice(self._end)
        return {
            "frame": self._frame[filled],
            "age": self._age[filled],
            "actions": self._actions[filled],
            "rewards": self._rewards[filled],
            "discounts": self._discounts[filled],
            "frame_count": self._frame_count,
            "checksum": self._checksum,
            "episode_steps": self._episode_steps,
            "index_random": generator_state(self._index_random),
            "crop_random": generator_state(self._crop_random),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes back to where `state` was taken; later frames in the file will be written over.

        Raises:
            UsageError: if the file does not hold the frames that it held then.
        """
        self._end = len(state["frame"])
        for name in ("frame", "age", "actions", "rewards", "discounts"):
            getattr(self, f"_{name}")[: self._end] = np.asarray(state[name])
        self._frame_count, self._episode_steps = state["frame_count"], state["episode_steps"]
        self._checksum = 0
        for number, frame in enumerate(self._frames[: self._frame_count]):
            self._checksum = zlib.crc32(frame, self._checksum)
            if self._copy:
                self._copy.put(number, np.array(frame[None]))
        if self._checksum != state["checksum"]:
            raise UsageError(
                f"{getattr(self._frames, 'filename', 'memory')}: damaged, not the frames of the checkpoint: delete its "
                "folder, and the job starts anew"
            )
        set_generator_state(self._index_random, state["index_random"])
        set_generator_state(self._crop_random, state["crop_random"])


def _frame_file(path: Path, size: int) -> FileIO:
    """Opens the frames' file for writing, at its greatest length; unwritten parts take no space."""
    path.touch()
    file = FileIO(path, "r+")
    file.truncate(size)
    return file
