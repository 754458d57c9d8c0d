"""Predicting the action between two observations (paper section 3.3.2, Figure 6)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rlpt.models.encoder import EncoderNetwork
from rlpt.settings import EncoderSettings, InverseKinematicsSettings


class InverseKinematics(EncoderNetwork):
    """Both observations through one encoder, their feature maps side by side through a small MLP, to an action."""

    def __init__(
        self, encoder: EncoderSettings, frame_stack: int, actions: int, settings: InverseKinematicsSettings
    ) -> None:
        """Builds everything with the framework's default initialisation."""
        super().__init__(encoder, frame_stack)
        first, second = settings.hidden
        self.head = nn.Sequential(
            nn.Dropout(settings.dropout),
            nn.Linear(2 * self.encoder.output_size, first),
            nn.LayerNorm(first),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(first, second),
            nn.LayerNorm(second),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(second, actions),
        )

    def forward(self, observations: Tensor, next_observations: Tensor) -> Tensor:
        """Predicts actions.

        In training mode each of the two passes is normalised by its own batch and moves the running statistics.

        Args:
            observations: o_t, float32 [batch, 3 · frame_stack, crop, crop].
            next_observations: o_{t+1}, likewise.

        Returns:
            float32 [batch, actions]; not bounded.
        """
        pair = [self.features(images).flatten(1) for images in (observations, next_observations)]
        prediction: Tensor = self.head(torch.cat(pair, dim=1))
        return prediction


def action_loss(prediction: Tensor, action: Tensor) -> Tensor:
    """Returns the mean squared error over batch and action dimensions."""
    return F.mse_loss(prediction, action)
