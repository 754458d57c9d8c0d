"""Stage 3: Soft Actor-Critic on pixels, from scratch or from a pretrained encoder (paper section 3.4)."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import torch

from rlpt.agents.sac import METRICS, SAC
from rlpt.data.movies import write_movie
from rlpt.data.replay import ReplayBuffer
from rlpt.envs.concurrent import ConcurrentEnvironment
from rlpt.envs.pixels import PixelEnvironment, action_size
from rlpt.errors import require_finite
from rlpt.play import POLICY_FILE, play_episode
from rlpt.progress import Report
from rlpt.runs.checkpoint import State
from rlpt.runs.folder import REPLAY_FILE
from rlpt.runs.interruption import Checkpoints
from rlpt.runs.metrics import MetricsWriter
from rlpt.settings import Settings
from rlpt.streams import generator_state, integer_seed, set_generator_state, stream


class Training:
    """One run, which can stop between any two updates and go on exactly where it was.

    Writes into its folder: episodes.csv (training return), evaluations.csv, updates.csv, tensorboard/,
    policy.safetensors and, if asked for, evaluation.mp4.
    """

    def __init__(
        self,
        environment: str,
        settings: Settings,
        seed: int,
        encoder: Path | None,
        folder: Path,
        device: torch.device,
        video: np.ndarray | None = None,
    ) -> None:
        """Builds environment, agent and replay buffer.

        Args:
            environment: the task, such as "walker-walk".
            settings: everything else that decides the result.
            seed: of all random streams of this run.
            encoder: pretrained weights to start from; None: from scratch.
            folder: where to write.
            device: where the networks live.
            video: distracting background of training and evaluation, uint8 [frames, size, size, 3].

        Raises:
            UsageError: if the encoder does not fit.
        """
        self._settings, self._seed, self._folder = settings, seed, folder
        self._evaluation_env = PixelEnvironment(environment, settings.environment, video=video)
        self._actions = action_size(self._evaluation_env)
        self._agent = SAC(settings, self._actions, seed, device, encoder)
        self._replay = ReplayBuffer(
            settings.train.steps,
            settings.train.replay_capacity,
            settings.environment.size,
            settings.environment.frame_stack,
            self._actions,
            seed,
            folder / REPLAY_FILE,
            device,
        )
        self._random_actions = stream(seed, "random actions")
        self._step = 0  # agent steps taken
        self._action: np.ndarray | None = None  # chosen for this step, while its updates are made
        self._updates = 0  # made in this step
        self._episodes = 0
        self._return, self._last_return = 0.0, float("nan")
        # Last, since it has to be closed whatever happens.
        env_seed = integer_seed(seed, "environment")
        self._env = ConcurrentEnvironment(lambda: PixelEnvironment(environment, settings.environment, env_seed, video))

    def run(self, checkpoints: Checkpoints, report: Report) -> None:
        """Trains from the checkpoint, or from the beginning, to the end, and closes the environments.

        Raises:
            Paused: where `checkpoints` stops the job.
        """
        self._checkpoints, self._report = checkpoints, report
        train = self._settings.train
        with closing(self._env), closing(self._evaluation_env), self._begun() as self._metrics:
            self._report(self._step, train.steps, self._note())
            while self._step < train.steps:
                if self._action is None:  # else the run was stopped amid this step's updates, and goes on there
                    self._poll()
                    if self._step % train.evaluate_every == 0:
                        self._evaluate()
                    self._action = self._choose_action()
                while self._updates_left() > 1:
                    self._update()
                    self._poll()
                # The last update does not see this step's outcome, so the two run at once. No poll meanwhile: it could
                # save the environment in the middle of its step.
                self._env.begin_step(self._action)
                if self._updates_left():
                    self._update()
                self._finish_step(self._action)
            self._evaluate(self._folder / "evaluation.mp4" if train.record_video else None)
        self._agent.save(self._folder / POLICY_FILE)

    @contextmanager
    def _begun(self) -> Iterator[MetricsWriter]:
        """Goes back to the checkpoint, or begins with the first episode; yields where metrics are written."""
        returns = (f"return_{n + 1}" for n in range(self._settings.train.evaluation_episodes))
        tables = {
            "episodes": ("episode", "return"),
            "evaluations": ("mean_return", *returns),
            "updates": METRICS,
        }
        saved = self._checkpoints.load()
        written, step = (saved["metrics"], saved["step"]) if saved else (None, 0)
        with MetricsWriter(self._folder, tables, written, step) as metrics:
            if saved:
                self._restore(saved)
            else:
                self._start_episode()
            yield metrics

    def _poll(self) -> None:
        self._checkpoints.poll(self._state)

    def _start_episode(self) -> None:
        self._time_step = self._env.reset()
        self._replay.start_episode(self._env.frame)

    def _choose_action(self) -> np.ndarray:
        if self._step < self._settings.train.random_steps:
            return self._random_actions.uniform(-1, 1, self._actions).astype(np.float32)
        return self._agent.explore(self._time_step.observation)

    def _updates_due(self) -> int:
        """Returns the updates before this step: none in the random ones, then many at once, then one each."""
        train = self._settings.train
        if self._step < train.random_steps:
            return 0
        return train.initial_updates if self._step == train.random_steps else 1

    def _updates_left(self) -> int:
        return self._updates_due() - self._updates

    def _update(self) -> None:
        train = self._settings.train
        batch = self._replay.sample(train.batch_size, self._settings.encoder.crop)
        losses = self._agent.update(batch, self._step)
        self._updates += 1
        self._report(self._step, self._settings.train.steps, self._note())
        if not self._updates_left() and self._step % train.log_every == 0:
            row = {name: loss.item() for name, loss in losses.items()}  # waits for a GPU
            require_finite(row, f"agent step {self._step}")
            self._metrics.row("updates", self._step, row)

    def _finish_step(self, action: np.ndarray) -> None:
        """Waits for the step with `action` and stores what came of it."""
        self._time_step = self._env.finish_step()
        self._replay.add(action, self._time_step.reward, self._time_step.discount, self._env.frame)
        self._return += self._time_step.reward
        if self._time_step.last():
            self._episodes += 1
            self._metrics.row("episodes", self._step + 1, {"episode": self._episodes, "return": self._return})
            self._return, self._last_return = 0.0, self._return
            self._start_episode()
        self._step += 1
        self._action, self._updates = None, 0
        self._report(self._step, self._settings.train.steps, self._note())

    def _evaluate(self, movie: Path | None = None) -> None:
        """Plays whole episodes with the mean action, in an environment like the training's with its own randomness."""
        env = self._evaluation_env
        env.seed(integer_seed(self._seed, "evaluation", self._step))
        returns: list[float] = []
        frames: list[np.ndarray] = []
        for episode in range(self._settings.train.evaluation_episodes):
            self._poll()  # nothing has changed since the step began: a run that stops here evaluates again
            returns.append(play_episode(self._agent, env, frames if movie and episode == 0 else None))
        row = {"mean_return": float(np.mean(returns))}
        self._metrics.row("evaluations", self._step, row | {f"return_{n}": value for n, value in enumerate(returns, 1)})
        if movie:
            write_movie(movie, frames, env.agent_steps_per_second)

    def _note(self) -> str:
        updates = self._updates_due()
        if updates > 1:
            return f"update {self._updates}/{updates}"
        return f"return {self._last_return:.0f}" if self._episodes else ""

    def _state(self) -> State:
        return {
            "step": self._step,
            "action": None if self._action is None else self._action.tolist(),
            "updates": self._updates,
            "episodes": self._episodes,
            "return": self._return,
            "last_return": self._last_return,
            "random_actions": generator_state(self._random_actions),
            "agent": self._agent.state(),
            "replay": self._replay.state(),
            "environment": self._env.state(),
            "metrics": self._metrics.state(),
        }

    def _restore(self, state: State) -> None:
        self._step, self._updates, self._episodes = state["step"], state["updates"], state["episodes"]
        self._action = None if state["action"] is None else np.array(state["action"], np.float32)
        self._return, self._last_return = state["return"], state["last_return"]
        set_generator_state(self._random_actions, state["random_actions"])
        self._agent.restore(state["agent"])
        self._replay.restore(state["replay"])
        self._time_step = self._env.restore(state["environment"])
