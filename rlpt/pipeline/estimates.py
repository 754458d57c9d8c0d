"""What a job will cost, before it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rlpt.data.splits import held_out, update_count
from rlpt.pipeline.jobs import Job
from rlpt.settings import EncoderSettings, Method, Settings

# Bytes a frame in a dataset at 100×100, measured on random episodes with all rendering effects; for other tasks the
# largest. A video leaves little to compress.
_FRAME_BYTES = {"reacher": 1_130, "cheetah": 3_850, "walker": 6_010}
_FRAME_BYTES_WITH_VIDEO = 19_000
_FLOAT = 4
# Images of the paper's 100 classes, and of the folder that rlpt draws itself.
_TRAINING_IMAGES = {"synthetic": 150}
_IMAGENET_TRAINING_IMAGES = 130_000
# The line through the authors' logs (GTX 1080 Ti partitions): 0.33 s an agent step with 90 filters (591 GFLOP), 0.75 s
# with 288 (3,586 GFLOP).
_SECONDS_A_STEP = 0.247
_FLOPS_PER_SECOND = 7.13e12


@dataclass(frozen=True)
class _Learning:
    """What a method of pretraining costs, from its settings."""

    updates: Callable[[Settings], int]
    head: Callable[[Settings], int]
    "Parameters beside the encoder."
    observations: Callable[[Settings], float]
    "Encoded in an update."


def _ik_updates(settings: Settings) -> int:
    ik = settings.ik
    training, _ = held_out(ik.transitions or settings.generate.transitions, ik.test_fraction)
    return update_count(len(training), ik.batch_size, ik.epochs)


def _imagenet_updates(settings: Settings) -> int:
    imagenet = settings.imagenet
    images = _TRAINING_IMAGES.get(imagenet.dataset, _IMAGENET_TRAINING_IMAGES)
    return update_count(images, imagenet.batch_size, imagenet.epochs, settings.environment.frame_stack)


def _feature_map(settings: Settings) -> int:
    return settings.encoder.filters * settings.encoder.output_size**2


_LEARNING: dict[Method, _Learning] = {
    "ik": _Learning(
        _ik_updates,
        lambda settings: (2 * _feature_map(settings) + settings.ik.hidden[1]) * settings.ik.hidden[0],
        lambda settings: 2 * settings.ik.batch_size,
    ),
    "imagenet": _Learning(
        _imagenet_updates,
        lambda settings: _feature_map(settings) * settings.imagenet.hidden,
        lambda settings: settings.imagenet.batch_size / settings.environment.frame_stack,
    ),
}


def describe(job: Job) -> dict[str, Any]:
    """Returns a job's id, stage, inputs, steps and estimated disk, as `rlpt plan --json` prints them."""
    return {
        "id": job.id,
        "stage": job.stage,
        "inputs": [needed.id for needed in job.inputs],
        "steps": steps(job),
        "disk_bytes": disk_bytes(job),
        "gpu_hours": round(gpu_hours(job), 2),
    }


def steps(job: Job) -> int:
    """Returns a job's length: transitions to generate, or gradient steps to pretrain, or agent steps to train.

    How many images a folder of one's own has is not known here: it counts as the paper's 100 classes.
    """
    settings = job.settings
    if job.stage == "generate":
        return settings.generate.transitions
    return settings.train.steps if job.method is None else _LEARNING[job.method].updates(settings)


def disk_bytes(job: Job) -> int:
    """Returns about how large a job's folder becomes."""
    settings = job.settings
    if job.stage == "generate":
        transitions = settings.generate.transitions
        frames = transitions * (1 + settings.environment.action_repeat / settings.generate.reset_every)
        domain = job.environment.partition("-")[0]
        plain = _FRAME_BYTES.get(domain, max(_FRAME_BYTES.values()))
        frame_bytes = (_FRAME_BYTES_WITH_VIDEO if job.clip else plain) * (settings.environment.size / 100) ** 2
        return round(frames * frame_bytes + transitions * 40)
    encoder = _encoder_parameters(settings.encoder, settings.environment.frame_stack)
    if job.stage == "pretrain":
        return encoder * _FLOAT
    return _policy_parameters(settings, encoder) * _FLOAT + settings.train.steps // settings.train.log_every * 400


def checkpoint_bytes(job: Job) -> int:
    """Returns about how large a job's checkpoint is: networks, and two moments of what is learned."""
    settings = job.settings
    if job.stage == "generate":
        return 0
    encoder = _encoder_parameters(settings.encoder, settings.environment.frame_stack)
    if job.method is None:
        return 3 * _FLOAT * _policy_parameters(settings, encoder)
    return 3 * _FLOAT * (encoder + _LEARNING[job.method].head(settings))


def replay_bytes(job: Job) -> int:
    """Returns how large a training job's replay frames become, which are deleted when it is done."""
    return steps(job) * 3 * job.settings.environment.size**2 if job.stage == "train" else 0


def gpu_hours(job: Job) -> float:
    """Returns the hours on the authors' GPU, by the convolutions' arithmetic; data generation is left out."""
    settings = job.settings
    forward = _forward_flops(settings.encoder, settings.environment.frame_stack)
    if job.stage == "generate":
        return 0.0
    if job.method is None:
        # Each step: target and actor on next observations, critic forward and backward; every second one more for the
        # actor (which published code does twice).
        passes = 5 + 2 / settings.agent.actor_update_every
        updates = steps(job) - settings.train.random_steps + settings.train.initial_updates
        seconds = updates * (_SECONDS_A_STEP + passes * settings.train.batch_size * forward / _FLOPS_PER_SECOND)
    else:
        seconds = steps(job) * 3 * _LEARNING[job.method].observations(settings) * forward / _FLOPS_PER_SECOND
    return seconds / 3600


def _forward_flops(encoder: EncoderSettings, frame_stack: int) -> int:
    """Counts multiplications and additions of the convolutions for one observation."""
    total, channels, size = 0, 3 * frame_stack, (encoder.crop - 3) // 2 + 1
    for layer in range(encoder.layers):
        total += 2 * size**2 * encoder.filters * 9 * (channels // encoder.groups_of(layer))
        channels, size = encoder.filters, size - 2
    return total


def _encoder_parameters(encoder: EncoderSettings, frame_stack: int) -> int:
    total, channels = 0, 3 * frame_stack
    for layer in range(encoder.layers):
        # with bias, scale, shift, mean and variance
        total += encoder.filters * (channels // encoder.groups_of(layer) * 9 + 5)
        channels = encoder.filters
    return total


def _policy_parameters(settings: Settings, encoder: int) -> int:
    """Counts actor, critic and target; the few weights that depend on the number of actions are left out."""
    agent = settings.agent
    projection = _feature_map(settings) * agent.features
    head = agent.hidden * (agent.features + agent.hidden)
    return 2 * encoder + 3 * projection + 5 * head
