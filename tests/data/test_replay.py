"""The replay buffer against a naive one that stores whole stacks."""

import errno
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlpt.data.replay import ReplayBuffer
from rlpt.data.stacks import as_channels, stack_indices
from rlpt.errors import UsageError

SIZE = 6


def frame(number: int) -> np.ndarray:
    """A frame that tells its number and position: uint8 [SIZE, SIZE, 3]."""
    pixels = np.arange(SIZE * SIZE * 3, dtype=np.int64).reshape(SIZE, SIZE, 3)
    return ((pixels * 7 + number * 13) % 256).astype(np.uint8)


def stacked(frames: list[np.ndarray], count: int) -> np.ndarray:
    """Concatenates the last `count` frames' channels, the first one repeated where there are fewer."""
    padded = [frames[0]] * count + frames
    return np.concatenate([image.transpose(2, 0, 1) for image in padded[-count:]])


@dataclass
class Naive:
    """All transitions, each with two whole stacks."""

    capacity: int
    frame_stack: int

    def __post_init__(self) -> None:
        self.transitions: list[tuple[np.ndarray, float, np.ndarray]] = []
        self.frames: list[np.ndarray] = []

    def start(self, image: np.ndarray) -> None:
        self.frames = [image]

    def add(self, reward: float, image: np.ndarray) -> None:
        before = stacked(self.frames, self.frame_stack)
        self.frames.append(image)
        self.transitions.append((before, reward, stacked(self.frames, self.frame_stack)))
        self.transitions = self.transitions[-self.capacity :]


def play(replay: ReplayBuffer, naive: Naive, lengths: list[int], first: int = 0) -> int:
    """Adds episodes of numbered frames to both; returns the next number."""
    number = first
    for length in lengths:
        replay.start_episode(frame(number))
        naive.start(frame(number))
        for _ in range(length):
            number += 1
            replay.add(np.array([number / 100]), float(number), number % 5 / 4, frame(number))
            naive.add(float(number), frame(number))
        number += 1
    return number


def assert_same(replay: ReplayBuffer, naive: Naive) -> None:
    assert len(replay) == len(naive.transitions)
    expected = {reward: (before, after) for before, reward, after in naive.transitions}
    batch = replay.sample(64, SIZE).cut()
    for row in range(64):
        reward = batch.rewards[row].item()
        before, after = expected[reward]
        np.testing.assert_array_equal(batch.observations[row].numpy(), before)
        np.testing.assert_array_equal(batch.next_observations[row].numpy(), after)
        assert batch.actions[row].item() == pytest.approx(reward / 100)
        assert batch.discounts[row].item() == reward % 5 / 4


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=8), capacity=st.integers(1, 99), stack=st.integers(1, 4)
)
def test_stacks_are_those_of_a_buffer_that_stores_them(lengths: list[int], capacity: int, stack: int) -> None:
    replay = ReplayBuffer(sum(lengths), capacity, SIZE, stack, 1, seed=0)
    naive = Naive(capacity, stack)
    play(replay, naive, lengths)
    assert_same(replay, naive)


@settings(max_examples=30, deadline=None)
@given(before=st.lists(st.integers(1, 9), min_size=1, max_size=4), lost=st.integers(1, 5), after=st.integers(1, 9))
def test_a_restored_buffer_goes_on_as_if_nothing_had_happened(before: list[int], lost: int, after: int) -> None:
    """What was added after the state was taken is forgotten, though its frames are in the file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "frames"
        steps = sum(before) + max(lost, after)
        naive = Naive(1000, 3)
        replay = ReplayBuffer(steps, 1000, SIZE, 3, 1, 0, file)
        number = play(replay, naive, before)
        state = replay.state()
        saved = {key: value.copy() if isinstance(value, np.ndarray) else value for key, value in state.items()}
        play(replay, Naive(1000, 3), [lost], first=number + 50)
        del replay
        restored = ReplayBuffer(steps, 1000, SIZE, 3, 1, 0, file)
        restored.restore(saved)
        play(restored, naive, [after], first=number)
        assert_same(restored, naive)


def filled(seed: int = 0, size: int = SIZE, capacity: int = 100) -> ReplayBuffer:
    replay = ReplayBuffer(100, capacity, size, 3, 2, seed)
    image = np.arange(size * size * 3, dtype=np.uint8).reshape(size, size, 3)
    replay.start_episode(image)
    for step in range(40):
        replay.add(np.zeros(2), step, 1.0, image)
    return replay


def test_sampling_is_uniform_and_decided_by_the_seed() -> None:
    rewards = filled(seed=3).sample(4000, SIZE).cut().rewards.flatten()
    counts = torch.bincount(rewards.long(), minlength=40)
    assert counts.min() > 50
    assert torch.equal(rewards, filled(seed=3).sample(4000, SIZE).cut().rewards.flatten())
    assert not torch.equal(rewards, filled(seed=4).sample(4000, SIZE).cut().rewards.flatten())


def test_all_of_the_latest_transitions_are_drawn_and_no_others() -> None:
    rewards = filled(capacity=7).sample(400, SIZE).cut().rewards.flatten()
    assert set(rewards.tolist()) == set(range(33, 40))


def test_each_observation_is_cropped_at_its_own_offset() -> None:
    size, crop = 10, 6
    batch = filled(size=size).sample(400, crop).cut()
    image = np.arange(size * size * 3, dtype=np.uint8).reshape(size, size, 3).transpose(2, 0, 1)
    # All four published offsets of each axis occur, and not the last possible one (reference: 0…15 of 0…16).
    places = {(image[0, y, x], y, x) for y in range(size - crop) for x in range(size - crop)}
    by_corner = {int(corner): (y, x) for corner, y, x in places}
    seen = set()
    for name in ("observations", "next_observations"):
        for observation in getattr(batch, name).numpy():
            y, x = by_corner[int(observation[0, 0, 0])]
            expected = np.concatenate([image[:, y : y + crop, x : x + crop]] * 3)
            np.testing.assert_array_equal(observation, expected)
            seen.add((y, x))
    assert len(seen) == (size - crop) ** 2
    assert not torch.equal(batch.observations, batch.next_observations)


def test_memory_at_the_papers_size_is_31_kilobytes_a_transition() -> None:
    replay = ReplayBuffer(750, 100_000, 100, 3, 6, seed=0)
    image = np.zeros((100, 100, 3), np.uint8)
    for _ in range(3):
        replay.start_episode(image)
        for _ in range(250):
            replay.add(np.zeros(6), 0.0, 1.0, image)
    assert 30_000 < replay.used_bytes / 750 < 31_000


@given(st.integers(1, 5), st.integers(0, 20))
def test_a_stack_repeats_the_first_frame_of_its_episode(frame_stack: int, age: int) -> None:
    newest = 100
    first = newest - age
    (indices,) = stack_indices(np.array([newest]), np.array([age]), frame_stack)
    assert list(indices) == [max(first, newest - back) for back in range(frame_stack - 1, -1, -1)]


def test_stacked_frames_become_channels_oldest_first() -> None:
    stacks = np.arange(2 * 3 * 4 * 5 * 3, dtype=np.int64).astype(np.uint8).reshape(2, 3, 4, 5, 3)
    channels = as_channels(stacks)
    assert channels.shape == (2, 9, 4, 5)
    np.testing.assert_array_equal(channels[1, 5], stacks[1, 1, :, :, 2])


def test_frames_that_are_not_those_of_the_checkpoint_are_refused(tmp_path: Path) -> None:
    def buffer() -> ReplayBuffer:
        return ReplayBuffer(30, 30, SIZE, 3, 1, seed=0, file=tmp_path / "replay.frames")

    replay = buffer()
    play(replay, Naive(30, 3), [5, 7])
    state = replay.state()
    buffer().restore(state)
    with (tmp_path / "replay.frames").open("r+b") as file:
        file.seek(3 * SIZE * SIZE * 3 + 5)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(UsageError, match=r"replay\.frames: damaged, not the frames of the checkpoint"):
        buffer().restore(state)


def test_frames_are_on_the_disk_when_the_state_says_so(tmp_path: Path, disk_events: list[tuple[str, str]]) -> None:
    replay = ReplayBuffer(30, 30, SIZE, 3, 1, seed=0, file=tmp_path / "replay.frames")
    replay.start_episode(frame(0))
    replay.state()
    assert disk_events == [("sync", str(tmp_path / "replay.frames"))]


def test_a_frame_that_was_written_in_part_is_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replay = ReplayBuffer(30, 30, SIZE, 3, 1, seed=0, file=tmp_path / "replay.frames")
    write = os.pwrite
    monkeypatch.setattr("os.pwrite", lambda file, data, offset: write(file, data.cast("B")[:-1], offset))
    with pytest.raises(OSError, match=r"replay\.frames") as caught:
        replay.start_episode(frame(0))
    assert caught.value.errno == errno.ENOSPC


def test_stacks_of_long_episodes_are_their_last_frames() -> None:
    """More frames than a byte counts."""
    replay = ReplayBuffer(300, 300, SIZE, 3, 1, seed=0)
    frames = [np.full((SIZE, SIZE, 3), number % 256, np.uint8) for number in range(301)]
    replay.start_episode(frames[0])
    for number in range(1, 301):
        replay.add(np.zeros(1), float(number), 1.0, frames[number])
    batch = replay.sample(600, SIZE).cut()
    for row, number in enumerate(batch.rewards.flatten().int().tolist()):
        expected = [max(0, number - back) % 256 for back in (2, 1, 0)]
        assert batch.next_observations[row, ::3, 0, 0].tolist() == expected
