"""A dataset of transitions in one HDF5 file: every frame once, an episode's frames compressed together.

Layout (readable by any HDF5 tool; docs/architecture.md says why HDF5):

    frames   uint8   [frames, size, size, 3]   in time order; gzip, one chunk an episode
    frame    int64   [transitions]             number of o_t's newest frame; o_{t+1}'s is the next one
    age      uint8   [transitions]             frames of the same episode before it
    actions  float32 [transitions, actions]    a_t, in [-1, 1]
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np

from rlpt.data.crops import center_crop
from rlpt.data.hdf5 import whole_hdf5
from rlpt.data.stacks import as_channels, stack_indices
from rlpt.errors import UsageError

_FORMAT = "rlpt transitions 1"
_GZIP_LEVEL = 6
_CHUNKS_READ_AT_ONCE = 64


class TransitionLayout:
    """The file's arrays, still empty."""

    def __init__(self, file: h5py.File, frames: int, transitions: int, chunk: tuple[int, ...], actions: int) -> None:
        """Makes the arrays for so many frames and transitions; `chunk` is the shape of what is compressed together."""
        file.attrs["format"] = _FORMAT
        shape = (frames, *chunk[1:])
        # Extendable only so that a chunk may be larger than what a short dataset holds.
        self.frames = file.create_dataset(
            "frames", shape, np.uint8, chunks=chunk, maxshape=(None, *chunk[1:]), compression=_GZIP_LEVEL
        )
        self.frame = file.create_dataset("frame", (transitions,), np.int64)
        self.age = file.create_dataset("age", (transitions,), np.uint8)
        self.actions = file.create_dataset("actions", (transitions, actions), np.float32)


class TransitionWriter:
    """Fills a new file, episode by episode."""

    def __init__(self, file: h5py.File, transitions: int, episode_steps: int, size: int, actions: int) -> None:
        """Lays out the file for `transitions` transitions in episodes of `episode_steps` (the last may be shorter)."""
        frames = transitions - (-transitions // episode_steps)
        chunk = (episode_steps + 1, size, size, 3)
        self._arrays = TransitionLayout(file, frames, transitions, chunk, actions)
        self._frames_written = self._written = 0

    def append(self, frames: np.ndarray, actions: np.ndarray) -> None:
        """Adds an episode: uint8 [steps + 1, size, size, 3] and float32 [steps, actions]."""
        steps = len(actions)
        first, end = self._written, self._written + steps
        self._arrays.frames[self._frames_written : self._frames_written + steps + 1] = frames
        self._arrays.frame[first:end] = self._frames_written + np.arange(steps)
        self._arrays.age[first:end] = np.minimum(np.arange(steps), 255)
        self._arrays.actions[first:end] = actions
        self._written, self._frames_written = end, self._frames_written + steps + 1


def join_transitions(path: Path, parts: Sequence[Path]) -> None:
    """Joins datasets of whole episodes into one, as if it had been written at once; chunks are copied as they are.

    All parts but the last must hold episodes of one length.
    """
    files = [h5py.File(part, "r") for part in parts]
    with whole_hdf5(path) as joined:
        frames, transitions = (sum(len(file[name]) for file in files) for name in ("frames", "actions"))
        layout = TransitionLayout(joined, frames, transitions, files[0]["frames"].chunks, files[0]["actions"].shape[1])
        first_frame = first = 0
        for file in files:
            end = first + len(file["actions"])
            layout.frame[first:end] = file["frame"][:] + first_frame
            layout.age[first:end], layout.actions[first:end] = file["age"][:], file["actions"][:]
            first, first_frame = end, first_frame + len(file["frames"])
        # After the other arrays, so that the file's layout does not depend on how many parts there are.
        first_frame = 0
        for file in files:
            for number in range(file["frames"].id.get_num_chunks()):
                offset = file["frames"].id.get_chunk_info(number).chunk_offset
                mask, chunk = file["frames"].id.read_direct_chunk(offset)
                layout.frames.id.write_direct_chunk((offset[0] + first_frame, *offset[1:]), chunk, mask)
            first_frame += len(file["frames"])
            file.close()


@contextmanager
def write_transitions(
    path: Path, transitions: int, episode_steps: int, size: int, actions: int
) -> Iterator[TransitionWriter]:
    """Opens a writer; the file appears at `path` when the block ends well."""
    with whole_hdf5(path) as file:
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
        """Reads all frames in order, cut to their middle crop × crop pixels, as uint8 [n, 3, crop, crop] blocks."""
        block = self._frames.chunks[0] * _CHUNKS_READ_AT_ONCE
        for first in range(0, len(self._frames), block):
            images = self._frames[first : first + block].transpose(0, 3, 1, 2)
            yield center_crop(images, crop)

    @property
    def frame_count(self) -> int:
        """Number of stored frames."""
        return len(self._frames)
