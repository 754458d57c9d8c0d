"""Descriptions of networks against the networks themselves."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rlpt.models.classifier import StackClassifier
from rlpt.models.inverse_kinematics import InverseKinematics
from rlpt.plots.diagrams import count_parameters, describe_layers, layers_of, shape_text, summarise_convolutions
from rlpt.settings import EncoderSettings, InverseKinematicsSettings

ENCODER = EncoderSettings(crop=20, layers=4, filters=6, grouped_layers=2)
ACTIONS, CLASSES = 5, 7

Build = Callable[[], tuple[nn.Module, list[Tensor]]]


def inverse_kinematics() -> tuple[nn.Module, list[Tensor]]:
    model = InverseKinematics(ENCODER, 3, ACTIONS, InverseKinematicsSettings(hidden=(16, 8)))
    return model, [torch.zeros(2, 9, 20, 20)] * 2


def classifier() -> tuple[nn.Module, list[Tensor]]:
    return StackClassifier(ENCODER, 3, CLASSES, 8), [torch.zeros(6, 3, 20, 20)]


def real_shapes(model: nn.Module, inputs: list[Tensor]) -> list[tuple[str, tuple[int, ...]]]:
    """Returns name and output shape of each convolution and linear layer of a real forward pass."""
    seen: list[tuple[str, tuple[int, ...]]] = []
    names = {id(module.weight): name for name, module in model.named_modules() if hasattr(module, "weight")}

    def noting(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(x: Tensor, weight: Tensor, *rest: Any, **options: Any) -> Tensor:
            output = function(x, weight, *rest, **options)
            seen.append((names[id(weight)], tuple(output.shape[1:])))
            return output

        return call

    with patch.object(F, "conv2d", noting(F.conv2d)), patch.object(F, "linear", noting(F.linear)):
        model(*inputs)
    return seen


@pytest.mark.parametrize("build", [inverse_kinematics, classifier])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_parameters_and_shapes_are_those_of_a_real_forward_pass(build: Build, device: str) -> None:
    model, inputs = build()
    real = real_shapes(*build())
    with torch.device(device):
        layers = describe_layers(model.to(device), *(torch.empty_like(tensor, device=device) for tensor in inputs))
    assert sum(layer.parameters for layer in layers) == sum(parameter.numel() for parameter in model.parameters())
    assert [(layer.name, layer.output_shape) for layer in layers if layer.kind in ("Conv", "Linear")] == real


def test_every_convolution_is_followed_by_its_batch_norm_and_relu() -> None:
    model, inputs = inverse_kinematics()
    layers = describe_layers(model, *inputs)
    encoder = layers[: 3 * ENCODER.layers]
    assert [layer.kind for layer in encoder] == ["Conv", "BatchNorm", "ReLU"] * ENCODER.layers
    assert [layer.groups for layer in encoder[::3]] == [3, 3, 1, 1]
    assert [layer.stride for layer in encoder[::3]] == [2, 1, 1, 1]
    assert [layer.name for layer in encoder[1::3]] == [f"encoder.norms.{number}" for number in range(4)]
    assert summarise_convolutions(encoder) == ["2 × Conv 3×3, 3 groups", "2 × Conv 3×3"]


def test_second_pass_through_the_encoder_is_tied_and_counted_once() -> None:
    model, inputs = inverse_kinematics()
    layers = describe_layers(model, *inputs)
    first, second = layers[:12], layers[12:24]
    assert [layer.name for layer in second] == [layer.name for layer in first]
    assert all(layer.tied and layer.parameters == 0 for layer in second if layer.name)
    assert not any(layer.tied for layer in first)
    head = [layer.kind for layer in layers[24:]]
    hidden = ["Dropout", "Linear", "LayerNorm", "ReLU"]
    assert head == [*hidden, *hidden, "Dropout", "Linear"]
    assert layers[-1].output_shape == (ACTIONS,)


def test_describing_leaves_the_module_as_it_was() -> None:
    model, inputs = classifier()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    describe_layers(model, *inputs)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_layers_of_a_part_are_its_own() -> None:
    model, inputs = classifier()
    layers = describe_layers(model, *inputs)
    for number in range(3):
        assert [layer.output_shape for layer in layers_of(layers, f"heads.{number}")] == [(8,), (CLASSES,)]
    encoder = sum(parameter.numel() for parameter in model.get_submodule("encoder").parameters())
    assert count_parameters(layers_of(layers, "encoder")) == f"{encoder:,}"


def test_numbers_as_text() -> None:
    assert shape_text((9, 84, 84)) == "9×84×84"
    assert count_parameters([]) == "0"
