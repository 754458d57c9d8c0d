"""Learning curves from run folders, as figures that could go into a paper."""

from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from rlpt.manifest import Manifest
from rlpt.number_text import span, task
from rlpt.pipeline.jobs import Curve, Selection, curves
from rlpt.plots.encoder_curves import draw_pretraining_curves
from rlpt.plots.figure_files import STYLE, made_by, save_figure, sentence, stamp
from rlpt.plots.line_styles import LineStyle, line_style, slots
from rlpt.results.records import grouped
from rlpt.results.run_files import episodes_folder, read_returns
from rlpt.stats import curve_band

_PANEL, _LONE_PANEL = (2.5, 2.1), (4.2, 2.7)


@dataclass(frozen=True)
class _Shown:
    """A run that is finished, or has at least one whole episode."""

    curve: Curve
    returns: pd.DataFrame
    finished: bool

    @property
    def steps(self) -> int:
        """Agent steps up to the end of its last whole episode."""
        return 0 if self.returns.empty else int(self.returns["step"].max())


def draw_figures(manifest: Manifest, selection: Selection, runs: Path) -> list[Path]:
    """Draws the manifest's figure and, where there are encoders, what they learn.

    Where there are encoders and no training has begun, there is no figure without curves.

    Returns:
        PNG and PDF of each, in `<runs>/figures/`.
    """
    encoders = draw_pretraining_curves(manifest, selection, runs)
    begun = any(episodes_folder(curve.job, runs) for curve in curves(manifest, selection))
    return (draw_learning_curves(manifest, selection, runs) if begun or not encoders else []) + encoders


def draw_learning_curves(manifest: Manifest, selection: Selection, runs: Path) -> list[Path]:
    """Draws training return over agent steps, one panel an environment, and names what is missing.

    Each run's episodes are smoothed with a moving average of `plot.smoothing` episodes (as in the paper; at the start
    over as many as there are). Thin lines are runs, unfinished ones up to where they are; thick lines means of a
    condition's finished runs (of all, where none is finished, as far as all go); bands their 95 % bootstrap intervals,
    for three runs their range. An environment without any run has no panel, a condition without any no entry, unless
    none has one.

    Returns:
        The PNG and PDF, in `<runs>/figures/`.
    """
    planned = curves(manifest, selection)
    shown = [each for curve in planned if (each := _read(curve, runs, manifest.plot.smoothing))]
    with mpl.rc_context(STYLE):
        figure = _panels(planned, shown, slots(manifest))
        _caption(figure, manifest, selection, shown)
        ids = " ".join(each.curve.job.id for each in shown)
        return save_figure(figure, runs / "figures", manifest.name, manifest.title, manifest.profile, ids)


def _read(curve: Curve, runs: Path, smoothing: int) -> _Shown | None:
    path = episodes_folder(curve.job, runs)
    if not path:
        return None
    found = _Shown(curve, read_returns(curve, path, smoothing), curve.job.folder(runs).is_done())
    return found if found.finished or found.steps else None


def _panels(planned: list[Curve], shown: list[_Shown], own_slots: dict[str, int]) -> Figure:
    environments = list(dict.fromkeys(curve.environment for curve in [each.curve for each in shown] or planned))
    repeats = {curve.environment: curve.job.settings.environment.action_repeat for curve in planned}
    drawn = {each.curve.label for each in shown if each.steps}
    labels = drawn or {curve.label for curve in planned}
    styles = {label: line_style(slot) for label, slot in own_slots.items() if label in labels}
    width, height = _PANEL
    columns = min(len(styles), 2 * len(environments))
    rows = -(-len(styles) // columns)
    if len(environments) == 1:
        width, height = _LONE_PANEL
    figure = Figure(figsize=(width * len(environments), height + 0.8 + 0.2 * rows), layout="constrained")
    for index, environment in enumerate(environments):
        axes = figure.add_subplot(1, len(environments), index + 1)
        _draw([each for each in shown if each.curve.environment == environment and each.steps], styles, axes)
        _label(axes, environment, repeats[environment], first=index == 0)
    handles = [
        Line2D([], [], color=style.colour, linestyle=(0, style.dashes or None), label=label)  # type: ignore[arg-type]
        for label, style in styles.items()
    ]
    figure.legend(handles=_by_rows(handles, columns), loc="outside upper center", ncols=columns, frameon=False)
    return figure


def _by_rows(entries: list[Line2D], columns: int) -> list[Line2D]:
    """Returns a legend's entries in an order that reads row by row, where matplotlib fills column by column."""
    return [entry for column in range(columns) for entry in entries[column::columns]]


def _draw(shown: list[_Shown], styles: dict[str, LineStyle], axes: Axes) -> None:
    """Draws the runs of one panel thinly, and their means."""
    if not shown:
        return
    colours = {label: style.colour for label, style in styles.items()}
    for each in shown:
        single = each.returns
        axes.plot(single["step"], single["smoothed"], color=colours[each.curve.label], linewidth=0.4, alpha=0.5)
    dashes = {label: style.dashes for label, style in styles.items()}
    data = _common_steps(_averaged(shown))
    sns.lineplot(
        data, x="step", y="smoothed", hue="condition", hue_order=styles, palette=colours, style="condition",
        style_order=styles, dashes=dashes, errorbar=None, legend=False, linewidth=1.4, ax=axes,
    )  # fmt: skip
    for label, own in data.groupby("condition"):
        curves_at_steps = own.pivot_table("smoothed", "run", "step")
        _, low, high = curve_band(curves_at_steps.to_numpy())
        axes.fill_between(curves_at_steps.columns, low, high, color=colours[str(label)], alpha=0.12, linewidth=0)


def _averaged(shown: list[_Shown]) -> list[_Shown]:
    """Returns the runs that go into means: a condition's finished ones, or all where none is finished."""
    settled = {(each.curve.environment, each.curve.label) for each in shown if each.finished}
    return [each for each in shown if each.finished or (each.curve.environment, each.curve.label) not in settled]


def _common_steps(shown: list[_Shown]) -> pd.DataFrame:
    """Returns the runs' episodes that end at steps where one of each run of their condition does."""
    data = pd.concat([each.returns.assign(run=number) for number, each in enumerate(shown)], ignore_index=True)
    runs = data.groupby("condition")["run"].transform("nunique")
    return data[data.groupby(["condition", "step"])["run"].transform("nunique") == runs]


def _label(axes: Axes, environment: str, action_repeat: int, first: bool) -> None:
    axes.set_title(task(environment))
    axes.set_xlabel(f"agent steps (each {action_repeat} control steps)")
    axes.set_ylabel("training return" if first else "")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda steps, _: f"{steps / 1000:g}k" if steps else "0"))


def _caption(figure: Figure, manifest: Manifest, selection: Selection, shown: list[_Shown]) -> None:
    """Stamps under the figure what it shows and what made it."""
    planned = curves(manifest, selection)
    drawn = [each.curve for each in shown]
    repetitions = _repetitions([each.curve for each in _averaged(shown)])
    lines = [
        f"{sentence(manifest.title)} Moving average of {manifest.plot.smoothing} episodes; {repetitions}.",
        made_by(manifest, selection),
    ]
    unfinished = [f"{each.curve.job.slug} at {each.steps:,}" for each in shown if not each.finished]
    if unfinished:
        lines.append(f"UNFINISHED {len(unfinished)} of {len(planned)} runs: {_some(unfinished)}")
    missing = [curve for curve in planned if curve not in drawn]
    if missing:
        panels = {curve.environment for curve in drawn}
        names = list(dict.fromkeys(f"all on {each.environment}" for each in missing if each.environment not in panels))
        names += [curve.job.slug for curve in missing if curve.environment in panels]
        lines.append(f"MISSING {len(missing)} of {len(planned)} runs: {_some(names)}")
    stamp(figure, lines)


def _repetitions(drawn: list[Curve]) -> str:
    """Says what the mean is over, and what the band is: of two or three runs, all that lies between them."""
    means = grouped(drawn, lambda curve: (curve.environment, curve.condition)).values()
    counts = {
        "seeds": {len({curve.seed for curve in own}) for own in means},
        "videos": {len({curve.clip for curve in own}) for own in means},
    }
    repeated = " and ".join(f"{span(each)} {kind}" for kind, each in counts.items() if max(each, default=0) > 1)
    if not repeated:
        return "one run each, so no interval" if drawn else "no runs yet"
    band = "the runs' range" if max(map(len, means)) <= 3 else "the 95 % bootstrap interval"
    return f"mean over {repeated}, shaded {band}; thin: single runs"


def _some(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
