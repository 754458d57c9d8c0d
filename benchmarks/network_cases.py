"""Gradient steps: Soft Actor-Critic and both kinds of pretraining."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from benchmarks.agreement import require_same_losses
from benchmarks.measurement import Case, Measurement, milliseconds
from benchmarks.plain_networks import PlainClassifier, PlainInverseKinematics
from benchmarks.plain_sac import PlainSAC
from benchmarks.plain_training import classification_step, inverse_kinematics_step
from benchmarks.workload import Workload, changed, unit
from rlpt.agents.sac import SAC
from rlpt.data.batch import DrawnBatch
from rlpt.models.classifier import StackClassifier, classification_loss
from rlpt.models.inverse_kinematics import InverseKinematics, action_loss
from rlpt.pipeline.arithmetic import computing
from rlpt.pretrain_ik import Pairs
from rlpt.settings import Settings

_ACTIONS = 6  # walker's
_CLASSES = 100
_SEED = 0
_UPDATES_ON_A_GPU = 20
_UNTIL_CAPTURED = 5  # pairs of updates: some eager ones and the capture, of either kind


@contextmanager
def sac_update_ik(workload: Workload, device: torch.device) -> Iterator[Case]:
    """The paper's update with 90 filters."""
    yield _sac_update(workload.ik, device, rounds=5)


@contextmanager
def sac_update_imagenet(workload: Workload, device: torch.device) -> Iterator[Case]:
    """The paper's update with 288 filters, grouped in all layers."""
    yield _sac_update(workload.imagenet, device, rounds=2)


@contextmanager
def sac_update_lite(workload: Workload, device: torch.device) -> Iterator[Case]:
    """The update of the profile for two CPU cores."""
    yield _sac_update(workload.lite, device, rounds=7)


def _sac_update(settings: Settings, device: torch.device, rounds: int) -> Case:
    batch_size = settings.train.batch_size
    # Adam's first step is as large as the rate even where a gradient is rounding error, and the next losses see it.
    rates = dict.fromkeys(("actor_learning_rate", "critic_learning_rate", "alpha_learning_rate"), 1e-12)
    ours, plain = agents(changed(settings, "agent", **rates), _ACTIONS, device)
    drawn = random_draws(settings, batch_size, _ACTIONS, device)
    batch = drawn.cut()
    on_a_gpu = device.type == "cuda"
    repeats, warm_ups = (_UPDATES_ON_A_GPU, _UNTIL_CAPTURED) if on_a_gpu else (1, 1)
    for step in range(2 * _UNTIL_CAPTURED if on_a_gpu else 1):
        with computing("float32"):
            expected = plain.update(batch, step)
        require_same_losses(ours.update(drawn if on_a_gpu else batch, step), expected, settings.compute.precision)

    def measurement(update: Callable[[int], object]) -> Measurement:
        # Of two updates, one is of the critic alone.
        return milliseconds(lambda: [update(step) for step in (0, 1)], device, repeats, 2, warm_ups)

    return Case(
        unit(f"ms an update of {batch_size}", settings),
        measurement(lambda step: ours.update(drawn if on_a_gpu else batch, step)),
        measurement(lambda step: plain.update(batch, step)),
        rounds,
    )


def agents(settings: Settings, actions: int, device: torch.device) -> tuple[SAC, PlainSAC]:
    """Returns rlpt's agent and the plain one, with the same weights and the same noise to come."""
    ours = SAC(settings, actions, _SEED, device)
    plain = PlainSAC(settings, actions, _SEED, device)
    plain.load(ours)
    return ours, plain


def random_draws(settings: Settings, batch_size: int, actions: int, device: torch.device) -> DrawnBatch:
    """Returns draws from frames of noise; every observation has frames of its own."""
    random = np.random.default_rng(_SEED)
    size, frame_stack = settings.environment.size, settings.environment.frame_stack
    frames = random.integers(0, 256, (2 * batch_size * frame_stack, 3, size, size), np.uint8)
    numbers = np.arange(len(frames)).reshape(2, batch_size, frame_stack)
    offsets = random.integers(0, size - settings.encoder.crop, (2, batch_size, 2))
    places = np.concatenate([numbers, offsets], axis=2)
    outcomes = random.uniform(-1, 1, (batch_size, actions + 2)).astype(np.float32)
    held, *drawn = (torch.from_numpy(array).to(device) for array in (frames, places, outcomes))
    return DrawnBatch(held, settings.encoder.crop, *drawn)


@contextmanager
def ik_step(workload: Workload, device: torch.device) -> Iterator[Case]:
    """One training step of inverse kinematics, from frames in memory on."""
    settings = workload.ik
    ours, plain = ik_steps(settings, settings.ik.batch_size, device)
    with computing("float32"):
        expected = plain()
    require_same_losses({"loss": ours()}, {"loss": expected}, settings.compute.precision)
    yield Case(
        unit(f"ms a step of {settings.ik.batch_size}", settings), _step(ours, device), _step(plain, device), rounds=5
    )


def _step(step: Callable[[], float], device: torch.device) -> Measurement:
    return milliseconds(step, device, _UPDATES_ON_A_GPU if device.type == "cuda" else 1, warm_ups=1)


def ik_steps(settings: Settings, batch: int, device: torch.device) -> tuple[Callable[[], float], Callable[[], float]]:
    """Returns rlpt's training step and the plain one, with the same weights, data and dropout in the first step."""
    frame_stack, ik = settings.environment.frame_stack, settings.ik
    shape = (settings.encoder, frame_stack, _ACTIONS, ik)
    torch.manual_seed(_SEED)
    network = InverseKinematics(*shape).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.encoder.precision = settings.compute.precision
    plain_network = PlainInverseKinematics(*shape).to(device)
    plain_network.load_state_dict(network.state_dict(), strict=False)
    optimiser = torch.optim.Adam(network.parameters(), lr=ik.learning_rate, fused=True)
    plain_optimiser = torch.optim.Adam(plain_network.parameters(), lr=ik.learning_rate)
    pairs = _random_pairs(settings, batch, device)
    rows = np.arange(batch)
    stacks = pairs.frames.cpu().numpy()[pairs.numbers].swapaxes(0, 1)
    stored = [stack.reshape(batch, -1, *stack.shape[-2:]) for stack in stacks]

    def ours() -> float:
        torch.manual_seed(_SEED)  # of dropout
        observations, next_observations, actions = pairs.batch(rows, ik.input_range)
        loss = action_loss(network(observations, next_observations), actions)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.item()

    def plain() -> float:
        torch.manual_seed(_SEED)
        scale = 255 // ik.input_range
        pair = (stored[0], stored[1])
        return inverse_kinematics_step(plain_network, plain_optimiser, pair, pairs.actions, scale, device)

    return ours, plain


def _random_pairs(settings: Settings, transitions: int, device: torch.device) -> Pairs:
    random = np.random.default_rng(_SEED)
    frame_stack, crop = settings.environment.frame_stack, settings.encoder.crop
    frames = random.integers(0, 256, (transitions + frame_stack, 3, crop, crop), np.uint8)
    first = np.arange(transitions)[:, None, None] + np.arange(2)[None, :, None]
    actions = random.uniform(-1, 1, (transitions, _ACTIONS)).astype(np.float32)
    return Pairs(torch.from_numpy(frames).to(device), first + np.arange(frame_stack), actions)


@contextmanager
def imagenet_step(workload: Workload, device: torch.device) -> Iterator[Case]:
    """One training step of ImageNet classification."""
    settings = workload.imagenet
    ours, plain = imagenet_steps(settings, settings.imagenet.batch_size, device)
    with computing("float32"):
        expected = plain()
    require_same_losses({"loss": ours()}, {"loss": expected}, settings.compute.precision)
    yield Case(
        unit(f"ms a step of {settings.imagenet.batch_size} images", settings),
        _step(ours, device),
        _step(plain, device),
        rounds=2,
    )


def imagenet_steps(
    settings: Settings, batch: int, device: torch.device
) -> tuple[Callable[[], float], Callable[[], float]]:
    """Returns rlpt's training step and the plain one, with the same weights and images."""
    shape = (settings.encoder, settings.environment.frame_stack, _CLASSES, settings.imagenet.hidden)
    torch.manual_seed(_SEED)
    network = StackClassifier(*shape).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.encoder.precision = settings.compute.precision
    plain_network = PlainClassifier(*shape).to(device)
    plain_network.load_state_dict(network.state_dict(), strict=False)
    optimiser = torch.optim.AdamW(network.parameters(), settings.imagenet.learning_rate, weight_decay=0, fused=True)
    plain_optimiser = torch.optim.AdamW(plain_network.parameters(), settings.imagenet.learning_rate, weight_decay=0)
    crop = settings.encoder.crop
    images = torch.randint(0, 256, (batch, crop, crop, 3), dtype=torch.uint8).to(device).permute(0, 3, 1, 2)
    labels = torch.randint(0, _CLASSES, (batch,)).to(device)
    stored = images.contiguous()

    def ours() -> float:
        loss = classification_loss(network(images.float().div_(255)), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.item()

    return ours, lambda: classification_step(plain_network, plain_optimiser, stored, labels)
