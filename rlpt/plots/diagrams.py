"""Pictures of networks and data: what a forward pass does, read from the module itself, and boxes and arrows for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Point = tuple[float, float]

_KINDS = {
    "conv2d": "Conv",
    "batch_norm": "BatchNorm",
    "layer_norm": "LayerNorm",
    "linear": "Linear",
    "relu": "ReLU",
    "dropout": "Dropout",
}
# Okabe and Ito's colours, which the colour-blind can tell apart.
_COLOURS = {
    "Conv": "#56B4E9",
    "BatchNorm": "#E69F00",
    "LayerNorm": "#E69F00",
    "ReLU": "#009E73",
    "Linear": "#CC79A7",
    "Dropout": "#999999",
    "data": "#F0E442",
    "plain": "#BBBBBB",
}
_CHANNELS = {"R": "#D55E00", "G": "#009E73", "B": "#0072B2"}
_LINE = "0.25"
_LINE_WIDTH = 0.8
_FONT_SIZE = 6.5
_SMALL_PRINT_STRIP = 0.3
"Inches at the lower edge."


@dataclass(frozen=True)
class LayerDescription:
    """One layer as a forward pass used it."""

    name: str
    "Of the module that owns the parameters, such as encoder.convs.0; empty for a layer without any."
    kind: str
    "Conv, BatchNorm, LayerNorm, Linear, ReLU or Dropout."
    input_shape: tuple[int, ...]
    "Without the batch."
    output_shape: tuple[int, ...]
    parameters: int
    "Counted where they are used first."
    groups: int = 1
    kernel: int = 1
    stride: int = 1
    tied: bool = False
    "Uses parameters that an earlier layer of the same pass used."


def describe_layers(module: nn.Module, *inputs: Tensor) -> list[LayerDescription]:
    """Runs `module` on `inputs` in evaluation mode and returns its layers in the order of use.

    Layers are seen as the functions that are called, so a functional ReLU or batch norm is described like a module's.
    Tensors on the meta device are enough.
    """
    training = module.training
    recorder = _Recorder(module)
    try:
        with torch.no_grad(), recorder:
            module.eval()(*inputs)
    finally:
        module.train(training)
    return recorder.layers


class _Recorder(TorchFunctionMode):
    """Notes the layers of a module's forward pass."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.layers: list[LayerDescription] = []
        self._owners = {
            id(parameter): (name, owner)
            for name, owner in module.named_modules()
            for parameter in owner.parameters(recurse=False)
        }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        kind = _KINDS.get(getattr(func, "__name__", ""))
        if kind:
            self._note(kind, args[0], result, [*args[1:], *kwargs.values()])
        return result

    def _note(self, kind: str, source: Tensor, result: Tensor, others: list[Any]) -> None:
        name, owner = next((self._owners[id(other)] for other in others if id(other) in self._owners), ("", None))
        tied = owner is not None and any(layer.name == name for layer in self.layers)
        own = owner.parameters(recurse=False) if owner is not None and not tied else ()
        conv = owner if isinstance(owner, nn.Conv2d) else None
        self.layers.append(
            LayerDescription(
                name,
                kind,
                tuple(source.shape[1:]),
                tuple(result.shape[1:]),
                sum(parameter.numel() for parameter in own),
                groups=conv.groups if conv else 1,
                kernel=conv.kernel_size[0] if conv else 1,
                stride=conv.stride[0] if conv else 1,
                tied=tied,
            )
        )


def layers_of(layers: Sequence[LayerDescription], part: str) -> list[LayerDescription]:
    """Returns the layers with parameters of the submodule `part`, each once."""
    return [layer for layer in layers if layer.name.startswith(f"{part}.") and not layer.tied]


def summarise_convolutions(layers: Sequence[LayerDescription]) -> list[str]:
    """Returns a line for each run of convolutions with equal groups, such as "6 × Conv 3×3, 3 groups"."""
    lines = []
    for (kernel, groups), run in groupby(
        (layer for layer in layers if layer.kind == "Conv"), key=lambda layer: (layer.kernel, layer.groups)
    ):
        grouped = f", {groups} groups" if groups > 1 else ""
        lines.append(f"{len(list(run))} × Conv {kernel}×{kernel}{grouped}")
    return lines


def count_parameters(layers: Sequence[LayerDescription]) -> str:
    """Returns the number of parameters as text: "8.2 M" or "944"."""
    count = sum(layer.parameters for layer in layers)
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count:,}"


def shape_text(shape: Sequence[int]) -> str:
    """Returns "9×84×84"."""
    return "×".join(f"{size:,}" for size in shape)


class Diagram:
    """A figure to draw on, with the inch as its unit; the small print has a strip of its own below y = 0."""

    def __init__(self, width: float, height: float) -> None:
        """Makes an empty one."""
        whole = height + _SMALL_PRINT_STRIP
        self.figure = Figure(figsize=(width, whole))
        rectangle = (0, _SMALL_PRINT_STRIP / whole, 1, height / whole)
        self.axes: Axes = self.figure.add_axes(rectangle, autoscale_on=False, xlim=(0, width), ylim=(0, height))
        self.axes.set_axis_off()

    def box(self, corner: Point, size: Point, text: str, kind: str = "plain", rotation: int = 0) -> None:
        """Draws a rounded box with text, in the colour of a layer's kind or of "data"; `corner` is the lower left."""
        x, y = corner
        width, height = size
        fill = tuple(1 - 0.45 * (1 - channel) for channel in to_rgb(_COLOURS[kind]))
        shape = f"round,pad=0,rounding_size={min(0.06, width / 5)}"
        patch = FancyBboxPatch(corner, width, height, shape, facecolor=fill, edgecolor=_LINE, lw=_LINE_WIDTH)
        self.axes.add_patch(patch)
        self.label((x + width / 2, y + height / 2), text, rotation=rotation)

    def label(self, place: Point, text: str, **options: Any) -> None:
        """Writes text, in the middle of a point unless the options of Matplotlib's text say otherwise."""
        defaults = {"fontsize": _FONT_SIZE, "ha": "center", "va": "center", "linespacing": 1.25}
        self.axes.text(*place, text, **{**defaults, **options})

    def arrow(self, start: Point, end: Point, **options: Any) -> None:
        """Draws an arrow; options are those of Matplotlib's FancyArrowPatch."""
        defaults = {"arrowstyle": "-|>", "mutation_scale": 7, "shrinkA": 0, "shrinkB": 0}
        self.axes.add_patch(FancyArrowPatch(start, end, lw=_LINE_WIDTH, color=_LINE, **{**defaults, **options}))

    def frame_stack(self, frames: np.ndarray, corner: Point, size: float, offset: float = 0.1) -> None:
        """Draws uint8 images [frames, height, width, 3] one before the other; the last one in front, at `corner`."""
        limits = self.axes.axis()
        for depth, frame in zip(reversed(range(len(frames))), frames, strict=True):
            x, y = corner[0] + depth * offset, corner[1] + depth * offset
            extent = (x, x + size, y, y + size)
            self.axes.imshow(frame, extent=extent, interpolation="nearest", zorder=2, aspect="auto")
            outline = Rectangle((x, y), size, size, fill=False, edgecolor=_LINE, lw=_LINE_WIDTH / 2, zorder=2)
            self.axes.add_patch(outline)
        self.axes.axis(limits)  # imshow has changed them

    def channel_stack(self, corner: Point, size: float, images: int = 1, offset: float = 0.09) -> None:
        """Draws the RGB channels of stacked images as squares; the first channel in front, at `corner`."""
        for depth, (name, colour) in reversed(list(enumerate(list(_CHANNELS.items()) * images))):
            x, y = corner[0] + depth * offset, corner[1] + depth * offset
            self.axes.add_patch(Rectangle((x, y), size, size, facecolor=colour, edgecolor="white", lw=_LINE_WIDTH))
            place = (x + size - 0.01, y + size - 0.01)
            self.label(place, name, fontsize=6, color="white", ha="right", va="top")
