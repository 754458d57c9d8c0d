"""Classifying all images of a stack at once (paper section 3.2.1, Figures 3 and 4)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rlpt.models.encoder import EncoderNetwork
from rlpt.settings import EncoderSettings


class StackClassifier(EncoderNetwork):
    """One encoder over images stacked by channels; each image's share of the feature map through a head of its own.

    With `groups = frame_stack` in every layer the images never meet, and each head sees its own image alone. With
    standard convolutions, `groups = 1`, each head sees all images mixed, which the paper found to learn poorly.
    """

    def __init__(self, encoder: EncoderSettings, frame_stack: int, classes: int, hidden: int) -> None:
        """Builds everything with the framework's default initialisation.

        Raises:
            ValueError: if the encoder's filters cannot be shared out evenly.
        """
        if encoder.filters % frame_stack:
            raise ValueError(f"{encoder.filters} filters cannot be shared out among {frame_stack} images")
        super().__init__(encoder, frame_stack)
        self.frame_stack = frame_stack
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Linear(self.encoder.output_size // frame_stack, hidden), nn.ReLU(), nn.Linear(hidden, classes)
            )
            for _ in range(frame_stack)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Classifies images, of which stack i of B holds the numbers i, B + i, 2B + i, …

        In training mode the pass is normalised by its own batch and moves the running statistics.

        Args:
            images: float32 [frame_stack · B, 3, crop, crop] in 0…1.

        Returns:
            Logits in the images' order, float32 [frame_stack · B, classes].

        Raises:
            ValueError: if the images do not fill whole stacks.
        """
        if len(images) % self.frame_stack:
            raise ValueError(f"{len(images)} images do not fill stacks of {self.frame_stack}")
        stacks = torch.cat(images.chunk(self.frame_stack), dim=1)
        shares = self.features(stacks).chunk(self.frame_stack, dim=1)
        return torch.cat([head(share.flatten(1)) for head, share in zip(self.heads, shares, strict=True)])


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns the mean cross-entropy over all images, from logits [images, classes] and int64 labels [images]."""
    return F.cross_entropy(logits, labels)
