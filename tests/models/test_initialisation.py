"""How networks start."""

import pytest
import torch
from torch import nn

from rlpt.models.initialisation import orthogonal_init


@pytest.mark.parametrize(("filters", "channels", "groups"), [(90, 90, 1), (90, 9, 3), (6, 18, 1), (8, 8, 2)])
def test_convolutions_are_orthogonal_in_the_middle_and_nothing_elsewhere(
    filters: int, channels: int, groups: int
) -> None:
    conv = nn.Conv2d(channels, filters, 3, groups=groups)
    orthogonal_init(conv)
    middle = conv.weight[:, :, 1, 1].detach().clone()
    with torch.no_grad():
        conv.weight[:, :, 1, 1] = 0
    assert not conv.weight.any()
    assert conv.bias is not None
    assert not conv.bias.any()
    fewer = middle if filters <= channels // groups else middle.t()
    gain = 2.0  # the square of ReLU's
    torch.testing.assert_close(fewer @ fewer.t(), gain * torch.eye(len(fewer)), rtol=0, atol=1e-5)


def test_linear_layers_are_orthogonal() -> None:
    linear = nn.Linear(12, 5)
    orthogonal_init(linear)
    torch.testing.assert_close(linear.weight @ linear.weight.t(), torch.eye(5), rtol=0, atol=1e-5)
    assert not linear.bias.any()
