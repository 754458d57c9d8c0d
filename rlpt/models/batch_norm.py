"""Batch normalisation followed by ReLU, for tensors with channels last.

PyTorch's own kernel for this layout on a CPU adds up a channel in one long float32 sum: at the paper's size its results
are off by 1e-5, which Adam turns into visibly different weights. Here the same kernel is given every pixel's
channels as channels of their own: it adds up over the batch only, and its results per pixel are combined in double
precision. That is accurate to 1e-7, if a channel's mean is not much larger than its deviation, and fast, since the
kernel's inner loop is as long as an image. A GPU's own kernels are accurate and fast, so they are used.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-5
"The framework's default, which the published code relied on."


class _BatchNormReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = _statistics(x)
        y = _normalise(x, mean, variance, weight, bias, torch.empty_like(x))
        ctx.save_for_backward(x, y, mean, variance, weight)
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, y, mean, variance, weight = ctx.saved_tensors
        after_relu = gradients[0].contiguous(memory_format=torch.channels_last)
        before_relu = torch.ops.aten.threshold_backward(after_relu, y, 0)
        bias_gradient, product = _gradient_sums(x, before_relu, mean)
        inverse_deviation = (variance + EPSILON).rsqrt()
        weight_gradient = product * inverse_deviation
        # dx = w/σ · (dy - mean(dy) - x̂ · mean(dy · x̂)), written over x, which nothing else needs.
        count = x.numel() // x.shape[1]
        scale = weight * inverse_deviation
        slope = -scale * weight_gradient * inverse_deviation / count
        shift = -scale * bias_gradient / count - slope * mean
        pixels = _pixels(x)
        torch.addcmul(shift, pixels, slope, out=pixels)
        pixels.addcmul_(_pixels(before_relu), scale)
        return x, weight_gradient, bias_gradient


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the mean and the biased variance of each channel."""
    means, variances = torch.batch_norm_update_stats(_pixels_as_channels(x), None, None, 0.0)
    means, variances = (values.double().view(-1, x.shape[1]) for values in (means, variances))
    mean = means.mean(0)
    variance = variances.mean(0) + (means - mean).square().mean(0)
    return mean.float(), variance.float()


def _normalise(x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> Tensor:
    """Fills `out`, which may be x, with the activations."""
    scale = weight * (variance + EPSILON).rsqrt()
    torch.addcmul(bias - mean * scale, _pixels(x), scale, out=_pixels(out))
    return out.relu_()


def _gradient_sums(x: Tensor, gradient: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Returns each channel's sum of dy and of dy · (x - mean)."""
    means = mean.repeat(x.shape[2] * x.shape[3])
    _, products, sums = torch.ops.aten.native_batch_norm_backward(
        _pixels_as_channels(gradient),
        _pixels_as_channels(x),
        weight=None,
        running_mean=None,
        running_var=None,
        save_mean=means,
        save_invstd=torch.ones_like(means),
        train=True,
        eps=EPSILON,
        output_mask=[False, True, True],
    )
    sums, products = (values.double().view(-1, x.shape[1]).sum(0) for values in (sums, products))
    return sums.float(), products.float()


def _pixels(x: Tensor) -> Tensor:
    """Views [batch, channels, height, width] as [batch, height, width, channels]."""
    return x.permute(0, 2, 3, 1)


def _pixels_as_channels(x: Tensor) -> Tensor:
    """Views [batch, channels, height, width] as [1, height · width · channels, batch, 1], with channels last."""
    return _pixels(x).reshape(len(x), -1).t()[None, :, :, None]


def batch_norm_relu(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Normalises each channel over the batch, scales, shifts, and cuts off below zero.

    Args:
        x: float32 or bfloat16 [batch, channels, height, width], contiguous with channels last. A CPU uses its memory
            again: for the activations where no gradient is wanted, else, in the backward pass, for its gradient.
        weight: scale, float32 [channels].
        bias: shift, float32 [channels].

    Returns:
        The activations, like x (on a CPU always float32); the batch's mean and its spread, as `unbiased_variances`
        takes it, float32 [channels] each.
    """
    if x.is_cuda:
        return _by_the_framework(x, weight, bias)
    x = x.float()
    if torch.is_grad_enabled():
        y, mean, variance = _BatchNormReLU.apply(x, weight, bias)
    else:
        mean, variance = _statistics(x)
        y = _normalise(x, mean, variance, weight, bias, x)
    return y, mean, variance


def unbiased_variances(spreads: Sequence[Tensor], counts: Sequence[int]) -> list[Tensor]:
    """Returns the variances of all layers at once, float32 [channels] each, which saves a GPU many small operations.

    Args:
        spreads: of each layer: on a CPU the biased variance, on a GPU the inverse deviation that its kernel gives.
        counts: numbers that each layer's mean is over.
    """
    variances = list(spreads)
    if variances[0].is_cuda:
        variances = _of_inverse_deviations(variances)
    return list(torch._foreach_mul(variances, [count / (count - 1) for count in counts]))


def _of_inverse_deviations(inverse_deviations: list[Tensor]) -> list[Tensor]:
    return list(torch._foreach_sub(torch._foreach_pow(inverse_deviations, -2.0), EPSILON))


def _by_the_framework(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same by kernels that are fast and accurate on a GPU."""
    y, mean, inverse_deviation = torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, EPSILON)
    return y.relu(), mean, inverse_deviation
