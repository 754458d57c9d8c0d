"""Actor and critic on encoder features."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rlpt.models.encoder import ConvEncoder, RunningStatistics
from rlpt.settings import AgentSettings, EncoderSettings


class Projection(nn.Module):
    """Feature map → Linear → LayerNorm → tanh: what the heads see."""

    def __init__(self, inputs: int, features: int) -> None:
        """Builds the layers for a feature map of `inputs` values."""
        super().__init__()
        self.linear = nn.Linear(inputs, features)
        self.norm = nn.LayerNorm(features)

    def forward(self, feature_map: Tensor) -> Tensor:
        """Returns float32 [batch, features] for a feature map of any shape, float32 [batch, …]."""
        return torch.tanh(self.norm(self.linear(feature_map.flatten(1))))


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Returns Linear → ReLU → Linear → ReLU → Linear."""
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


class Actor(nn.Module):
    """A Gaussian policy squashed by tanh. Its convolutions are the critic's; the rest is its own."""

    def __init__(self, encoder: ConvEncoder, encoder_settings: EncoderSettings, actions: int, agent: AgentSettings):
        """Builds the heads for `actions` dimensions."""
        super().__init__()
        self.statistics = RunningStatistics(encoder_settings)
        self.projection = Projection(encoder.output_size, agent.features)
        self.policy = mlp(agent.features, agent.hidden, 2 * actions)
        self._log_std_low, self._log_std_high = agent.log_std_range

    def distribution(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and log standard deviation before squashing, each float32 [batch, actions].

        Args:
            feature_map: the encoder's, float32 [batch, filters, output, output].
        """
        mean, log_std = self.policy(self.projection(feature_map)).chunk(2, dim=-1)
        span = self._log_std_high - self._log_std_low
        return mean, self._log_std_low + span * (torch.tanh(log_std) + 1) / 2

    def sample(self, feature_map: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Squashes mean + std · noise.

        Args:
            feature_map: float32 [batch, filters, output, output].
            noise: from a standard normal distribution, float32 [batch, actions].

        Returns:
            Actions in [-1, 1], float32 [batch, actions]; their log probabilities, [batch, 1]; the log standard
            deviations, [batch, actions].
        """
        mean, log_std = self.distribution(feature_map)
        action = torch.tanh(mean + log_std.exp() * noise)
        gaussian = (-0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)).sum(-1, keepdim=True)
        correction = torch.log(F.relu(1 - action.square()) + 1e-6).sum(-1, keepdim=True)
        return action, gaussian - correction, log_std


class Critic(nn.Module):
    """Convolutions, projection and two Q functions (also as the target network)."""

    def __init__(self, encoder_settings: EncoderSettings, frame_stack: int, actions: int, agent: AgentSettings):
        """Builds everything with the framework's default initialisation."""
        super().__init__()
        self.encoder = ConvEncoder(encoder_settings, frame_stack)
        self.statistics = RunningStatistics(encoder_settings)
        self.projection = Projection(self.encoder.output_size, agent.features)
        self.q1 = mlp(agent.features + actions, agent.hidden, 1)
        self.q2 = mlp(agent.features + actions, agent.hidden, 1)

    def q_values(self, feature_map: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Returns both Q values, each float32 [batch, 1].

        Args:
            feature_map: float32 [batch, filters, output, output].
            action: float32 [batch, actions] in [-1, 1].
        """
        inputs = torch.cat([self.projection(feature_map), action], dim=-1)
        return self.q1(inputs), self.q2(inputs)
