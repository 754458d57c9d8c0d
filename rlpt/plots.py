"""Learning curves from run folders, as figures that could go into a paper."""

from pathlib import Path

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from rlpt.figures import STYLE, made_by, save_figure, stamp
from rlpt.jobs import Curve, Selection, curves
from rlpt.manifest import Manifest
from rlpt.results import read_returns

_PANEL = (2.5, 2.1)
_DASHES = ["", (4, 1.5), (1, 1), (5, 1, 1, 1), (3, 1, 1, 1, 1, 1), (8, 2)]


def draw_learning_curves(manifest: Manifest, selection: Selection, runs: Path) -> list[Path]:
    """Draws training return over agent steps, one panel an environment, and names what is missing.

    Each run's episodes are smoothed with a moving average of `plot.smoothing` episodes (as in the paper; at the start
    over as many as there are); lines are means over seeds, bands 95 % bootstrap intervals of the mean.

    Returns:
        The PNG and PDF, in `<runs>/figures/`.
    """
    planned = curves(manifest, selection)
    finished = [curve for curve in planned if curve.job.folder(runs).state() == "done"]
    tables = [read_returns(curve, runs, manifest.plot.smoothing) for curve in finished]
    data = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["environment"])
    with mpl.rc_context(STYLE):
        figure = _panels(planned, data)
        _caption(figure, manifest, planned, finished)
        shown = " ".join(curve.job.id for curve in finished)
        return save_figure(figure, runs / "figures", manifest.name, manifest.title, manifest.profile, shown)


def _panels(planned: list[Curve], data: pd.DataFrame) -> Figure:
    environments = list(dict.fromkeys(curve.environment for curve in planned))
    repeats = {curve.environment: curve.job.settings.environment.action_repeat for curve in planned}
    labels = list(dict.fromkeys(curve.label for curve in planned))
    colours = dict(zip(labels, sns.color_palette("colorblind", len(labels)), strict=True))
    dashes = {label: _DASHES[index % len(_DASHES)] for index, label in enumerate(labels)}
    width, height = _PANEL
    columns = min(len(labels), 2 * len(environments))
    rows = -(-len(labels) // columns)
    figure = Figure(figsize=(max(width * len(environments), 3.6), height + 0.8 + 0.2 * rows), layout="constrained")
    for index, environment in enumerate(environments):
        axes = figure.add_subplot(1, len(environments), index + 1)
        panel = data[data["environment"] == environment]
        if len(panel):
            sns.lineplot(
                panel, x="step", y="smoothed", hue="condition", hue_order=labels, palette=colours,
                style="condition", style_order=labels, dashes=dashes, errorbar=("ci", 95), seed=0,
                legend=False, linewidth=1.2, ax=axes,
            )  # fmt: skip
        _label(axes, environment, repeats[environment], first=index == 0)
    handles = [
        Line2D([], [], color=colours[label], linestyle=(0, dashes[label] or None), label=label)  # type: ignore[arg-type]
        for label in labels
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False)
    return figure


def _label(axes: Axes, environment: str, action_repeat: int, first: bool) -> None:
    axes.set_title(environment.replace("-", " ").replace("_", " "))
    axes.set_xlabel(f"environment steps, in agent steps of {action_repeat}")
    axes.set_ylabel("training return" if first else "")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda steps, _: f"{steps / 1000:g}k" if steps else "0"))


def _caption(figure: Figure, manifest: Manifest, planned: list[Curve], finished: list[Curve]) -> None:
    """Stamps under the figure what it shows and what made it."""
    counts = {"seeds": len({curve.seed for curve in planned}), "videos": len({curve.clip for curve in planned})}
    repeated = " and ".join(f"{count} {kind}" for kind, count in counts.items() if count > 1)
    interval = f"mean and 95 % bootstrap interval over {repeated}" if repeated else "one seed, so no interval"
    lines = [
        f"{manifest.title}. Moving average of {manifest.plot.smoothing} episodes; {interval}.",
        made_by(manifest),
    ]
    missing = [curve for curve in planned if curve not in finished]
    if missing:
        names = ", ".join(curve.job.slug for curve in missing[:6])
        more = f" and {len(missing) - 6} more" if len(missing) > 6 else ""
        lines.append(f"MISSING {len(missing)} of {len(planned)} runs: {names}{more}")
    stamp(figure, lines)
