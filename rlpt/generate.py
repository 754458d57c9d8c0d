"""Stage 1: transitions under uniform random actions, for inverse kinematics (paper section 3.3.1, Figure 5)."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlpt.data.transitions import join_transitions, write_transitions
from rlpt.envs.pixels import PixelEnvironment, action_size
from rlpt.errors import UsageError
from rlpt.progress import Report
from rlpt.runs.interruption import Checkpoints
from rlpt.settings import EnvironmentSettings, GenerateSettings
from rlpt.streams import integer_seed, stream
from rlpt.workers import worker_pool

# Episodes of a part: at most so many are played again after an interruption.
_PART = 200

Player = Callable[[range], Iterable[tuple[np.ndarray, np.ndarray]]]


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
        """Plays one episode: uint8 frames [steps + 1, size, size, 3] and float32 actions [steps, |A|].

        Raises:
            UsageError: if the task's own episode ends before.
        """
        environment.seed(integer_seed(self.generate.seed, "episode", episode))
        random = stream(self.generate.seed, "actions", episode)
        actions = random.uniform(-1, 1, (self.steps(episode), action_size(environment))).astype(np.float32)
        environment.reset()
        frames = [environment.frame]
        for step, action in enumerate(actions):
            if environment.step(action).first():
                raise UsageError(
                    f"generate.reset_every = {self.generate.reset_every}: an episode of {self.environment} was over "
                    f"after {step} agent steps: choose at most {step * self.settings.action_repeat}"
                )
            frames.append(environment.frame)
        return np.stack(frames), actions


def generate(episodes: RandomEpisodes, path: Path, workers: int, checkpoints: Checkpoints, report: Report) -> None:
    """Writes T transitions to `path`; the same bytes for any number of `workers` and interruptions.

    Episodes are written in parts, which are joined at the end: a run that is interrupted keeps all parts but the one it
    was at.

    Raises:
        Paused: where `checkpoints` stops the job.
    """
    ranges = [range(first, min(first + _PART, len(episodes))) for first in range(0, len(episodes), _PART)]
    parts = {path.with_name(f"{path.stem}-part{number:04d}.h5"): numbers for number, numbers in enumerate(ranges)}
    missing = [part for part in parts if not part.exists()]
    if not path.exists():
        with _players(episodes, workers) as play:
            for part in missing:
                _write_part(part, episodes, parts[part], play, checkpoints, report)
        join_transitions(path, list(parts))
    for part in parts:
        part.unlink(missing_ok=True)


def _write_part(
    part: Path, episodes: RandomEpisodes, numbers: range, play: Player, checkpoints: Checkpoints, report: Report
) -> None:
    transitions = sum(map(episodes.steps, numbers))
    done = numbers.start * episodes.episode_steps
    writer = None
    report(done, episodes.generate.transitions, "")
    with ExitStack() as stack:
        for frames, actions in play(numbers):
            checkpoints.poll(None)
            if writer is None:
                writer = stack.enter_context(
                    write_transitions(part, transitions, episodes.episode_steps, frames.shape[1], actions.shape[1])
                )
            writer.append(frames, actions)
            done += len(actions)
            report(done, episodes.generate.transitions, "")


@contextmanager
def _players(episodes: RandomEpisodes, workers: int) -> Iterator[Player]:
    """Yields what plays numbered episodes in order: this process, or several that share them out."""
    if workers == 1:
        with closing(episodes.load()) as environment:
            yield lambda numbers: (episodes.play(number, environment) for number in numbers)
        return
    with worker_pool(workers, _start_worker, (episodes,)) as pool:
        yield lambda numbers: pool.map(_play_in_worker, numbers, chunksize=4)


_worker: tuple[RandomEpisodes, PixelEnvironment]


def _start_worker(episodes: RandomEpisodes) -> None:
    global _worker
    _worker = episodes, episodes.load()


def _play_in_worker(episode: int) -> tuple[np.ndarray, np.ndarray]:
    episodes, environment = _worker
    return episodes.play(episode, environment)
