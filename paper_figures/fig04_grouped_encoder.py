"""Figure 4: the grouped convolutional encoder, through which the stacked images pass without meeting.

    python paper_figures/fig04_grouped_encoder.py [--profile paper] [--out runs/figures]

draws <out>/fig04_grouped_encoder-<profile>.pdf and .png from the module that `rlpt` trains.
"""

from pathlib import Path

import torch
from matplotlib.figure import Figure

from rlpt.manifest import Manifest
from rlpt.models.classifier import StackClassifier
from rlpt.plots.diagrams import Diagram, LayerDescription, count_parameters, describe_layers, shape_text
from rlpt.plots.figure_files import figure_command
from rlpt.settings import Settings

TITLE = "Figure 4: Grouped convolutional feature extractor"
ROWS = (2.1, 1.35, 0.6)
HEAD, FOOT = 2.68, 0.13
"Heights of the images' centres, and of the lines above and below."
BAR = 0.36
BLOCK = 3 * BAR + 0.44
"Widths of a layer's part, and of a layer with the arrow behind it."


def encoder_layers(settings: Settings) -> list[tuple[LayerDescription, ...]]:
    """Returns (convolution, batch norm, ReLU) of each of the encoder's layers."""
    images, crop = settings.environment.frame_stack, settings.encoder.crop
    with torch.device("meta"):
        model = StackClassifier(settings.encoder, images, 1, 1)
        layers = describe_layers(model, torch.empty(images, 3, crop, crop))
    return [tuple(layers[first : first + 3]) for first in range(0, 3 * settings.encoder.layers, 3)]


def draw_layer(diagram: Diagram, x: float, number: int, layer: tuple[LayerDescription, ...]) -> None:
    """Draws a layer's parts, once for each group."""
    conv, groups = layer[0], layer[0].groups
    top, bottom = ROWS[0] + 0.3, ROWS[-1] - 0.3
    step = (ROWS[0] - ROWS[-1]) / max(groups - 1, 1)
    centres = [ROWS[0] - group * step for group in range(groups)] if groups > 1 else [(top + bottom) / 2]
    height = min(0.6, 0.8 * step) if groups > 1 else top - bottom
    channels = f"{conv.input_shape[0] // groups}→{conv.output_shape[0] // groups}"
    for y in centres:
        for index, part in enumerate(layer):
            text = f"{part.kind} {part.kernel}×{part.kernel}\n{channels}" if part is conv else part.kind
            size = (BAR, height)
            diagram.box((x + index * BAR, y - height / 2), size, text, part.kind, rotation=90)
        diagram.arrow((x + 3 * BAR, y), (x + BLOCK - 0.03, y))
    stride = f", stride {conv.stride}" if conv.stride > 1 else ""
    diagram.label((x + 1.5 * BAR, HEAD), f"layer {number + 1}{stride}\n{groups} group{'s' * (groups > 1)}")
    diagram.label((x + 1.5 * BAR, FOOT), shape_text(layer[-1].output_shape))


def draw(manifest: Manifest, data: Path) -> Figure:
    """Draws the input, the first two layers, the last one, and the output."""
    layers = encoder_layers(manifest.conditions[0].settings)
    diagram = Diagram(7, 3)
    for number, y in enumerate(ROWS):
        diagram.channel_stack((0.1, y - 0.25), 0.34)
        diagram.label((0.1, y + 0.37), f"image {number + 1}", ha="left")
        diagram.arrow((0.66, y), (0.84, y))
    diagram.label((0.38, FOOT), shape_text(layers[0][0].input_shape))
    x, before = 0.86, -1
    for number in sorted({0, min(1, len(layers) - 1), len(layers) - 1}):
        if skipped := number - before - 1:
            diagram.label((x + 0.26, HEAD), f"{skipped} more\nlayers")
            for y in ROWS:
                diagram.label((x + 0.26, y), "• • •")
            x += 0.58
        draw_layer(diagram, x, number, layers[number])
        x, before = x + BLOCK, number
    channels, *size = layers[-1][-1].output_shape
    share = shape_text([channels // len(ROWS), *size])
    diagram.label((x + 0.42, HEAD), "one share for\neach head")
    for number, y in enumerate(ROWS):
        diagram.box((x, y - 0.22), (0.84, 0.44), f"{share}\nof image {number + 1}", "data")
    everything = [part for layer in layers for part in layer]
    diagram.label((x + 0.42, FOOT), f"{count_parameters(everything)} parameters")
    return diagram.figure


main = figure_command(__file__, "fig07_imagenet.toml", TITLE, draw)

if __name__ == "__main__":
    main()
