"""A trained policy at work: whole episodes with the mean action."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from rlpt.agents.sac import SAC
from rlpt.data.clips import PUBLISHED_CLIPS, SYNTHETIC_CLIP
from rlpt.data.movies import enlarged
from rlpt.data.videos import load_video
from rlpt.documents import Layer, validated
from rlpt.envs.pixels import PixelEnvironment, action_size
from rlpt.errors import UsageError
from rlpt.runs.checksums import verified
from rlpt.runs.folder import SETTINGS_FILE
from rlpt.settings import Settings

POLICY_FILE = "policy.safetensors"
_CPU = torch.device("cpu")
_CLIPS = {clip.sha256: clip for clip in (*PUBLISHED_CLIPS.values(), SYNTHETIC_CLIP)}


def load_background(run: Path, background: str | None, data: Path) -> np.ndarray | None:
    """Loads the video to play behind a run's task, uint8 [frames, size, size, 3].

    Args:
        run: a finished training run's folder.
        background: number of a published clip, "synthetic", or a video file; "none": no video; None: what the run was
            trained with.
        data: the data folder.

    Raises:
        UsageError: if there is no such clip.
    """
    told, settings = _read(run)
    if background == "none" or (background is None and "video" not in told):
        return None
    if background is None:
        clip = _CLIPS.get(told["video"])
        if clip is None:
            raise UsageError(f"{run}: trained with a clip of your own: --background names its file, or none")
    else:
        clip = next((each for each in _CLIPS.values() if each.name == background), None)
    return load_video(clip.locate(data) if clip else Path(background or ""), settings.environment.size)


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
    told, settings = _read(run)
    policy, _ = verified(run, POLICY_FILE)
    env = PixelEnvironment(told["environment_name"], settings.environment, video=video)
    agent = SAC(settings, action_size(env), 0, device)
    try:
        agent.load(policy)
    except UsageError:
        env.close()
        raise
    return agent, env


def _read(run: Path) -> tuple[dict[str, Any], Settings]:
    """Returns what a finished training run says of itself, and its settings."""
    if run.name.endswith(".partial"):
        raise UsageError(f"{run}: not finished yet: the command that began it goes on with it")
    path, _ = verified(run, SETTINGS_FILE)
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    if told["stage"] != "train":
        raise UsageError(f"{run}: of the stage {told['stage']}: only runs of the stage train have a policy")
    return told, validated(Settings, [Layer(str(path), told).only(Settings.model_fields)])


def play_episode(agent: SAC, env: PixelEnvironment, movie: list[np.ndarray] | None = None) -> float:
    """Plays one episode with the mean action; returns its return, and adds enlarged frames to `movie`."""
    time_step, total = env.reset(), 0.0
    while not time_step.last():
        if movie is not None:
            movie.append(enlarged(env.frame))
        time_step = env.step(agent.act(time_step.observation))
        total += time_step.reward
    return total
