"""The replay buffer against a naive one that stores whole stacks."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlpt.data.replay import ReplayBuffer
from rlpt.data.stacks import as_channels, stack_indices

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


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=8),
    capacity=st.integers(1, 30),
    frame_stack=st.integers(1, 4),
    usual_length=st.integers(1, 12),
)
def test_stacks_are_those_of_a_buffer_that_stores_them(
    lengths: list[int], capacity: int, frame_stack: int, usual_length: int
) -> None:
    replay = ReplayBuffer(capacity, SIZE, frame_stack, 1, seed=0, episode_steps=usual_length)
    naive = Naive(capacity, frame_stack)
    number = 0
    for length in lengths:
        replay.start_episode(frame(number))
        naive.start(frame(number))
        for _ in range(length):
            number += 1
            replay.add(np.array([number / 100]), float(number), 1.0, frame(number))
            naive.add(float(number), frame(number))
        number += 1

    # Where episodes are shorter than said, their first frames may push out some of the oldest transitions.
    assert 1 <= len(replay) <= len(naive.transitions)
    if min(lengths) >= usual_length:
        assert len(replay) == len(naive.transitions)
    expected = {reward: (before, after) for before, reward, after in naive.transitions[-len(replay) :]}
    batch = replay.sample(64, SIZE)
    for row in range(64):
        reward = batch.rewards[row].item()
        before, after = expected[reward]
        np.testing.assert_array_equal(batch.observations[row].numpy(), before)
        np.testing.assert_array_equal(batch.next_observations[row].numpy(), after)
        assert batch.actions[row].item() == pytest.approx(reward / 100)


def filled(seed: int = 0, size: int = SIZE) -> ReplayBuffer:
    replay = ReplayBuffer(100, size, 3, 2, seed)
    image = np.arange(size * size * 3, dtype=np.uint8).reshape(size, size, 3)
    replay.start_episode(image)
    for step in range(40):
        replay.add(np.zeros(2), step, 1.0, image)
    return replay


def test_sampling_is_uniform_and_decided_by_the_seed() -> None:
    rewards = filled(seed=3).sample(4000, SIZE).rewards.flatten()
    counts = torch.bincount(rewards.long(), minlength=40)
    assert counts.min() > 50
    assert torch.equal(rewards, filled(seed=3).sample(4000, SIZE).rewards.flatten())
    assert not torch.equal(rewards, filled(seed=4).sample(4000, SIZE).rewards.flatten())


def test_each_observation_is_cropped_at_its_own_offset() -> None:
    size, crop = 10, 6
    batch = filled(size=size).sample(400, crop)
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
    assert ReplayBuffer(100_000, 100, 3, 6, seed=0).bytes_per_transition < 31_000


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
