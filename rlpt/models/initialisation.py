"""How networks start (reference: the settings of agents without pretraining; fidelity item 1)."""

import torch
from torch import nn


@torch.no_grad()
def orthogonal_init(module: nn.Module) -> None:
    """Makes linear layers orthogonal and convolutions delta-orthogonal with ReLU gain; all biases zero.

    Delta-orthogonal: only the kernel's centre is not zero, and it is orthogonal (Xiao et al. 2018, arXiv:1806.05393).
    Use as `network.apply(orthogonal_init)`.
    """
    if isinstance(module, nn.Linear):
        nn.init.orthogonal_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        assert module.bias is not None
        nn.init.zeros_(module.weight)
        nn.init.zeros_(module.bias)
        middle = module.kernel_size[0] // 2
        nn.init.orthogonal_(module.weight[:, :, middle, middle], nn.init.calculate_gain("relu"))
