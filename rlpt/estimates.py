"""What a job will cost, before it runs."""

from rlpt.data.splits import update_count
from rlpt.jobs import Job
from rlpt.settings import EncoderSettings, Settings

# Bytes a frame in a dataset, measured on random episodes with all rendering effects; for other tasks the largest.
_FRAME_BYTES = {"reacher": 1_130, "cheetah": 3_850, "walker": 6_010}
_FLOAT = 4


def steps(job: Job) -> int:
    """Returns a job's length: transitions to generate, or gradient steps to pretrain, or agent steps to train."""
    settings = job.settings
    if job.stage == "generate":
        return settings.generate.transitions
    if job.stage == "pretrain":
        ik = settings.ik
        return update_count(settings.generate.transitions, ik.batch_size, ik.epochs, ik.test_fraction)
    return settings.train.steps


def disk_bytes(job: Job) -> int:
    """Returns about how large a job's folder becomes."""
    settings = job.settings
    if job.stage == "generate":
        transitions = settings.generate.transitions
        frames = transitions * (1 + settings.environment.action_repeat / settings.generate.reset_every)
        domain = job.environment.partition("-")[0]
        frame_bytes = _FRAME_BYTES.get(domain, max(_FRAME_BYTES.values())) * (settings.environment.size / 100) ** 2
        return round(frames * frame_bytes + transitions * 40)
    encoder = _encoder_parameters(settings.encoder, settings.environment.frame_stack)
    if job.stage == "pretrain":
        return encoder * _FLOAT
    return _policy_parameters(settings, encoder) * _FLOAT + settings.train.steps // settings.train.log_every * 400


def _encoder_parameters(encoder: EncoderSettings, frame_stack: int) -> int:
    total, channels = 0, 3 * frame_stack
    for layer in range(encoder.layers):
        groups = encoder.groups if layer < encoder.grouped_layers else 1
        total += encoder.filters * (channels // groups * 9 + 5)  # with bias, scale, shift, mean and variance
        channels = encoder.filters
    return total


def _policy_parameters(settings: Settings, encoder: int) -> int:
    """Counts actor, critic and target; the few weights that depend on the number of actions are left out."""
    agent = settings.agent
    projection = settings.encoder.filters * settings.encoder.output_size**2 * agent.features
    head = agent.hidden * (agent.features + agent.hidden)
    return 2 * encoder + 3 * projection + 5 * head
