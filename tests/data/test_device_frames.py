"""Frames on a device against the replay buffer's own way with frames on the host."""

import numpy as np
import pytest
import torch

from rlpt.data import replay as replay_module
from rlpt.data.device_frames import DeviceFrames
from rlpt.data.replay import ReplayBuffer
from tests.conftest import DEVICES

SIZE, CROP = 14, 9


def fill(replay: ReplayBuffer) -> None:
    """Adds three episodes of noise, the second of a single step."""
    random = np.random.default_rng(0)
    for steps in (7, 1, 20):
        replay.start_episode(random.integers(0, 256, (SIZE, SIZE, 3), np.uint8))
        for _ in range(steps):
            action, frame = random.uniform(-1, 1, 2), random.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
            replay.add(action, random.uniform(), 1.0, frame)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("expected", [1, 100])
def test_a_device_cuts_the_stacks_that_the_host_cuts(
    device: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where there are more frames than were expected, and after a restart."""
    host = ReplayBuffer(28, 28, SIZE, 3, 2, seed=1)
    fill(host)
    buffers = [ReplayBuffer(28, 28, SIZE, 3, 2, seed=1) for _ in range(2)]
    place = torch.device(device)
    for buffer in buffers:
        buffer._copy = DeviceFrames(expected, SIZE, place)
    fill(buffers[0])
    buffers[1]._frames[:] = buffers[0]._frames
    buffers[1].restore(buffers[0].state())
    monkeypatch.setattr(replay_module, "sliding_window_view", None)  # the host's way
    batches = [buffer.sample(32, CROP).cut() for buffer in buffers]
    monkeypatch.undo()
    reference = host.sample(32, CROP).cut()
    for batch in batches:
        for name in ("observations", "next_observations", "actions", "rewards", "discounts"):
            assert torch.equal(getattr(batch, name).cpu(), getattr(reference, name)), name
        assert batch.observations.device.type == device


@pytest.mark.gpu
def test_a_gpu_finds_frames_beyond_2_gib() -> None:
    """A run of the paper's size has 80,000 frames of 30,000 bytes: more than a 32-bit offset reaches."""
    frames, size, crop = 75_000, 100, 84
    held = DeviceFrames(frames, size, torch.device("cuda"))
    random = np.random.default_rng(0)
    first = frames - 3
    planes = random.integers(0, 256, (3, 3, size, size), np.uint8)
    held.put(first, planes)
    places = np.array([[[first, first + 1, first + 2, 5, 9]]] * 2)
    cut = held.drawn(places, np.zeros((1, 4), np.float32), crop).cut()
    expected = planes[:, :, 5 : 5 + crop, 9 : 9 + crop].reshape(1, 9, crop, crop)
    assert torch.equal(cut.observations.cpu(), torch.from_numpy(expected))
