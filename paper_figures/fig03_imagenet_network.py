"""Figure 3: the network of ImageNet pretraining, three stacked images through one encoder to three heads.

    python paper_figures/fig03_imagenet_network.py [--profile paper] [--out runs/figures]

draws <out>/fig03_imagenet_network-<profile>.pdf and .png from the module that `rlpt` trains.
"""

from pathlib import Path

import torch
from matplotlib.figure import Figure

from rlpt.data.image_folder import paper_classes
from rlpt.manifest import Manifest
from rlpt.models.classifier import StackClassifier
from rlpt.plots.diagrams import (
    Diagram,
    LayerDescription,
    count_parameters,
    describe_layers,
    layers_of,
    shape_text,
    summarise_convolutions,
)
from rlpt.plots.figure_files import figure_command
from rlpt.settings import Settings

TITLE = "Figure 3: ImageNet pretraining network"
ROWS = (2.05, 1.25, 0.45)
"Heights of the images' centres."


def network_layers(settings: Settings) -> tuple[int, list[LayerDescription]]:
    """Returns the number of images in a stack and the network's layers."""
    images, crop = settings.environment.frame_stack, settings.encoder.crop
    with torch.device("meta"):
        model = StackClassifier(settings.encoder, images, len(paper_classes()), settings.imagenet.hidden)
        return images, describe_layers(model, torch.empty(images, 3, crop, crop))


def draw_encoder(diagram: Diagram, images: int, encoder: list[LayerDescription]) -> None:
    """Draws a path for each image where all convolutions keep the images apart, and else one for all."""
    lines = "\n".join([*summarise_convolutions(encoder), "each with BatchNorm, ReLU"])
    apart = all(layer.groups == images for layer in encoder if layer.kind == "Conv")
    diagram.label((2.86, 2.62), f"encoder $f_θ$\n{count_parameters(encoder)} parameters")
    height = 0.6 if apart else 2.2
    for number, y in enumerate(ROWS if apart else ROWS[1:2]):
        text = f"{lines}\n(group {number + 1} of {images})" if apart else lines
        diagram.box((2.14, y - height / 2), (1.44, height), text, "Conv")


def draw_head(diagram: Diagram, y: float, share: str, layers: list[LayerDescription]) -> None:
    """Draws a share of the feature map and the head that sees it."""
    first, last = layers
    diagram.arrow((3.58, y), (3.78, y))
    diagram.box((3.78, y - 0.22), (0.74, 0.44), f"{share}\n= {first.input_shape[0]:,}", "data")
    diagram.arrow((4.52, y), (4.7, y))
    sizes = " → ".join(f"{layer.input_shape[0]:,}" for layer in layers)
    text = f"Linear, ReLU, Linear\n{sizes} → {last.output_shape[0]:,}"
    diagram.box((4.7, y - 0.22), (1.55, 0.44), text, "Linear")
    diagram.arrow((6.25, y), (6.42, y))


def draw(manifest: Manifest, data: Path) -> Figure:
    """Draws images, stack, encoder, shares and heads from left to right."""
    images, layers = network_layers(manifest.conditions[0].settings)
    encoder = layers_of(layers, "encoder")
    channels, *size = encoder[-1].output_shape
    diagram = Diagram(7, 2.85)
    diagram.channel_stack((0.88, 0.73), 0.32, images)
    diagram.label((1.25, 0.55), f"stack {shape_text(encoder[0].input_shape)}")
    draw_encoder(diagram, images, encoder)
    diagram.label((4.15, 2.62), f"feature map\n{shape_text(encoder[-1].output_shape)}")
    diagram.label((5.48, 2.62), f"{images} heads, each with\nweights of its own")
    for number, y in enumerate(ROWS):
        diagram.channel_stack((0.1, y - 0.25), 0.32)
        diagram.label((0.1, y - 0.34), f"image {number + 1}", ha="left")
        diagram.arrow((0.66, y), (0.86, ROWS[1] + 0.2 * (y - ROWS[1])))
        diagram.arrow((1.94, ROWS[1] + 0.15 * (y - ROWS[1])), (2.14, y))
        draw_head(diagram, y, shape_text([channels // images, *size]), layers_of(layers, f"heads.{number}"))
        diagram.label((6.45, y), f"logits of\nimage {number + 1}", ha="left")
    return diagram.figure


main = figure_command(__file__, "fig07_imagenet.toml", TITLE, draw)

if __name__ == "__main__":
    main()
