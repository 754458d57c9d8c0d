"""Soft Actor-Critic in the plain way: every network runs its own pass, metrics are read at once."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.plain_networks import PlainActor, PlainCritic
from rlpt.agents.sac import SAC
from rlpt.data.batch import Batch
from rlpt.settings import Settings
from rlpt.streams import torch_stream


class PlainSAC:
    """Actor, critic, target and one update; the same numbers as `rlpt.agents.sac.SAC` from the same weights."""

    def __init__(self, settings: Settings, actions: int, seed: int, device: torch.device) -> None:
        """Builds the networks with the framework's default initialisation."""
        agent, shape = settings.agent, (settings.encoder, settings.environment.frame_stack)
        self.settings, self.device = agent, device
        self._crop = settings.encoder.crop
        self.actor = PlainActor(*shape, actions, agent).to(device)
        self.critic = PlainCritic(*shape, actions, agent).to(device)
        self.target = PlainCritic(*shape, actions, agent).to(device)
        self.target.load_state_dict(self.critic.state_dict())
        self.actor.encoder.tie(self.critic.encoder)
        self.log_alpha = torch.tensor(
            math.log(agent.initial_alpha), dtype=torch.float64, device=device, requires_grad=True
        )
        self.target_entropy = -float(actions)
        self._generator = torch_stream(seed, "policy noise", device)
        self.actor_optimiser = torch.optim.Adam(
            self.actor.parameters(), lr=agent.actor_learning_rate, betas=agent.betas
        )
        self.critic_optimiser = torch.optim.Adam(
            self.critic.parameters(), lr=agent.critic_learning_rate, betas=agent.betas
        )
        self.alpha_optimiser = torch.optim.Adam([self.log_alpha], lr=agent.alpha_learning_rate, betas=agent.alpha_betas)

    def load(self, agent: SAC) -> None:
        """Copies all weights and running statistics of rlpt's agent."""
        for own, its in ((self.actor, agent.actor), (self.critic, agent.critic), (self.target, agent.target)):
            own.load_state_dict(its.state_dict(), strict=False)
        self.critic.encoder.load(agent.critic.encoder, agent.critic.statistics)
        self.target.encoder.load(agent.target.encoder, agent.target.statistics)
        self.actor.encoder.load(agent.critic.encoder, agent.actor.statistics)
        self.log_alpha.data.copy_(agent.log_alpha.data)

    @property
    def alpha(self) -> Tensor:
        """The entropy's weight."""
        return self.log_alpha.exp()

    def _noise(self, batch: int) -> Tensor:
        return torch.randn(batch, int(-self.target_entropy), generator=self._generator, device=self.device)

    @torch.no_grad()
    def explore(self, observation: np.ndarray) -> np.ndarray:
        """Returns a sampled action, float32 [actions], for one uint8 observation."""
        edge = (observation.shape[-1] - self._crop) // 2
        middle = observation[None, :, edge : edge + self._crop, edge : edge + self._crop]
        images = torch.from_numpy(np.ascontiguousarray(middle)).to(self.device)
        self.actor.eval()
        _, action, _, _ = self.actor(_scaled(images), self._noise(1))
        self.actor.train()
        return np.asarray(action.squeeze(0).cpu().numpy())

    def update(self, batch: Batch, step: int) -> dict[str, float]:
        """Takes one gradient step; arguments and result as `rlpt.agents.sac.SAC.update`."""
        observations, next_observations = _scaled(batch.observations), _scaled(batch.next_observations)
        metrics = {"batch_reward": batch.rewards.mean().item()}
        metrics |= self._update_critic(batch, observations, next_observations)
        if step % self.settings.actor_update_every == 0:
            metrics |= self._update_actor_and_alpha(observations)
        if step % self.settings.target_update_every == 0:
            self._update_target()
        return metrics

    def _update_critic(self, batch: Batch, observations: Tensor, next_observations: Tensor) -> dict[str, float]:
        with torch.no_grad():
            _, next_actions, log_probability, _ = self.actor(next_observations, self._noise(len(observations)))
            q1, q2 = self.target(next_observations, next_actions)
            next_value = torch.min(q1, q2) - self.alpha * log_probability
            target = batch.rewards + batch.discounts * self.settings.discount * next_value
        q1, q2 = self.critic(observations, batch.actions)
        loss = F.mse_loss(q1, target) + F.mse_loss(q2, target)
        self.critic_optimiser.zero_grad()
        loss.backward()
        self.critic_optimiser.step()
        return {"critic_loss": loss.item()}

    def _update_actor_and_alpha(self, observations: Tensor) -> dict[str, float]:
        _, actions, log_probability, log_std = self.actor(observations, self._noise(len(observations)), detach=True)
        q1, q2 = self.critic(observations, actions, detach=True)
        actor_loss = (self.alpha.detach() * log_probability - torch.min(q1, q2)).mean()
        self.actor_optimiser.zero_grad()
        actor_loss.backward()
        self.actor_optimiser.step()

        alpha_loss = (self.alpha * (-log_probability - self.target_entropy).detach()).mean()
        metrics = {"actor_loss": actor_loss.item(), "alpha_loss": alpha_loss.item(), "alpha": self.alpha.item()}
        self.alpha_optimiser.zero_grad()
        alpha_loss.backward()
        self.alpha_optimiser.step()
        entropy = 0.5 * log_std.shape[1] * (1 + math.log(2 * math.pi)) + log_std.sum(-1)
        return metrics | {"entropy": entropy.mean().item()}

    def _update_target(self) -> None:
        tau, encoder_tau = self.settings.tau, self.settings.encoder_tau
        for part, rate in (("encoder", encoder_tau), ("projection", encoder_tau), ("q1", tau), ("q2", tau)):
            _move(self.target.get_submodule(part), self.critic.get_submodule(part), rate)


def _scaled(images: Tensor) -> Tensor:
    return images.float() / 255


@torch.no_grad()
def _move(target: nn.Module, source: nn.Module, rate: float) -> None:
    for own, its in zip(target.parameters(), source.parameters(), strict=True):
        own.copy_(rate * its + (1 - rate) * own)
