"""Stage 1: transitions under uniform random actions, for inverse kinematics (paper section 3.3.1, Figure 5)."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlpt.data.transitions import write_transitions
from rlpt.envs.pixels import PixelEnvironment, action_size
from rlpt.progress import Report
from rlpt.settings import EnvironmentSettings, GenerateSettings
from rlpt.streams import integer_seed, stream


@dataclass(frozen=True)
class RandomEpisodes:
    """Episodes of random actions in one environment; each is decided by the seed and its own number alone.

    So workers can share the episodes out in any way, and the dataset's bytes do not depend on how many there are.
    """

    environment: str
    settings: EnvironmentSettings
    generate: GenerateSettings
    video: np.ndarray | None = None
    "Distracting background, uint8 [frames, size, size, 3]."

    def load(self) -> PixelEnvironment:
        """Returns the environment to play in."""
        return PixelEnvironment(self.environment, self.settings, video=self.video)

    @property
    def episode_steps(self) -> int:
        """Agent steps between resets."""
        return self.generate.reset_every // self.settings.action_repeat

    def __len__(self) -> int:
        return -(-self.generate.transitions // self.episode_steps)

    def steps(self, episode: int) -> int:
        """Returns the agent steps of one episode; the last one ends at T."""
        return min(self.episode_steps, self.generate.transitions - episode * self.episode_steps)

    def play(self, episode: int, environment: PixelEnvironment) -> tuple[np.ndarray, np.ndarray]:
        """Plays one episode: uint8 frames [steps + 1, size, size, 3] and float32 actions [steps, |A|]."""
        environment.seed(integer_seed(self.generate.seed, "episode", episode))
        random = stream(self.generate.seed, "actions", episode)
        actions = random.uniform(-1, 1, (self.steps(episode), action_size(environment))).astype(np.float32)
        environment.reset()
        frames = [environment.frame]
        for action in actions:
            environment.step(action)
            frames.append(environment.frame)
        return np.stack(frames), actions


def generate(episodes: RandomEpisodes, path: Path, workers: int, report: Report) -> None:
    """Writes T transitions to `path`; the same bytes for any number of `workers`."""
    probe = episodes.load()
    transitions, size = episodes.generate.transitions, episodes.settings.size
    done = 0
    with write_transitions(path, transitions, episodes.episode_steps, size, action_size(probe)) as writer:
        played = _play_here(episodes, probe) if workers == 1 else _play_in_workers(episodes, workers)
        for frames, taken in played:
            writer.append(frames, taken)
            done += len(taken)
            report(done, "")
    probe.close()


def _play_here(episodes: RandomEpisodes, environment: PixelEnvironment) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return (episodes.play(episode, environment) for episode in range(len(episodes)))


def _play_in_workers(episodes: RandomEpisodes, workers: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    context = multiprocessing.get_context("spawn")  # a fork would share the parent's OpenGL state
    with ProcessPoolExecutor(workers, context, _start_worker, (episodes,)) as pool:
        yield from pool.map(_play_in_worker, range(len(episodes)), chunksize=4)


_worker: tuple[RandomEpisodes, PixelEnvironment]


def _start_worker(episodes: RandomEpisodes) -> None:
    global _worker
    _worker = episodes, episodes.load()


def _play_in_worker(episode: int) -> tuple[np.ndarray, np.ndarray]:
    episodes, environment = _worker
    return episodes.play(episode, environment)
