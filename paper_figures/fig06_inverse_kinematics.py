"""Figure 6: the network of inverse-kinematics pretraining, two observations through one encoder to an action.

    python paper_figures/fig06_inverse_kinematics.py [--profile paper] [--out runs/figures]

draws <out>/fig06_inverse_kinematics-<profile>.pdf and .png from the module that `rlpt` trains.
"""

from pathlib import Path

import torch
from matplotlib.figure import Figure

from rlpt.generate import RandomEpisodes
from rlpt.manifest import Manifest
from rlpt.models.inverse_kinematics import InverseKinematics
from rlpt.plots.diagrams import (
    Diagram,
    LayerDescription,
    count_parameters,
    describe_layers,
    shape_text,
    summarise_convolutions,
)
from rlpt.plots.figure_files import figure_command
from rlpt.settings import Settings

TITLE = "Figure 6: Inverse-kinematics pretraining network"
NAME = "walker-walk"
STEP = 8
"Which transition of the first episode is shown."
ROWS = (2.15, 0.8)
"Heights of the two observations' centres."
BAR = 0.21


def network_layers(settings: Settings, actions: int) -> list[LayerDescription]:
    """Returns the network's layers."""
    stack, crop = settings.environment.frame_stack, settings.encoder.crop
    with torch.device("meta"):
        model = InverseKinematics(settings.encoder, stack, actions, settings.ik)
        observations = torch.empty(1, 3 * stack, crop, crop)
        return describe_layers(model, observations, observations)


def draw_encoder(diagram: Diagram, y: float, layers: list[LayerDescription]) -> None:
    """Draws one pass through the encoder, from the frames to the feature map."""
    diagram.arrow((0.98, y), (1.2, y))
    lines = ["encoder $f_θ$", *summarise_convolutions(layers), "each with", "BatchNorm, ReLU"]
    diagram.box((1.2, y - 0.4), (1.34, 0.8), "\n".join(lines), "Conv")
    diagram.arrow((2.54, y), (2.76, y))
    diagram.box((2.76, y - 0.22), (0.72, 0.44), f"feature map\n{shape_text(layers[-1].output_shape)}", "data")
    diagram.arrow((3.48, y), (3.68, y))


def draw(manifest: Manifest, data: Path) -> Figure:
    """Draws observations, encoder, feature maps and the head's layers from left to right."""
    settings = manifest.conditions[0].settings
    episodes = RandomEpisodes(NAME, settings.environment, settings.generate)
    frames, actions = episodes.play(0, episodes.load())
    layers = network_layers(settings, actions.shape[1])
    passes = 3 * settings.encoder.layers
    first, second, head = layers[:passes], layers[passes : 2 * passes], layers[2 * passes :]
    diagram = Diagram(7, 2.65)
    for index, (y, name, encoder) in enumerate(zip(ROWS, ("o_t", "o_{t+1}"), (first, second), strict=True)):
        last = STEP + index
        diagram.frame_stack(frames[last - settings.environment.frame_stack + 1 : last + 1], (0.1, y - 0.41), 0.62)
        diagram.label((0.1, y - 0.54), f"${name}$, crop {shape_text(encoder[0].input_shape)}", ha="left")
        draw_encoder(diagram, y, encoder)
    if all(layer.tied for layer in second if layer.name):
        diagram.arrow((1.5, ROWS[0] - 0.42), (1.5, ROWS[1] + 0.42), arrowstyle="<|-|>", linestyle="--")
        diagram.label((1.58, sum(ROWS) / 2), f"tied weights,\n{count_parameters(first)} parameters", ha="left")
    low, height = ROWS[1] - 0.4, ROWS[0] - ROWS[1] + 0.8
    middle = low + height / 2
    inputs = head[0].input_shape[0]
    diagram.box((3.68, low), (0.26, height), f"concatenated: {inputs:,}", "data", rotation=90)
    diagram.arrow((3.94, middle), (4.12, middle))
    for index, layer in enumerate(head):
        sizes = f" {layer.input_shape[0]:,} → {layer.output_shape[0]:,}" if layer.kind == "Linear" else ""
        diagram.box((4.12 + index * BAR, low), (BAR, height), layer.kind + sizes, layer.kind, rotation=90)
    end = 4.12 + len(head) * BAR
    diagram.label(((4.12 + end) / 2, low - 0.12), f"head, {count_parameters(head)} parameters")
    diagram.arrow((end, middle), (end + 0.16, middle))
    diagram.label((end + 0.2, middle), f"predicted\naction $a_t$\n({head[-1].output_shape[0]} values)", ha="left")
    return diagram.figure


main = figure_command(__file__, "fig08_ik.toml", TITLE, draw)

if __name__ == "__main__":
    main()
