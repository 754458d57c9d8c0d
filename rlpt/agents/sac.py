"""Soft Actor-Critic on pixels, as the paper's experiments ran it (paper section 3.4; docs/fidelity.md)."""

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from rlpt.agents.captured import CapturedUpdate, GraphPool, Metrics
from rlpt.data.batch import Batch, DrawnBatch
from rlpt.data.crops import center_crop
from rlpt.data.device_frames import on_device
from rlpt.errors import UsageError, require_finite
from rlpt.models.actor_critic import Actor, Critic
from rlpt.models.encoder import load_encoder
from rlpt.models.initialisation import orthogonal_init
from rlpt.runs.checkpoint import State, optimiser_state, require_same_device, set_network_state, set_optimiser_state
from rlpt.runs.files import write_safetensors
from rlpt.settings import Settings
from rlpt.streams import integer_seed, torch_stream

METRICS = ("batch_reward", "critic_loss", "actor_loss", "alpha_loss", "alpha", "entropy")
"What `SAC.update` returns, each a tensor without dimensions; all but the first two only when the actor is updated."

Noise = Callable[[tuple[int, ...]], Tensor]


class UpdateKind(NamedTuple):
    """What an update moves beside the critic."""

    actor: bool
    "Also alpha."
    target: bool


class SAC:
    """The agent: networks, optimisers, and one update rule."""

    def __init__(
        self,
        settings: Settings,
        actions: int,
        seed: int,
        device: torch.device,
        encoder_path: Path | None = None,
    ) -> None:
        """Builds the networks; loads the encoder at `encoder_path` into actor, critic and target if it is given.

        Raises:
            UsageError: if the encoder's file is not readable or of another architecture.
        """
        self.settings = settings.agent
        self.device = device
        self._crop = settings.encoder.crop
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(integer_seed(seed, "initialisation"))
            self.critic = Critic(settings.encoder, settings.environment.frame_stack, actions, self.settings)
            self.actor = Actor(self.critic.encoder, settings.encoder, actions, self.settings)
            orthogonal = {"published": encoder_path is None, "orthogonal": True, "default": False}
            if orthogonal[self.settings.head_init]:
                self.critic.apply(orthogonal_init)
                self.actor.apply(orthogonal_init)
        if encoder_path is not None:
            load_encoder(encoder_path, self.critic.encoder, self.critic.statistics)
            self.actor.statistics.copy_from(self.critic.statistics)
        self.critic.encoder.precision = settings.compute.precision
        self.critic.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.actor.to(device)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self.log_alpha = torch.tensor(
            math.log(self.settings.initial_alpha), dtype=torch.float64, device=device, requires_grad=True
        )
        self._actions = actions
        self.target_entropy = -float(actions)
        self._noise_random = torch_stream(seed, "policy noise", device)
        self.noise: Noise = self._gaussian_noise
        self._make_optimisers()
        self._captured = self._uncaptured()

    def _gaussian_noise(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self._noise_random, device=self.device)

    def _make_optimisers(self) -> None:
        agent = self.settings
        self.actor_optimiser = self._adam(self.actor.parameters(), agent.actor_learning_rate, agent.betas)
        self.critic_optimiser = self._adam(self.critic.parameters(), agent.critic_learning_rate, agent.betas)
        self.alpha_optimiser = self._adam([self.log_alpha], agent.alpha_learning_rate, agent.alpha_betas)

    def _adam(self, parameters: Iterable[Tensor], rate: float, betas: tuple[float, float]) -> torch.optim.Adam:
        return torch.optim.Adam(parameters, lr=rate, betas=betas, fused=True, capturable=self.device.type == "cuda")

    @property
    def alpha(self) -> Tensor:
        """The entropy's weight."""
        return self.log_alpha.exp()

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Returns the mean action, float32 [actions] in [-1, 1].

        Args:
            observation: uint8 [3 · frame_stack, size, size], of which the middle is seen; any size from the crop on.
        """
        mean, _ = self._distribution(observation)
        return _action(torch.tanh(mean))

    def explore(self, observation: np.ndarray) -> np.ndarray:
        """Returns a sampled action, float32 [actions] in [-1, 1], for an observation as `act` takes it."""
        mean, log_std = self._distribution(observation)
        return _action(torch.tanh(mean + log_std.exp() * self.noise(tuple(mean.shape))))

    @torch.no_grad()
    def _distribution(self, observation: np.ndarray) -> tuple[Tensor, Tensor]:
        images = on_device(np.ascontiguousarray(center_crop(observation[None], self._crop)), self.device)
        feature_map = self.critic.encoder.evaluate(_scaled(images), self.actor.statistics)
        return self.actor.distribution(feature_map)

    def update(self, batch: Batch | DrawnBatch, step: int) -> Metrics:
        """Takes one gradient step on `batch`.

        Args:
            batch: transitions. A `DrawnBatch` has to be on a GPU: a CUDA graph cuts it and updates with it.
            step: the agent step; actor, alpha and target are updated only when it is a multiple of
                `actor_update_every` and `target_update_every`.

        Returns:
            Losses and what explains them, by name. On a GPU nothing has waited for them, and the next update may write
            over them.
        """
        kind = UpdateKind(step % self.settings.actor_update_every == 0, step % self.settings.target_update_every == 0)
        noises = [self.noise((len(batch), self._actions)) for _ in range(1 + kind.actor)]
        if isinstance(batch, DrawnBatch):
            return self._captured[kind](batch, noises)
        return self._update(kind, batch, noises)

    def _uncaptured(self) -> dict[UpdateKind, CapturedUpdate]:
        kinds = (UpdateKind(actor, target) for actor in (False, True) for target in (False, True))
        pool = GraphPool()
        return {kind: CapturedUpdate(partial(self._update, kind), pool) for kind in kinds}

    def _update(self, kind: UpdateKind, batch: Batch, noises: Sequence[Tensor]) -> Metrics:
        observations = _scaled(batch.observations)
        metrics = self._update_critic(batch, observations, noises[0])
        if kind.actor:
            metrics |= self._update_actor_and_alpha(observations, noises[1])
        if kind.target:
            self._update_target()
        return metrics

    def _update_critic(self, batch: Batch, observations: Tensor, noise: Tensor) -> Metrics:
        next_observations = _scaled(batch.next_observations)
        with torch.no_grad():
            feature_map, batch_statistics = self.critic.encoder(next_observations)
            self.actor.statistics.update(batch_statistics)
            next_actions, log_probability, _ = self.actor.sample(feature_map, noise)
            feature_map, batch_statistics = self.target.encoder(next_observations)
            self.target.statistics.update(batch_statistics)
            next_value = torch.min(*self.target.q_values(feature_map, next_actions)) - self.alpha * log_probability
            target = batch.rewards + batch.discounts * self.settings.discount * next_value

        feature_map, batch_statistics = self.critic.encoder(observations)
        self.critic.statistics.update(batch_statistics)
        q1, q2 = self.critic.q_values(feature_map, batch.actions)
        loss = F.mse_loss(q1, target) + F.mse_loss(q2, target)
        self.critic_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.critic_optimiser.step()
        return {"batch_reward": batch.rewards.mean(), "critic_loss": loss.detach()}

    def _update_actor_and_alpha(self, observations: Tensor, noise: Tensor) -> Metrics:
        # The actor's loss stops at the feature map, which both networks share: one pass without gradient serves both.
        with torch.no_grad():
            feature_map, batch_statistics = self.critic.encoder(observations)
        self.actor.statistics.update(batch_statistics)
        self.critic.statistics.update(batch_statistics)
        actions, log_probability, log_std = self.actor.sample(feature_map, noise)
        q_value = torch.min(*self.critic.q_values(feature_map, actions))
        actor_loss = (self.alpha.detach() * log_probability - q_value).mean()
        self.actor_optimiser.zero_grad(set_to_none=True)
        actor_loss.backward(inputs=list(self.actor.parameters()))
        self.actor_optimiser.step()

        alpha = self.alpha
        alpha_loss = (alpha * (-log_probability - self.target_entropy).detach()).mean()
        self.alpha_optimiser.zero_grad(set_to_none=True)
        alpha_loss.backward()
        self.alpha_optimiser.step()
        entropy = 0.5 * log_std.shape[1] * (1 + math.log(2 * math.pi)) + log_std.sum(-1)
        return {
            "actor_loss": actor_loss.detach(),
            "alpha_loss": alpha_loss.detach(),
            "alpha": alpha.detach(),
            "entropy": entropy.mean().detach(),
        }

    @torch.no_grad()
    def _update_target(self) -> None:
        """Moves the target's parameters; its running statistics move only by what it sees."""
        tau, encoder_tau = self.settings.tau, self.settings.encoder_tau
        for part, rate in (("encoder", encoder_tau), ("projection", encoder_tau), ("q1", tau), ("q2", tau)):
            _move(getattr(self.target, part).parameters(), getattr(self.critic, part).parameters(), rate)

    def save(self, path: Path) -> None:
        """Writes actor, critic, target and alpha as safetensors."""
        write_safetensors(path, {"log_alpha": self.log_alpha, **nn.ModuleDict(self._networks()).state_dict()})

    def load(self, path: Path) -> None:
        """Takes the weights that `save` wrote; optimisers stay as they are.

        Raises:
            UsageError: if they are not those of such networks.
        """
        try:
            tensors = load_file(path)
            log_alpha = tensors.pop("log_alpha")
            nn.ModuleDict(self._networks()).load_state_dict(tensors)
            with torch.no_grad():
                self.log_alpha.copy_(log_alpha)
        except (OSError, SafetensorError, KeyError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise UsageError(f"{path}: not readable as this agent's weights: {reason:.200}") from None

    def _networks(self) -> dict[str, nn.Module]:
        return {"actor": self.actor, "critic": self.critic, "target": self.target}

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"actor": self.actor_optimiser, "critic": self.critic_optimiser, "alpha": self.alpha_optimiser}

    def state(self) -> State:
        """Returns everything that updates and acting change."""
        return {
            "networks": {name: network.state_dict() for name, network in self._networks().items()},
            "optimisers": {name: optimiser_state(optimiser) for name, optimiser in self._optimisers().items()},
            "log_alpha": self.log_alpha,
            "noise": self._noise_random.get_state(),
        }

    def restore(self, state: State) -> None:
        """Goes back to where `state` was taken.

        Raises:
            UsageError: if that was on another kind of device.
        """
        require_same_device(len(state["noise"]) == len(self._noise_random.get_state()), self.device)
        for name, network in self._networks().items():
            set_network_state(network, state["networks"][name])
        for name, optimiser in self._optimisers().items():
            set_optimiser_state(optimiser, state["optimisers"][name])
        with torch.no_grad():
            self.log_alpha.copy_(state["log_alpha"])
        self._noise_random.set_state(state["noise"])
        self._captured = self._uncaptured()  # what was captured knows the optimisers' former tensors


def _action(batch: Tensor) -> np.ndarray:
    """Returns the only row of float32 [1, actions]."""
    action = batch.squeeze(0).cpu().numpy()
    require_finite({"action": float(action.sum())}, "policy")
    return action


def _scaled(images: Tensor) -> Tensor:
    """Returns images, uint8 [batch, channels, height, width], as float32 in 0…1."""
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255)


def _move(targets: Iterable[Tensor], sources: Iterable[Tensor], rate: float) -> None:
    torch._foreach_lerp_(list(targets), list(sources), rate)
