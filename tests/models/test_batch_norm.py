"""Batch norm followed by ReLU, against the framework's in double precision."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rlpt.models import batch_norm
from rlpt.models.batch_norm import EPSILON, batch_norm_relu, unbiased_variances


def feature_maps(mean: float = 0.0, shape: tuple[int, ...] = (16, 6, 13, 13)) -> Tensor:
    """Feature maps like a convolution's: float32 with channels last."""
    random = torch.Generator().manual_seed(0)
    means = mean * torch.randn(shape[1], 1, 1, generator=random)
    return (torch.randn(shape, generator=random) + means).contiguous(memory_format=torch.channels_last)


def scale_and_shift(channels: int = 6) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    return torch.rand(channels, generator=random), torch.rand(channels, generator=random)


def assert_close(found: Tensor, expected: Tensor) -> None:
    """Compares with the largest expected value."""
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("mean", [0.0, 5.0])
@pytest.mark.parametrize("shape", [(16, 6, 13, 13), (4, 1, 7, 7), (1, 6, 13, 13), (9, 5, 1, 1), (2, 3, 1, 8)])
def test_results_and_gradients(mean: float, shape: tuple[int, ...]) -> None:
    x, (weight, bias) = feature_maps(mean, shape), scale_and_shift(shape[1])
    gradient = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    exact = [tensor.double().requires_grad_() for tensor in (x, weight, bias)]
    expected = F.relu(F.batch_norm(exact[0], None, None, exact[1], exact[2], training=True, eps=EPSILON))
    expected.backward(gradient.double())

    own = [tensor.clone().requires_grad_() for tensor in (x, weight, bias)]
    y, means, spread = batch_norm_relu(*own)
    (variances,) = unbiased_variances([spread], [x.numel() // x.shape[1]])
    assert_close(y.detach(), expected.detach())
    assert_close(means, exact[0].detach().mean((0, 2, 3)))
    assert_close(variances, exact[0].detach().var((0, 2, 3)))
    y.backward(gradient)
    for found, reference in zip(own, exact, strict=True):
        assert found.grad is not None
        assert reference.grad is not None
        assert_close(found.grad, reference.grad)


def test_without_gradient_the_same_in_the_inputs_memory() -> None:
    x, (weight, bias) = feature_maps(1.0), scale_and_shift()
    expected = batch_norm_relu(x.clone().requires_grad_(), weight, bias)
    with torch.no_grad():
        found = batch_norm_relu(x, weight, bias)
    assert found[0].data_ptr() == x.data_ptr()
    for tensor, reference in zip(found, expected, strict=True):
        assert torch.equal(tensor, reference)


def test_a_constant_channel_has_no_variance() -> None:
    x, (weight, bias) = feature_maps(), scale_and_shift()
    x[:, 0] = 0.1
    x[:, 1] = torch.linspace(1, 1 + 1e-6, len(x))[:, None, None]  # a few units in the last place
    y, _, variance = batch_norm_relu(x.requires_grad_(), weight, bias)
    assert (variance[:2] >= 0).all()
    assert (variance[:2] < 1e-11).all()
    assert y.isfinite().all()


def test_going_back_twice_is_refused() -> None:
    """The first time has written over the input."""
    y, _, _ = batch_norm_relu(feature_maps().requires_grad_(), *scale_and_shift())
    y.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_the_gpus_way_computes_the_same() -> None:
    """It runs on a CPU too, less accurately."""
    x, (weight, bias) = feature_maps(1.0), scale_and_shift()
    gradient = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    sides = []
    for function in (batch_norm_relu, batch_norm._by_the_framework):
        leaves = [tensor.clone().requires_grad_() for tensor in (x, weight, bias)]
        y, mean, spread = function(*leaves)
        variance = spread if function is batch_norm_relu else batch_norm._of_inverse_deviations([spread])[0]
        y.backward(gradient)
        sides.append([y.detach(), mean, variance, *(leaf.grad for leaf in leaves)])
    for found, expected in zip(*sides, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_gpu(dtype: torch.dtype) -> None:
    x, (weight, bias) = feature_maps(1.0).to(dtype), scale_and_shift()
    gradient = torch.randn(x.shape, generator=torch.Generator().manual_seed(2)).to(dtype)
    sides = []
    for device in ("cpu", "cuda"):
        leaves = [tensor.to(device, copy=True).requires_grad_() for tensor in (x, weight, bias)]
        y, mean, spread = batch_norm_relu(*leaves)
        variance = spread if device == "cpu" else batch_norm._of_inverse_deviations([spread])[0]
        y.backward(gradient.to(device, y.dtype))
        sides.append([y.detach(), mean, variance, *(leaf.grad for leaf in leaves)])
    tolerance = 1e-4 if dtype == torch.float32 else 2e-2
    for expected, found in zip(*sides, strict=True):
        assert expected is not None and found is not None
        error = (found.cpu().float() - expected.float()).abs().max()
        assert error <= tolerance * max(1.0, float(expected.abs().max()))
