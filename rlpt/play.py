"""A trained policy at work: whole episodes with the mean action."""

from pathlib import Path

import numpy as np
import torch
import yaml

from rlpt.agents.sac import SAC
from rlpt.data.clips import PUBLISHED_CLIPS, SYNTHETIC_CLIP, find_clip
from rlpt.data.movies import enlarged
from rlpt.documents import Layer, validated
from rlpt.envs.pixels import PixelEnvironment, action_size
from rlpt.errors import UsageError
from rlpt.runs.checksums import read_provenance, verified
from rlpt.runs.folder import SETTINGS_FILE
from rlpt.settings import Settings

POLICY_FILE = "policy.safetensors"
_CPU = torch.device("cpu")


def read_settings(run: Path) -> tuple[str, Settings]:
    """Returns a finished training run's task and settings.

    Raises:
        UsageError: if `run` is none, or its settings are damaged.
    """
    path, _ = verified(run, SETTINGS_FILE)
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    if told["stage"] != "train":
        raise UsageError(f"{run}: of the stage {told['stage']}: only runs of the stage train have a policy")
    return told["environment_name"], validated(Settings, [Layer(str(path), told).only(Settings.model_fields)])


def background_of(run: Path, clip: str | None, data: Path) -> Path | None:
    """Returns the video file to play behind a task.

    Args:
        run: a finished training run's folder.
        clip: number of a published one, or a file; "none": no video; None: the one that the run was trained with.
        data: the data folder.

    Raises:
        UsageError: if there is no such clip.
    """
    if clip is None:
        recorded = read_provenance(run).get("video")
        clip = "none" if recorded is None else recorded["name"]
        own = {str(number): published.sha256 for number, published in PUBLISHED_CLIPS.items()}.get(clip)
        if recorded and clip != SYNTHETIC_CLIP.name and own != recorded["sha256"]:
            raise UsageError(f"{run}: trained with a clip of your own, {clip}: --background names its file, or none")
    if clip == "none":
        return None
    return find_clip(int(clip) if clip.isdecimal() else clip, Path()).locate(data)


def load_policy(
    run: Path, video: np.ndarray | None = None, device: torch.device = _CPU
) -> tuple[SAC, PixelEnvironment]:
    """Loads the agent that a finished training run ended with, and makes an environment of its task.

    Args:
        run: the run's folder, such as runs/train/walker-walk-from-scratch-s37-….
        video: distracting background, uint8 [frames, size, size, 3]; None: none, whatever it was trained with.
        device: where the networks live.

    Raises:
        UsageError: if `run` is not a finished training run, or its policy is not there or damaged.
    """
    task, settings = read_settings(run)
    policy, _ = verified(run, POLICY_FILE)
    env = PixelEnvironment(task, settings.environment, video=video)
    agent = SAC(settings, action_size(env), 0, device)
    agent.load(policy)
    return agent, env


def play_episode(agent: SAC, env: PixelEnvironment, movie: list[np.ndarray] | None = None) -> float:
    """Plays one episode with the mean action; returns its return, and adds enlarged frames to `movie`."""
    time_step, total = env.reset(), 0.0
    while not time_step.last():
        if movie is not None:
            movie.append(enlarged(env.frame))
        time_step = env.step(agent.act(time_step.observation))
        total += time_step.reward
    return total
