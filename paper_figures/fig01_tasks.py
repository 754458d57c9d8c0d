"""Figure 1: the three tasks, and cheetah run before each of the three published video clips.

    python paper_figures/fig01_tasks.py [--profile paper] [--data data] [--out runs/figures]

draws <out>/fig01_tasks-<profile>.pdf and .png. Clips are looked for in <data>/videos (`rlpt data videos`).
"""

from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlpt.data.clips import PUBLISHED_CLIPS
from rlpt.data.videos import load_video
from rlpt.envs.pixels import PixelEnvironment, action_size
from rlpt.errors import UsageError
from rlpt.manifest import Manifest
from rlpt.plots.figure_files import figure_command
from rlpt.settings import EnvironmentSettings
from rlpt.streams import stream

TITLE = "Figure 1: DM Control tasks, without and with distracting backgrounds, at four times the agents' resolution"
ENLARGEMENT = 4
"Rendered at so many times the agent's resolution."
STEPS = 10
"Random agent steps before the picture is taken."


def rendered(name: str, settings: EnvironmentSettings, video: np.ndarray | None = None) -> np.ndarray:
    """Returns the frame after some random steps, uint8 [size, size, 3]."""
    environment = PixelEnvironment(name, settings, video=video)
    environment.reset()
    random = stream(0, "actions")
    for _ in range(STEPS):
        environment.step(random.uniform(-1, 1, action_size(environment)))
    frame = environment.frame
    environment.close()
    return frame


def draw_clip(axes: Axes, number: int, name: str, settings: EnvironmentSettings, data: Path) -> None:
    """Draws a task before a published clip, or says that the clip is missing; another file in its place is an error."""
    clip = PUBLISHED_CLIPS[number]
    try:
        path = clip.locate(data)
    except UsageError:
        if (data / "videos" / clip.file).exists():
            raise
        axes.set_facecolor("0.93")
        text = fill(f"video {number} is not in {data / 'videos'}:", 36) + "\nrlpt data videos"
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=7)
        return
    axes.imshow(rendered(name, settings, load_video(path, settings.size)))


def draw(manifest: Manifest, data: Path) -> Figure:
    """Draws three tasks above three backgrounds."""
    plain = manifest.conditions[0].settings.environment
    settings = plain.model_copy(update={"size": ENLARGEMENT * plain.size})
    figure = Figure(figsize=(7, 5.2), layout="constrained")
    tasks, distracted = figure.subplots(2, 3)
    captions = []
    for axes, name in zip(tasks, manifest.environments, strict=True):
        axes.imshow(rendered(name, settings))
        captions.append((axes, name.replace("-", " ")))
    for axes, number in zip(distracted, PUBLISHED_CLIPS, strict=True):
        draw_clip(axes, number, manifest.environments[0], settings, data)
        captions.append((axes, f"{manifest.environments[0].replace('-', ' ')}, video {number}"))
    for letter, (axes, caption) in zip("abcdef", captions, strict=True):
        axes.set(xticks=[], yticks=[], xlabel=f"({letter}) {caption}", box_aspect=1)
        axes.grid(False)
        axes.spines[:].set_visible(False)
    return figure


main = figure_command(__file__, "fig10_ik_distracted.toml", TITLE, draw)

if __name__ == "__main__":
    main()
