"""Batch normalisation followed by ReLU, for tensors with channels last.

PyTorch's own kernel for this layout on a CPU adds up a channel in one long float32 sum: at the paper's size its results
are off by 1e-5, which Adam turns into visibly different weights. The sums here are accurate to 1e-7. They are also made
for speed: chunks are worked on while they are in the cache, and every operation runs along lines of pixels, which are
long enough to vectorise where the channels of one pixel are not. A GPU's kernels are accurate and fast, and are used.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-5
"The framework's default, which the published code relied on."

_CHUNK_BYTES = 1 << 20


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
        bias_gradient, product = _gradient_sums(x, y, after_relu, mean)
        inverse_deviation = (variance + EPSILON).rsqrt()
        weight_gradient = product * inverse_deviation
        # dx = w/σ · (dy - mean(dy) - x̂ · mean(dy · x̂)), written over x, which nothing else needs.
        count = x.numel() // x.shape[1]
        scale = weight * inverse_deviation
        slope = -scale * weight_gradient * inverse_deviation / count
        shift = -scale * bias_gradient / count - slope * mean
        scale, slope, shift = (_tiled(values, x) for values in (scale, slope, shift))
        for images, activations, gradient in _chunks(x, y, after_relu):
            torch.addcmul(shift, images, slope, out=images)
            images.addcmul_(_before_relu(gradient, activations), scale)
        return x, weight_gradient, bias_gradient


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the mean and the biased variance of each channel, in one pass over memory.

    Sums are of the differences to the first image's mean: near enough to the batch's that their squares lose nothing.
    """
    channels, count = x.shape[1], x.numel() // x.shape[1]
    near = _rows(x[:1]).mean(0)
    tiled = _tiled(near, x)
    sums, squares = torch.zeros_like(tiled), torch.zeros_like(tiled)
    for (images,) in _chunks(x):
        difference = images - tiled
        sums += difference.sum(0)
        squares += difference.square_().sum(0)
    difference = sums.view(-1, channels).sum(0) / count
    variance = squares.view(-1, channels).sum(0) / count - difference.square()
    return near + difference, variance.clamp_(min=0)


def _normalise(x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> Tensor:
    """Fills `out`, which may be x, with the activations."""
    scale = weight * (variance + EPSILON).rsqrt()
    shift = _tiled(bias - mean * scale, x)
    scale = _tiled(scale, x)
    for images, activations in _chunks(x, out):
        torch.addcmul(shift, images, scale, out=activations)
        activations.relu_()
    return out


def _gradient_sums(x: Tensor, y: Tensor, after_relu: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Returns each channel's sum of dy, the gradient before the ReLU, and of dy · (x - mean)."""
    tiled = _tiled(mean, x)
    sums, products = torch.zeros_like(tiled), torch.zeros_like(tiled)
    for images, activations, chunk in _chunks(x, y, after_relu):
        gradient = _before_relu(chunk, activations)
        sums += gradient.sum(0)
        products += gradient.mul_(images - tiled).sum(0)
    channels = x.shape[1]
    return sums.view(-1, channels).sum(0), products.view(-1, channels).sum(0)


def _before_relu(gradient: Tensor, activations: Tensor) -> Tensor:
    before: Tensor = torch.ops.aten.threshold_backward(gradient, activations, 0)
    return before


def _rows(x: Tensor) -> Tensor:
    """Views [batch, channels, height, width] with channels last as [batch · height · width, channels]."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _chunks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yields views of some of each tensor's lines of pixels, [lines, width · channels]."""
    line_bytes = tensors[0][0, :, 0].numel() * tensors[0].element_size()
    lines = max(1, _CHUNK_BYTES // line_bytes)
    whole = [x.permute(0, 2, 3, 1).view(-1, x.shape[3] * x.shape[1]) for x in tensors]
    return zip(*(x.split(lines) for x in whole), strict=True)


def _tiled(values: Tensor, x: Tensor) -> Tensor:
    """Repeats a value a channel for every pixel of a line."""
    return values.expand(x.shape[3], -1).reshape(-1)


def batch_norm_relu(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Normalises each channel over the batch, scales, shifts, and cuts off below zero.

    Args:
        x: float32 or bfloat16 [batch, channels, height, width], contiguous with channels last. A CPU uses its memory
            again: for the activations where no gradient is wanted, else, in the backward pass, for its gradient.
        weight: scale, float32 [channels].
        bias: shift, float32 [channels].

    Returns:
        The activations, like x (on a CPU always float32); the batch's mean and unbiased variance, float32 [channels]
        each.
    """
    if x.is_cuda:
        return _by_the_framework(x, weight, bias)
    x = x.float()
    if torch.is_grad_enabled():
        y, mean, variance = _BatchNormReLU.apply(x, weight, bias)
    else:
        mean, variance = _statistics(x)
        y = _normalise(x, mean, variance, weight, bias, x)
    count = x.numel() // x.shape[1]
    return y, mean, variance * (count / (count - 1))


def _by_the_framework(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same by kernels that are fast and accurate on a GPU."""
    y, mean, inverse_deviation = torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, EPSILON)
    count = x.numel() // x.shape[1]
    variance = (inverse_deviation.square().reciprocal() - EPSILON).clamp(min=0)
    return y.relu(), mean, variance * (count / (count - 1))
