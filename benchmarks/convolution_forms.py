"""Which form of the grouped convolutions is fastest: `python -m benchmarks.convolution_forms --device cuda`.

A layer of the paper's encoder between two others, 90 channels in 3 groups on 39×39 pixels, forward and backward. Forms:
as it is; each group's 30 channels padded to 32; dense, with zeros between the groups; each group in tensors of its own.
Each in both memory layouts.
"""

from collections.abc import Callable

import click
import torch
from torch import Tensor
from torch.nn import functional as F

from rlpt.bench import milliseconds
from rlpt.precision import multiplying_in
from rlpt.settings import Precision

_BATCH, _PIXELS, _GROUPS, _CHANNELS = 128, 39, 3, 30
_PADDED = 32
Convolution = tuple[Tensor, Tensor, int]
"Images, weights and groups."


def forms(device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> dict[str, list[Convolution]]:
    """Returns the same layer in each form, as one convolution or several, ready for gradients."""
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
@click.option("--repeats", default=20, show_default=True)
def main(device: str, repeats: int) -> None:
    """Prints a line for each precision, layout and form."""
    place = torch.device(device)
    precisions: tuple[Precision, ...] = ("float32", "tf32", "bfloat16")
    for name in precisions if place.type == "cuda" else ("float32", "bfloat16"):
        dtype = torch.bfloat16 if name == "bfloat16" else torch.float32
        for layout in (torch.contiguous_format, torch.channels_last):
            for form, tensors in forms(place, dtype, layout).items():
                with multiplying_in(name):
                    duration = milliseconds(training_step(tensors), place, repeats, warm_ups=1)()
                click.echo(f"{name:9} {str(layout).removeprefix('torch.'):17} {form:13} {duration:8.2f} ms")


if __name__ == "__main__":
    main()
