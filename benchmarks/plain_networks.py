"""The networks in the plain way: the framework's own layers and batch norm, one module for each owner of statistics."""

import math

import torch
from torch import Tensor, nn

from rlpt.models.encoder import ConvEncoder, RunningStatistics
from rlpt.settings import AgentSettings, EncoderSettings, InverseKinematicsSettings


class PlainEncoder(nn.Module):
    """3×3 convolution → batch norm → ReLU, repeated; contiguous float32 [batch, channels, height, width]."""

    def __init__(self, settings: EncoderSettings, frame_stack: int) -> None:
        """Builds the layers with the framework's default initialisation."""
        super().__init__()
        self.convs = nn.ModuleList()
        self.norms = nn.ModuleList()
        channels = 3 * frame_stack
        for layer in range(settings.layers):
            stride = 2 if layer == 0 else 1
            self.convs.append(nn.Conv2d(channels, settings.filters, 3, stride, groups=settings.groups_of(layer)))
            self.norms.append(nn.BatchNorm2d(settings.filters))
            channels = settings.filters
        self.output_size = settings.filters * settings.output_size**2

    def forward(self, images: Tensor) -> Tensor:
        """Returns the feature map of float32 images [batch, 3 · frame_stack, crop, crop]."""
        x = images
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = torch.relu(norm(conv(x)))
        return x

    def tie(self, other: "PlainEncoder") -> None:
        """Uses another encoder's convolutions, scales and shifts, but keeps running statistics of its own."""
        for own, others in ((self.convs, other.convs), (self.norms, other.norms)):
            for layer, its in zip(own, others, strict=True):
                layer.weight, layer.bias = its.weight, its.bias

    def load(self, encoder: ConvEncoder, statistics: RunningStatistics) -> None:
        """Copies rlpt's weights and one owner's running statistics."""
        self.load_state_dict(encoder.state_dict(), strict=False)
        for norm, mean, variance in zip(self.norms, statistics.mean, statistics.variance, strict=True):
            norm.get_buffer("running_mean").copy_(mean)
            norm.get_buffer("running_var").copy_(variance)


class _Projection(nn.Module):
    def __init__(self, inputs: int, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, features)
        self.norm = nn.LayerNorm(features)

    def forward(self, feature_map: Tensor) -> Tensor:
        return torch.tanh(self.norm(self.linear(feature_map.flatten(1))))


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


class PlainActor(nn.Module):
    """A squashed Gaussian policy that runs its own pass through the convolutions."""

    def __init__(self, encoder: EncoderSettings, frame_stack: int, actions: int, agent: AgentSettings) -> None:
        """Builds everything for `actions` dimensions."""
        super().__init__()
        self.encoder = PlainEncoder(encoder, frame_stack)
        self.projection = _Projection(self.encoder.output_size, agent.features)
        self.policy = _mlp(agent.features, agent.hidden, 2 * actions)
        self._low, self._high = agent.log_std_range

    def forward(self, images: Tensor, noise: Tensor, detach: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns mean action, sampled action, the sample's log probability [batch, 1] and log standard deviation."""
        feature_map = self.encoder(images)
        if detach:
            feature_map = feature_map.detach()
        mean, log_std = self.policy(self.projection(feature_map)).chunk(2, dim=-1)
        log_std = self._low + 0.5 * (self._high - self._low) * (torch.tanh(log_std) + 1)
        action = torch.tanh(mean + noise * log_std.exp())
        log_probability = (-0.5 * noise.pow(2) - log_std).sum(-1, keepdim=True)
        log_probability = log_probability - 0.5 * math.log(2 * math.pi) * noise.shape[-1]
        log_probability = log_probability - torch.log(torch.relu(1 - action.pow(2)) + 1e-6).sum(-1, keepdim=True)
        return torch.tanh(mean), action, log_probability, log_std


class PlainCritic(nn.Module):
    """Convolutions, projection and two Q functions."""

    def __init__(self, encoder: EncoderSettings, frame_stack: int, actions: int, agent: AgentSettings) -> None:
        """Builds everything for `actions` dimensions."""
        super().__init__()
        self.encoder = PlainEncoder(encoder, frame_stack)
        self.projection = _Projection(self.encoder.output_size, agent.features)
        self.q1 = _mlp(agent.features + actions, agent.hidden, 1)
        self.q2 = _mlp(agent.features + actions, agent.hidden, 1)

    def forward(self, images: Tensor, action: Tensor, detach: bool = False) -> tuple[Tensor, Tensor]:
        """Returns both Q values, each float32 [batch, 1]."""
        feature_map = self.encoder(images)
        if detach:
            feature_map = feature_map.detach()
        inputs = torch.cat([self.projection(feature_map), action], dim=-1)
        return self.q1(inputs), self.q2(inputs)


class PlainInverseKinematics(nn.Module):
    """Both observations through one encoder, then an MLP to the action between them."""

    def __init__(
        self, encoder: EncoderSettings, frame_stack: int, actions: int, settings: InverseKinematicsSettings
    ) -> None:
        """Builds everything for `actions` dimensions."""
        super().__init__()
        self.encoder = PlainEncoder(encoder, frame_stack)
        first, second = settings.hidden
        layers: list[nn.Module] = [nn.Dropout(settings.dropout)]
        for inputs, outputs in ((2 * self.encoder.output_size, first), (first, second)):
            layers += [nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.ReLU(), nn.Dropout(settings.dropout)]
        self.head = nn.Sequential(*layers, nn.Linear(second, actions))

    def forward(self, observations: Tensor, next_observations: Tensor) -> Tensor:
        """Predicts actions, float32 [batch, actions]."""
        pair = [self.encoder(images).flatten(1) for images in (observations, next_observations)]
        prediction: Tensor = self.head(torch.cat(pair, dim=1))
        return prediction


class PlainClassifier(nn.Module):
    """Images stacked by channels through one encoder; each image's share of the channels through its own head."""

    def __init__(self, encoder: EncoderSettings, frame_stack: int, classes: int, hidden: int) -> None:
        """Builds everything for `classes` classes."""
        super().__init__()
        self.frame_stack = frame_stack
        self.encoder = PlainEncoder(encoder, frame_stack)
        inputs = self.encoder.output_size // frame_stack
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes)) for _ in range(frame_stack)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits of float32 images [frame_stack · B, 3, crop, crop]; stack i holds i, B + i, 2B + i, …"""
        features = self.encoder(torch.cat(images.chunk(self.frame_stack), dim=1)).chunk(self.frame_stack, dim=1)
        return torch.cat([head(share.flatten(1)) for head, share in zip(self.heads, features, strict=True)])
