"""Stage 3: Soft Actor-Critic on pixels, from scratch or from a pretrained encoder (paper section 3.4)."""

from pathlib import Path

import numpy as np
import torch

from rlpt.agents.sac import METRICS, SAC
from rlpt.data.movies import enlarged, write_movie
from rlpt.data.replay import ReplayBuffer
from rlpt.envs.pixels import PixelEnvironment, action_size
from rlpt.metrics import MetricsWriter
from rlpt.progress import Report
from rlpt.settings import Settings
from rlpt.streams import integer_seed, stream


def train(
    environment: str,
    settings: Settings,
    seed: int,
    encoder: Path | None,
    folder: Path,
    device: torch.device,
    report: Report,
    video: np.ndarray | None = None,
) -> None:
    """Trains for `train.steps` agent steps and writes metrics and `policy.safetensors` into `folder`.

    Args:
        environment: the task, such as "walker-walk".
        settings: everything else that decides the result.
        seed: of all random streams of this run.
        encoder: pretrained weights to start from; None: from scratch.
        folder: gets episodes.csv (training return), evaluations.csv, updates.csv, tensorboard/ and evaluation.mp4.
        device: where the networks live.
        report: told of the progress.
        video: distracting background of training and evaluation, uint8 [frames, size, size, 3].

    Raises:
        UsageError: if the encoder does not fit.
    """
    train = settings.train
    env = PixelEnvironment(environment, settings.environment, integer_seed(seed, "environment"), video)
    evaluation_env = PixelEnvironment(environment, settings.environment, video=video)
    actions = action_size(env)
    agent = SAC(settings, actions, seed, device, encoder)
    replay = ReplayBuffer(
        train.replay_capacity, settings.environment.size, settings.environment.frame_stack, actions, seed
    )
    random_actions = stream(seed, "random actions")

    tables = {
        "episodes": ("episode", "return"),
        "evaluations": ("mean_return", *(f"return_{n + 1}" for n in range(train.evaluation_episodes))),
        "updates": METRICS,
    }
    with MetricsWriter(folder, tables) as metrics:
        episodes, episode_return, last_return = 0, 0.0, float("nan")
        time_step = env.reset()
        replay.start_episode(env.frame)
        for step in range(train.steps):
            if step % train.evaluate_every == 0:
                evaluate(agent, evaluation_env, settings, seed, step, metrics)

            if step < train.random_steps:
                action = random_actions.uniform(-1, 1, actions).astype(np.float32)
            else:
                action = agent.explore(time_step.observation)
                updates = train.initial_updates if step == train.random_steps else 1
                for update in range(updates):
                    losses = agent.update(replay.sample(train.batch_size, settings.encoder.crop, device), step)
                    report(step, f"update {update + 1}/{updates}" if updates > 1 else f"return {last_return:.0f}")
                if step % train.log_every == 0:
                    metrics.row("updates", step, losses)

            time_step = env.step(action)
            replay.add(action, time_step.reward, time_step.discount, env.frame)
            episode_return += time_step.reward
            if time_step.last():
                episodes += 1
                metrics.row("episodes", step + 1, {"episode": episodes, "return": episode_return})
                episode_return, last_return = 0.0, episode_return
                time_step = env.reset()
                replay.start_episode(env.frame)
            report(step + 1, f"return {last_return:.0f}")

        movie = folder / "evaluation.mp4" if train.record_video else None
        evaluate(agent, evaluation_env, settings, seed, train.steps, metrics, movie)
    agent.save(folder / "policy.safetensors")
    env.close()
    evaluation_env.close()


def evaluate(
    agent: SAC,
    env: PixelEnvironment,
    settings: Settings,
    seed: int,
    step: int,
    metrics: MetricsWriter,
    movie: Path | None = None,
) -> None:
    """Plays whole episodes with the mean action in `env`, which is like the training's but has its own randomness."""
    env.seed(integer_seed(seed, "evaluation", step))
    returns, frames = [], []
    for episode in range(settings.train.evaluation_episodes):
        time_step = env.reset()
        returns.append(0.0)
        while not time_step.last():
            if movie and episode == 0:
                frames.append(env.frame)
            time_step = env.step(agent.act(time_step.observation))
            returns[-1] += time_step.reward
    row = {"mean_return": float(np.mean(returns))}
    metrics.row("evaluations", step, row | {f"return_{n}": value for n, value in enumerate(returns, 1)})
    if movie:
        write_movie(movie, [enlarged(frame) for frame in frames], env.agent_steps_per_second)
