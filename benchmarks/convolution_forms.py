"""Which form of a convolution is fastest: `python -m benchmarks.convolution_forms --device cuda`.

Layers of the paper's encoders, forward and backward. Between two others, of 90 channels in 3 groups on 39×39 pixels: as
it is; each group's 30 channels padded to 32; dense, with zeros between the groups; each group in tensors of its own. Of
90 channels without groups on 29×29 pixels: as it is, and padded to 96. The first one, from 9 channels in 3 groups, with
stride 2 and no gradient of its input; and one of 288 channels in 3 groups, on 39×39 pixels. Each in both memory
layouts, and on a GPU with cuDNN's own choice of algorithm, or with --tried the fastest that it finds by trying. (A
process keeps the first choice for a shape, so that one process cannot do both.)
"""

from collections.abc import Callable
from typing import NamedTuple

import click
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.measurement import milliseconds
from rlpt.pipeline.arithmetic import computing
from rlpt.settings import Precision

_BATCH, _GROUPS, _CHANNELS = 128, 3, 30
_PIXELS, _UNGROUPED_PIXELS, _CROP = 39, 29, 84
_PADDED, _UNGROUPED_PADDED = 32, 96
_LARGE = 288


class Convolution(NamedTuple):
    """A layer and its input."""

    images: Tensor
    "[batch, channels, height, width]"
    weight: Tensor
    "[filters, channels of a group, 3, 3]"
    groups: int = 1
    stride: int = 1
    first: bool = False
    "Of the network: nothing needs the gradient of its input."

    def __call__(self) -> Tensor:
        """Returns its output."""
        return F.conv2d(self.images, self.weight, stride=self.stride, groups=self.groups)


def forms(device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> dict[str, list[Convolution]]:
    """Returns the layers in each form, as one convolution or several, ready for gradients."""
    random = torch.Generator().manual_seed(0)
    images = torch.randn(_BATCH, _GROUPS, _CHANNELS, _PIXELS, _PIXELS, generator=random)
    weight = torch.randn(_GROUPS, _CHANNELS, _CHANNELS, 3, 3, generator=random)
    extra = _PADDED - _CHANNELS
    wide_images = F.pad(images, (0, 0, 0, 0, 0, extra))
    wide_weight = F.pad(weight, (0, 0, 0, 0, 0, extra, 0, extra))
    dense = torch.zeros(_GROUPS, _CHANNELS, _GROUPS, _CHANNELS, 3, 3)
    for group in range(_GROUPS):
        dense[group, :, group] = weight[group]
    found = {
        "grouped": [Convolution(images.flatten(1, 2), weight.flatten(0, 1), _GROUPS)],
        "padded to 32": [Convolution(wide_images.flatten(1, 2), wide_weight.flatten(0, 1), _GROUPS)],
        "dense": [Convolution(images.flatten(1, 2), dense.flatten(2, 3).flatten(0, 1))],
        "apart": [Convolution(images[:, group], weight[group]) for group in range(_GROUPS)],
    }

    def layer(channels: int, filters: int, pixels: int, groups: int = 1, stride: int = 1) -> Convolution:
        weight = torch.randn(filters, channels // groups, 3, 3, generator=random)
        return Convolution(torch.randn(_BATCH, channels, pixels, pixels, generator=random), weight, groups, stride)

    channels = _GROUPS * _CHANNELS
    found["ungrouped"] = [layer(channels, channels, _UNGROUPED_PIXELS)]
    found["ungrouped, 96"] = [layer(_UNGROUPED_PADDED, _UNGROUPED_PADDED, _UNGROUPED_PIXELS)]
    found["the first"] = [layer(3 * _GROUPS, channels, _CROP, _GROUPS, stride=2)._replace(first=True)]
    found["grouped, 288"] = [layer(_LARGE, _LARGE, _PIXELS, _GROUPS)]

    def ready(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype).contiguous(memory_format=layout).requires_grad_()

    return {
        name: [each._replace(images=ready(each.images), weight=ready(each.weight)) for each in form]
        for name, form in found.items()
    }


def training_step(form: list[Convolution]) -> Callable[[], None]:
    """Returns one pass forward and backward."""
    gradients = [torch.ones_like(each()) for each in form]

    def step() -> None:
        for each, gradient in zip(form, gradients, strict=True):
            torch.autograd.grad(each(), (each.weight,) if each.first else (each.images, each.weight), gradient)

    return step


@click.command(help=__doc__)
@click.option("--device", default="cpu", show_default=True)
@click.option("--tried", is_flag=True, help="Let cuDNN try all algorithms and keep the fastest.")
@click.option("--repeats", default=20, show_default=True)
def main(device: str, tried: bool, repeats: int) -> None:
    """Prints a line for each precision, layout and form."""
    place = torch.device(device)
    precisions: tuple[Precision, ...] = ("float32", "tf32", "bfloat16")
    for name in precisions if place.type == "cuda" else ("float32", "bfloat16"):
        dtype = torch.bfloat16 if name == "bfloat16" else torch.float32
        for layout in (torch.contiguous_format, torch.channels_last):
            for form, tensors in forms(place, dtype, layout).items():
                text = _duration(tensors, place, repeats, name, tried)
                click.echo(f"{name:9} {str(layout).removeprefix('torch.'):17} {form:13} {text}")


def _duration(form: list[Convolution], device: torch.device, repeats: int, precision: Precision, tried: bool) -> str:
    with computing(precision):
        torch.backends.cudnn.benchmark = tried
        try:
            return f"{milliseconds(training_step(form), device, repeats, warm_ups=1)():8.2f} ms"
        except RuntimeError as error:  # cuDNN may have no algorithm for a form
            return str(error).splitlines()[0]


if __name__ == "__main__":
    main()
