"""Which form of a convolution is fastest: `python -m benchmarks.convolution_forms --device cuda`.

A layer of the paper's encoder between two others, forward and backward. Of 90 channels in 3 groups on 39×39 pixels: as
it is; each group's 30 channels padded to 32; dense, with zeros between the groups; each group in tensors of its own. Of
90 channels without groups on 29×29 pixels: as it is, and padded to 96. Each in both memory layouts, and on a GPU with
cuDNN's own choice of algorithm, or with --tried the fastest that it finds by trying. (A process keeps the first choice
for a shape, so that one process cannot do both.)
"""

from collections.abc import Callable

import click
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.measurement import milliseconds
from rlpt.pipeline.arithmetic import computing
from rlpt.settings import Precision

_BATCH, _GROUPS, _CHANNELS = 128, 3, 30
_PIXELS, _UNGROUPED_PIXELS = 39, 29
_PADDED, _UNGROUPED_PADDED = 32, 96
Convolution = tuple[Tensor, Tensor, int]
"Images, weights and groups."


def forms(device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> dict[str, list[Convolution]]:
    """Returns both layers in each form, as one convolution or several, ready for gradients."""
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
        "grouped": [(images.flatten(1, 2), weight.flatten(0, 1), _GROUPS)],
        "padded to 32": [(wide_images.flatten(1, 2), wide_weight.flatten(0, 1), _GROUPS)],
        "dense": [(images.flatten(1, 2), dense.flatten(2, 3).flatten(0, 1), 1)],
        "apart": [(images[:, group], weight[group], 1) for group in range(_GROUPS)],
    }

    for name, channels in (("ungrouped", _GROUPS * _CHANNELS), ("ungrouped, 96", _UNGROUPED_PADDED)):
        shape = (_BATCH, channels, _UNGROUPED_PIXELS, _UNGROUPED_PIXELS)
        weights = torch.randn(channels, channels, 3, 3, generator=random)
        found[name] = [(torch.randn(shape, generator=random), weights, 1)]

    def ready(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype).contiguous(memory_format=layout).requires_grad_()

    return {
        name: [(ready(images), ready(weight), groups) for images, weight, groups in form]
        for name, form in found.items()
    }


def training_step(form: list[Convolution]) -> Callable[[], None]:
    """Returns one pass forward and backward."""
    gradients = [torch.ones_like(F.conv2d(images, weight, groups=groups)) for images, weight, groups in form]

    def step() -> None:
        for (images, weight, groups), gradient in zip(form, gradients, strict=True):
            torch.autograd.grad(F.conv2d(images, weight, groups=groups), (images, weight), gradient)

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
