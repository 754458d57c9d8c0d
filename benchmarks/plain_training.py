"""Training in the plain way: one gradient step of either pretraining, and the loop of reinforcement learning."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.plain_data import PlainReplay
from benchmarks.plain_environment import PlainEnvironment
from benchmarks.plain_networks import PlainClassifier, PlainInverseKinematics
from benchmarks.plain_sac import PlainSAC
from rlpt.progress import Report
from rlpt.settings import Settings
from rlpt.streams import integer_seed, stream


def inverse_kinematics_step(
    network: PlainInverseKinematics,
    optimiser: torch.optim.Optimizer,
    pair: tuple[np.ndarray, np.ndarray],
    actions: np.ndarray,
    scale: int,
    device: torch.device,
) -> float:
    """Takes one step on stored stacks, uint8 [batch, 3 · frame_stack, crop, crop] twice, divided by `scale`.

    Returns:
        The loss.
    """
    observations, next_observations = (torch.from_numpy(images).to(device).float() / scale for images in pair)
    loss = F.mse_loss(network(observations, next_observations), torch.from_numpy(actions).to(device))
    return _descend(loss, optimiser)


def classification_step(
    network: PlainClassifier, optimiser: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> float:
    """Takes one step on uint8 images [frame_stack · B, 3, crop, crop] and int64 labels; returns the loss."""
    return _descend(F.cross_entropy(network(images.float() / 255), labels), optimiser)


def _descend(loss: Tensor, optimiser: torch.optim.Optimizer) -> float:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


def train_plainly(environment: str, settings: Settings, seed: int, device: torch.device, report: Report) -> None:
    """Trains SAC for `train.steps` agent steps, without evaluations and files; tells `report` the steps done."""
    train = settings.train
    env = PlainEnvironment(environment, settings.environment, integer_seed(seed, "environment"))
    agent = PlainSAC(settings, env.actions, seed, device)
    size, frame_stack = settings.environment.size, settings.environment.frame_stack
    replay = PlainReplay(train.steps, size, frame_stack, env.actions, seed)
    random_actions = stream(seed, "random actions")
    observation = env.reset()
    for step in range(train.steps):
        if step < train.random_steps:
            action = random_actions.uniform(-1, 1, env.actions).astype(np.float32)
        else:
            action = agent.explore(observation)
            for _ in range(train.initial_updates if step == train.random_steps else 1):
                agent.update(replay.sample(train.batch_size, settings.encoder.crop, device), step)
        next_observation, reward, discount, last = env.step(action)
        replay.add(observation, action, reward, discount, next_observation)
        observation = env.reset() if last else next_observation
        report(step + 1, train.steps, "")
    env.close()
