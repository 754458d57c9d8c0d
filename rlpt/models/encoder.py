"""The convolutional encoder that pretraining and reinforcement learning share."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from rlpt.documents import Layer, validated
from rlpt.errors import UsageError
from rlpt.models.batch_norm import EPSILON, batch_norm_relu, unbiased_variances
from rlpt.runs.files import write_safetensors
from rlpt.settings import EncoderSettings, Precision

# The framework's default, which the published code relied on.
_MOMENTUM = 0.1
# Float32 numbers in a register of AVX-512; measured were 6, 30 and 96 channels a group.
_VECTOR = 16

Architecture = dict[str, Any]


def architecture(settings: EncoderSettings, frame_stack: int) -> Architecture:
    """Returns what an encoder's file records: what a network must share to start from it."""
    return {"channels": 3 * frame_stack, **settings.model_dump()}


class ConvEncoder(nn.Module):
    """3×3 convolution → batch norm → ReLU, repeated (paper sections 3.2.1 and 3.3.2, Figure 4).

    The first layer has stride 2; no layer pads. The first `grouped_layers` layers convolve in `groups`.

    Actor and critic share the convolutions and the batch norms' scale and shift, but each keeps running statistics of
    its own. So this module owns only what is learned. `forward` is normalised by the batch, whatever the module's mode,
    and returns its statistics, so that one pass can move the running statistics of several owners; `evaluate` is
    normalised by the running statistics that it is given.
    """

    def __init__(self, settings: EncoderSettings, frame_stack: int) -> None:
        """Builds the layers with the framework's default initialisation."""
        super().__init__()
        self.architecture = architecture(settings, frame_stack)
        self.precision: Precision = "float32"
        self.convs = nn.ModuleList()
        self.norms = nn.ModuleList()
        channels = 3 * frame_stack
        for layer in range(settings.layers):
            stride = 2 if layer == 0 else 1
            conv = nn.Conv2d(channels, settings.filters, 3, stride=stride, groups=settings.groups_of(layer))
            self.convs.append(conv)
            self.norms.append(nn.BatchNorm2d(settings.filters, track_running_stats=False))
            channels = settings.filters
        self.output_size = settings.filters * settings.output_size**2

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Runs the layers, each normalised by the batch's own statistics.

        Args:
            images: float32 [batch, 3 · frame_stack, crop, crop].

        Returns:
            The feature map, float32 [batch, filters, output, output], and the batch's statistics as
            `RunningStatistics.update` takes them, float32 [2, layers, filters].
        """
        last = torch.channels_last
        parts = [part.contiguous(memory_format=last) for part in images.chunk(self._parts(images), dim=1)]
        means, spreads, counts = [], [], []
        for layer in self._layers():
            if layer.groups < len(parts):
                parts = [_joined(parts, dim=1)]
            layers = layer.split(len(parts))
            outputs = [self._trained(part, own) for part, own in zip(parts, layers, strict=True)]
            parts = [y for y, _, _ in outputs]
            means.append(_joined([mean for _, mean, _ in outputs], dim=0))
            spreads.append(_joined([spread for _, _, spread in outputs], dim=0))
            counts.append(parts[0].numel() // parts[0].shape[1])
        batch_statistics = torch.stack(means + unbiased_variances(spreads, counts)).view(2, len(means), -1)
        return _joined(parts, dim=1).float(), batch_statistics

    def _parts(self, images: Tensor) -> int:
        """Returns in how many tensors the channels of the grouped layers are held: one, or one a group.

        On a CPU, the backward pass of a convolution in 3 groups of 30 channels takes 1.4 times as long as that of 3
        convolutions. With 6 channels in a group, fewer than a vector has lanes, it is the other way round.
        """
        filters, groups = self.architecture["filters"], self.architecture["groups"]
        split = images.device.type == "cpu" and self.architecture["grouped_layers"] and filters // groups >= _VECTOR
        return groups if split else 1

    def _trained(self, x: Tensor, layer: "_Layer") -> tuple[Tensor, Tensor, Tensor]:
        return batch_norm_relu(self._convolved(x, layer), layer.scale, layer.shift)

    def evaluate(self, images: Tensor, statistics: "RunningStatistics") -> Tensor:
        """Runs the layers normalised by running statistics; shapes as in `forward`."""
        x = images.contiguous(memory_format=torch.channels_last)
        for layer, mean, variance in zip(self._layers(), statistics.mean, statistics.variance, strict=True):
            x = F.batch_norm(self._convolved(x, layer), mean, variance, layer.scale, layer.shift, eps=EPSILON)
            x = F.relu(x, inplace=True)
        return x.float()

    def _layers(self) -> Iterator["_Layer"]:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            assert conv.bias is not None
            yield _Layer(conv.weight, conv.bias, norm.weight, norm.bias, conv.stride[0], conv.groups)

    def _convolved(self, x: Tensor, layer: "_Layer") -> Tensor:
        rounding: AbstractContextManager[Any] = nullcontext()
        if self.precision == "bfloat16":
            rounding = torch.autocast(x.device.type, torch.bfloat16, cache_enabled=False)
        with rounding:
            return F.conv2d(x, layer.weight, layer.bias, layer.stride, groups=layer.groups)


class _Layer(NamedTuple):
    """A convolution and its batch norm, or their part in some of the groups."""

    weight: Tensor
    bias: Tensor
    scale: Tensor
    shift: Tensor
    stride: int
    groups: int

    def split(self, parts: int) -> list["_Layer"]:
        """Returns each part's share of filters and groups."""
        if parts == 1:
            return [self]
        tensors = (self.weight, self.bias, self.scale, self.shift)
        shares = zip(*(tensor.chunk(parts) for tensor in tensors), strict=True)
        return [_Layer(w, b, scale, shift, self.stride, self.groups // parts) for w, b, scale, shift in shares]


def _joined(tensors: list[Tensor], dim: int) -> Tensor:
    """Concatenates several tensors; a single one is not copied."""
    return torch.cat(tensors, dim) if len(tensors) > 1 else tensors[0]


class RunningStatistics(nn.Module):
    """One network's running mean and variance of every batch norm of a `ConvEncoder`."""

    mean: Tensor
    variance: Tensor
    "Unbiased. Both float32 [layers, filters]"

    def __init__(self, settings: EncoderSettings) -> None:
        """Starts at mean 0 and variance 1."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(settings.layers, settings.filters))
        self.register_buffer("variance", torch.ones(settings.layers, settings.filters))

    @torch.no_grad()
    def update(self, batch_statistics: Tensor) -> None:
        """Moves by a batch's statistics, float32 [2, layers, filters]."""
        self.mean.lerp_(batch_statistics[0], _MOMENTUM)
        self.variance.lerp_(batch_statistics[1], _MOMENTUM)

    def copy_from(self, other: "RunningStatistics") -> None:
        """Takes another network's values."""
        self.load_state_dict(other.state_dict())


class EncoderNetwork(nn.Module):
    """What pretraining trains: an encoder with running statistics; a subclass adds what comes after its features."""

    def __init__(self, settings: EncoderSettings, frame_stack: int) -> None:
        """Builds the encoder with the framework's default initialisation."""
        super().__init__()
        self.encoder = ConvEncoder(settings, frame_stack)
        self.statistics = RunningStatistics(settings)

    def features(self, images: Tensor) -> Tensor:
        """Returns the feature map of images; shapes as in `ConvEncoder.forward`.

        In training mode the pass is normalised by its own batch and moves the running statistics.
        """
        if not self.training:
            return self.encoder.evaluate(images, self.statistics)
        feature_map: Tensor
        feature_map, batch_statistics = self.encoder(images)
        self.statistics.update(batch_statistics)
        return feature_map


def save_encoder(path: Path, encoder: ConvEncoder, statistics: RunningStatistics) -> None:
    """Writes weights, running statistics and, as metadata, the architecture."""
    write_safetensors(path, _named(encoder, statistics).state_dict(), encoder.architecture)


def load_encoder(path: Path, encoder: ConvEncoder, statistics: RunningStatistics) -> None:
    """Loads what `save_encoder` wrote into an encoder of the same architecture.

    Raises:
        UsageError: if the file is not readable, or holds another architecture.
    """
    found, tensors = _read(path)
    wanted = encoder.architecture
    if found != wanted:
        described = [", ".join(f"{name} {values.get(name)}" for name in wanted) for values in (found, wanted)]
        raise UsageError(
            f"{path}: another architecture: the file has {described[0]}; the settings ask for {described[1]}: "
            "pretrain with these settings, or train with the file's"
        )
    _fill(path, tensors, encoder, statistics)


def open_encoder(path: Path) -> tuple[ConvEncoder, RunningStatistics]:
    """Returns what `save_encoder` wrote, of whatever architecture, for `encoder.evaluate(images, statistics)`.

    The images are of the range that it was pretrained on: of inverse kinematics 0…255 as published, 0…1 in lite (its
    run's `ik.input_range`), of ImageNet 0…1.

    Raises:
        UsageError: if the file is not readable.
    """
    found, tensors = _read(path)
    channels = found.pop("channels", None)
    if not isinstance(channels, int) or channels < 3:
        raise UsageError(f"{path}: not readable as an encoder: its architecture has {channels} channels")
    settings = validated(EncoderSettings, [Layer(f"{path}: not readable as an encoder", found)])
    encoder, statistics = ConvEncoder(settings, channels // 3), RunningStatistics(settings)
    _fill(path, tensors, encoder, statistics)
    return encoder, statistics


def _read(path: Path) -> tuple[Architecture, dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            found = json.loads((file.metadata() or {}).get("rlpt", "{}"))
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not readable as an encoder: {error}") from None
    # What there was no setting for when it was written was as the default is.
    return (EncoderSettings().model_dump() | found if isinstance(found, dict) else {}), tensors


def _fill(path: Path, tensors: dict[str, Tensor], encoder: ConvEncoder, statistics: RunningStatistics) -> None:
    try:
        _named(encoder, statistics).load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path}: not readable as an encoder: {reason:.200}") from None


def _named(encoder: ConvEncoder, statistics: RunningStatistics) -> nn.ModuleDict:
    return nn.ModuleDict({"encoder": encoder, "statistics": statistics})
