"""Figure 2: ImageNet samples beside observations of walker walk under random actions.

    python paper_figures/fig02_imagenet_walker.py [--profile paper] [--data data] [--out runs/figures]

draws <out>/fig02_imagenet_walker-<profile>.pdf and .png. ImageNet is looked for in <data>/imagenet (train/<WordNet
id>/*.JPEG); where it is absent, or the profile does without it, images that rlpt draws itself take its place.
"""

from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure, SubFigure
from PIL import Image

from rlpt.data.image_folder import class_names, list_images, middle_square
from rlpt.data.synthetic_images import provide_synthetic_folder
from rlpt.errors import UsageError
from rlpt.generate import RandomEpisodes
from rlpt.manifest import Manifest
from rlpt.plots.figure_files import figure_command
from rlpt.settings import Settings

TITLE = "Figure 2: images to classify, and walker observations"
SIDE = 3
"Images along each side of a grid."


def image_samples(settings: Settings, data: Path) -> tuple[str, list[np.ndarray]]:
    """Returns what the images are, and images of the training split, spread over the classes."""
    folder, classes = data / settings.imagenet.dataset, settings.imagenet.classes
    title = f"ImageNet samples\n({classes} classes, training split)"
    if folder.name == "synthetic" or not folder.exists():
        reason = "as its profile asks" if folder.name == "synthetic" else f"as there is no {folder}"
        title = fill(f"NOT ImageNet: patterns drawn by rlpt, {reason}", 44)
        folder, classes = data / "synthetic", "all"
        provide_synthetic_folder(folder)
    files = list_images(folder, "train", class_names(folder, classes))
    if not files:
        raise UsageError(f"{folder / 'train'}: no image of the chosen classes: see `rlpt data imagenet {folder}`")
    chosen = [files[index].path for index in np.linspace(0, len(files) - 1, SIDE**2).astype(int)]
    size = settings.environment.size
    return title, [middle_square(Image.open(path).convert("RGB"), size) for path in chosen]


def walker_observations(settings: Settings) -> list[np.ndarray]:
    """Returns frames of one random episode, spread over its length."""
    episodes = RandomEpisodes("walker-walk", settings.environment, settings.generate)
    frames, _ = episodes.play(0, episodes.load())
    return [frames[index] for index in np.linspace(0, len(frames) - 1, SIDE**2).astype(int)]


def draw_grid(half: SubFigure, title: str, images: list[np.ndarray]) -> None:
    """Draws a square grid of images below its title."""
    half.suptitle(title, fontsize=9, color="#D55E00" if title.startswith("NOT") else "black")
    for axes, image in zip(half.subplots(SIDE, SIDE).flat, images, strict=True):
        axes.imshow(image)
        axes.set_axis_off()


def draw(manifest: Manifest, data: Path) -> Figure:
    """Draws both grids side by side."""
    settings = manifest.conditions[0].settings
    figure = Figure(figsize=(7, 4), layout="constrained")
    [[left, right]] = figure.subfigures(1, 2, wspace=0.04, squeeze=False)
    draw_grid(left, *image_samples(settings, data))
    size = settings.environment.size
    draw_grid(right, f"walker walk, random actions\n({size}×{size} pixels)", walker_observations(settings))
    return figure


main = figure_command(__file__, "fig07_imagenet.toml", TITLE, draw)

if __name__ == "__main__":
    main()
