"""Frames: rendering, stepping, the chroma key, the replay buffer and the dataset's size."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.agreement import require_same_pixels
from benchmarks.measurement import Case, milliseconds
from benchmarks.plain_data import PlainReplay, save_pairs
from benchmarks.plain_environment import PlainEnvironment, composite_by_pixel, generate_pairs
from benchmarks.process_cases import generate_transitions
from benchmarks.workload import Workload
from rlpt.data.replay import ReplayBuffer
from rlpt.envs.distraction import composite, green_scene
from rlpt.envs.pixels import PixelEnvironment
from rlpt.envs.rendering import Renderer
from rlpt.settings import Settings

_CPU = torch.device("cpu")
_ACTIONS = 6
_SEED = 0


@contextmanager
def _environments(workload: Workload) -> Iterator[tuple[PixelEnvironment, PlainEnvironment]]:
    ours = PixelEnvironment(workload.environment, workload.ik.environment, _SEED)
    plain = PlainEnvironment(workload.environment, workload.ik.environment, _SEED)
    first = ours.reset().observation
    require_same_pixels("the first observation", first, plain.reset())
    yield ours, plain
    ours.close()
    plain.close()


@contextmanager
def render(workload: Workload, device: torch.device) -> Iterator[Case]:
    """One frame of a scene at rest."""
    with _environments(workload) as (ours, plain):
        renderer = Renderer(ours.physics, workload.ik.environment)
        require_same_pixels("render", renderer.frame(), plain.render())
        yield Case(
            "ms a frame",
            milliseconds(renderer.frame, _CPU, workload.steps),
            milliseconds(plain.render, _CPU, workload.steps),
        )


@contextmanager
def env_step(workload: Workload, device: torch.device) -> Iterator[Case]:
    """Agent steps, with rendering and stacking, through the same random actions in both environments."""
    with _environments(workload) as (ours, plain):
        random = np.random.default_rng(_SEED)
        actions = random.uniform(-1, 1, (workload.steps, plain.actions)).astype(np.float32)

        def episode() -> np.ndarray:
            ours.seed(_SEED)
            ours.reset()
            for action in actions:
                observation = ours.step(action).observation
            return np.asarray(observation)

        def plain_episode() -> np.ndarray:
            plain.random.seed(_SEED)
            plain.reset()
            for action in actions:
                observation, _, _, _ = plain.step(action)
            return observation

        require_same_pixels("the last observation", episode(), plain_episode())
        steps = len(actions)
        yield Case("ms a step", milliseconds(episode, _CPU, per=steps), milliseconds(plain_episode, _CPU, per=steps))


@contextmanager
def chroma_key(workload: Workload, device: torch.device) -> Iterator[Case]:
    """Keying one frame and putting the background behind it; the table of all colours is there already."""
    with green_scene():
        plain = PlainEnvironment(workload.environment, workload.ik.environment, _SEED)
    plain.reset()
    frame = np.ascontiguousarray(plain.render())
    plain.close()
    background = np.random.default_rng(_SEED).integers(0, 256, frame.shape, np.uint8)
    require_same_pixels("chroma key", composite(frame, background), composite_by_pixel(frame, background))
    yield Case(
        "ms a frame",
        milliseconds(lambda: composite(frame, background), _CPU, repeats=200),
        milliseconds(lambda: composite_by_pixel(frame, background), _CPU),
    )


@contextmanager
def replay_sample(workload: Workload, device: torch.device) -> Iterator[Case]:
    """Drawing a cropped batch and bringing it to the device."""
    train, crop = workload.ik.train, workload.ik.encoder.crop
    ours, plain = filled_replays(workload.ik, workload.replay, device)
    ours_batch, plain_batch = ours.sample(train.batch_size, crop).cut(), plain.sample(train.batch_size, crop)
    for name in ("observations", "next_observations", "actions", "rewards", "discounts"):
        require_same_pixels(name, getattr(ours_batch, name).cpu().numpy(), getattr(plain_batch, name).numpy())
    yield Case(
        f"ms a batch of {train.batch_size}",
        milliseconds(lambda: ours.sample(train.batch_size, crop).cut(), device, repeats=10),
        milliseconds(lambda: plain.sample(train.batch_size, crop, device), device, repeats=10),
    )


@contextmanager
def replay_bytes(workload: Workload, device: torch.device) -> Iterator[Case]:
    """Memory of a transition."""
    ours, plain = filled_replays(workload.ik, workload.replay)
    yield Case("bytes a transition", lambda: ours.used_bytes / len(ours), lambda: plain.bytes_per_transition, rounds=1)


def filled_replays(
    settings: Settings, transitions: int, device: torch.device = _CPU
) -> tuple[ReplayBuffer, PlainReplay]:
    """Returns both, ours for batches on `device`, filled with the same noise in episodes of the usual length."""
    size, frame_stack = settings.environment.size, settings.environment.frame_stack
    ours = ReplayBuffer(transitions, transitions, size, frame_stack, _ACTIONS, _SEED, device=device)
    plain = PlainReplay(transitions, size, frame_stack, _ACTIONS, _SEED)
    random = np.random.default_rng(_SEED)
    for step in range(transitions):
        if step % (1000 // settings.environment.action_repeat) == 0:
            frame = random.integers(0, 256, (size, size, 3), np.uint8)
            ours.start_episode(frame)
            stack = np.concatenate([frame.transpose(2, 0, 1)] * frame_stack)
        frame = random.integers(0, 256, (size, size, 3), np.uint8)
        action, reward = random.uniform(-1, 1, _ACTIONS).astype(np.float32), float(random.uniform())
        next_stack = np.concatenate([stack[3:], frame.transpose(2, 0, 1)])
        ours.add(action, reward, 1.0, frame)
        plain.add(stack, action, reward, 1.0, next_stack)
        stack = next_stack
    return ours, plain


@contextmanager
def dataset_bytes(workload: Workload, device: torch.device) -> Iterator[Case]:
    """Disk that a transition of the walker takes under random actions."""
    settings = workload.ik
    episode_steps = settings.generate.reset_every // settings.environment.action_repeat
    plain = PlainEnvironment("walker-walk", settings.environment, _SEED)
    pairs = generate_pairs(plain, workload.dataset, episode_steps)
    plain.close()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = generate_transitions("walker-walk", settings, workload.dataset, 1, folder)
        bytes_on_disk = path.stat().st_size, save_pairs(folder, *pairs)
    ours, reference = (size / workload.dataset for size in bytes_on_disk)
    yield Case("bytes a transition", lambda: ours, lambda: reference, rounds=1)
