"""A dataset of transitions in one HDF5 file: every frame once, an episode's frames compressed together.

Layout (readable by any HDF5 tool; docs/architecture.md says why HDF5):

    frames   uint8   [frames, size, size, 3]   in time order; gzip, one chunk an episode
    frame    int64   [transitions]             number of o_t's newest frame; o_{t+1}'s is the next one
    age      uint8   [transitions]             frames of the same episode before it
    actions  float32 [transitions, actions]    a_t, in [-1, 1]
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np

from rlpt.data.crops import center_crop
from rlpt.data.stacks import as_channels, stack_indices
from rlpt.errors import UsageError
from rlpt.files import whole_file

_FORMAT = "rlpt transitions 1"
_GZIP_LEVEL = 6
_CHUNKS_READ_AT_ONCE = 64


class TransitionWriter:
    """Fills a new file, episode by episode."""

    def __init__(self, file: h5py.File, transitions: int, episode_steps: int, size: int, actions: int) -> None:
        """Lays out the file for `transitions` transitions in episodes of `episode_steps` (the last may be shorter)."""
        episodes = -(-transitions // episode_steps)
        file.attrs["format"] = _FORMAT
        shape = (transitions + episodes, size, size, 3)
        chunk = (min(episode_steps + 1, shape[0]), size, size, 3)
        self._frames = file.create_dataset("frames", shape, np.uint8, chunks=chunk, compression=_GZIP_LEVEL)
        self._frame = file.create_dataset("frame", (transitions,), np.int64)
        self._age = file.create_dataset("age", (transitions,), np.uint8)
        self._actions = file.create_dataset("actions", (transitions, actions), np.float32)
        self._frames_written = self._written = 0

    def append(self, frames: np.ndarray, actions: np.ndarray) -> None:
        """Adds an episode: uint8 [steps + 1, size, size, 3] and float32 [steps, actions]."""
        steps = len(actions)
        first, end = self._written, self._written + steps
        self._frames[self._frames_written : self._frames_written + steps + 1] = frames
        self._frame[first:end] = self._frames_written + np.arange(steps)
        self._age[first:end] = np.minimum(np.arange(steps), 255)
        self._actions[first:end] = actions
        self._written, self._frames_written = end, self._frames_written + steps + 1


@contextmanager
def write_transitions(
    path: Path, transitions: int, episode_steps: int, size: int, actions: int
) -> Iterator[TransitionWriter]:
    """Opens a writer; the file appears at `path` when the block ends well."""
    with whole_file(path) as aside, h5py.File(aside, "w") as file:
        yield TransitionWriter(file, transitions, episode_steps, size, actions)


class TransitionDataset:
    """A finished file, read by index. Use as a context manager."""

    def __init__(self, path: Path, frame_stack: int) -> None:
        """Opens `path`.

        Raises:
            UsageError: if it is not readable or not such a dataset.
        """
        try:
            self._file = h5py.File(path, "r")
            if self._file.attrs.get("format") != _FORMAT:
                raise UsageError(f"{path}: not a dataset of transitions (its format is not {_FORMAT!r})")
            self._frames = self._file["frames"]
            self._frame, self._age = self._file["frame"][:], self._file["age"][:]
            self.actions: np.ndarray = self._file["actions"][:]
        except (OSError, KeyError) as error:
            raise UsageError(f"{path}: not readable as a dataset of transitions: {error}") from None
        self._frame_stack = frame_stack

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._frame)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns (o_t, a_t, o_{t+1}): uint8 [3 · frame_stack, size, size], float32 [actions], and again uint8."""
        rows = np.array([range(len(self))[index]])
        needed = self.observation_frames(rows)[0]
        first = int(needed.min())
        frames = self._frames[first : int(needed.max()) + 1]
        observation, next_observation = as_channels(frames[needed - first])
        return observation, self.actions[rows[0]], next_observation

    def observation_frames(self, rows: np.ndarray) -> np.ndarray:
        """Returns the numbers of the frames of o_t and o_{t+1}: int64 [batch, 2, frame_stack]."""
        newest, age = self._frame[rows], self._age[rows].astype(np.int64)
        pair = [stack_indices(newest + step, age + step, self._frame_stack) for step in (0, 1)]
        return np.stack(pair, axis=1)

    def load_frames(self, crop: int) -> Iterator[np.ndarray]:
        """Reads all frames in order, cut to their middle crop × crop pixels, as uint8 [n, crop, crop, 3] blocks."""
        block = self._frames.chunks[0] * _CHUNKS_READ_AT_ONCE
        for first in range(0, len(self._frames), block):
            images = self._frames[first : first + block].transpose(0, 3, 1, 2)
            yield center_crop(images, crop).transpose(0, 2, 3, 1)

    @property
    def frame_count(self) -> int:
        """Number of stored frames."""
        return len(self._frames)
