"""Figure 5: how the dataset of inverse kinematics comes about, with a transition of walker walk.

    python paper_figures/fig05_dataset_generation.py [--profile paper] [--out runs/figures]

draws <out>/fig05_dataset_generation-<profile>.pdf and .png from frames that `rlpt generate` would write.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from rlpt.generate import RandomEpisodes
from rlpt.manifest import Manifest
from rlpt.plots.diagrams import Diagram
from rlpt.plots.figure_files import figure_command

TITLE = "Figure 5: Self-supervised dataset generation"
NAME = "walker-walk"
STEP = 8
"Which transition of the first episode is shown."
MIDDLE, LOW = 1.6, 1.15
"Heights of the loop's middle and lower edge."


def draw_action(diagram: Diagram, corner: tuple[float, float], action: np.ndarray) -> None:
    """Draws an action's components as bars between -1 and 1, 0.6 inches high."""
    x, y = corner
    bars = x + 0.12 * (np.arange(len(action)) + 0.5)
    diagram.axes.bar(bars, 0.3 * action, 0.09, bottom=y + 0.3, color="#0072B2")
    diagram.axes.plot([x, x + 0.12 * len(action)], [y + 0.3, y + 0.3], color="0.25", lw=0.6)
    for value in (-1, 1):
        diagram.label((x - 0.04, y + 0.3 + 0.3 * value), f"{value:+d}".replace("-", "−"), fontsize=6, ha="right")


def draw_loop(diagram: Diagram, text: str) -> None:
    """Draws the way back from the next observation to the observation, over the top, with text on it."""
    diagram.arrow((6.1, MIDDLE + 0.75), (0.8, MIDDLE + 0.75), connectionstyle=f"bar,fraction={0.35 / 5.3}")
    diagram.label((3.45, MIDDLE + 1.1), text, bbox={"facecolor": "white", "edgecolor": "none", "pad": 3}, zorder=3)


def draw(manifest: Manifest, data: Path) -> Figure:
    """Draws observation, action, environment and next observation as a loop, and the dataset that it fills."""
    settings = manifest.conditions[0].settings
    episodes = RandomEpisodes(NAME, settings.environment, settings.generate)
    frames, actions = episodes.play(0, episodes.load())
    stack = settings.environment.frame_stack
    observation, following = (frames[last - stack + 1 : last + 1] for last in (STEP, STEP + 1))
    diagram = Diagram(7, 3)
    diagram.frame_stack(observation, (0.25, LOW), 0.9)
    diagram.label((0.7, LOW - 0.12), f"observation $o_t$\n({stack} frames)", va="top")
    draw_action(diagram, (2.12, LOW + 0.15), actions[STEP])
    diagram.label((2.45, LOW - 0.12), "random action $a_t$,\nuniform in [−1, 1]", va="top")
    name, repeat = NAME.replace("-", " "), settings.environment.action_repeat
    diagram.box((3.45, LOW), (1.15, 0.9), f"environment\n{name}\n\naction repeated\n{repeat} times")
    diagram.frame_stack(following, (5.55, LOW), 0.9)
    diagram.label((6.0, LOW - 0.12), "next observation\n$o_{t+1}$", va="top")
    for start, end in ((1.42, 1.86), (2.98, 3.45), (4.6, 5.5)):
        diagram.arrow((start, MIDDLE), (end, MIDDLE))
    generate = settings.generate
    draw_loop(
        diagram,
        f"$t$ ← $t$ + 1; the environment is reset every $k$ = {generate.reset_every} control steps\n"
        f"({episodes.episode_steps} agent steps), until there are $T$ = {generate.transitions:,} transitions",
    )
    diagram.box((0.25, 0.05), (6.4, 0.34), "dataset: transitions $(o_t,\\ a_t,\\ o_{t+1})$", "data")
    for x in (0.7, 2.45, 6.0):
        diagram.arrow((x, 0.69), (x, 0.4))
    return diagram.figure


main = figure_command(__file__, "fig08_ik.toml", TITLE, draw)

if __name__ == "__main__":
    main()
