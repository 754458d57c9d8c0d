"""What pretraining learns over its updates, as a figure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlpt.errors import UsageError
from rlpt.manifest import Manifest
from rlpt.number_text import task
from rlpt.pipeline.jobs import Job, Selection, curves, plan
from rlpt.plots.figure_files import STYLE, made_by, save_figure, sentence, stamp
from rlpt.plots.line_styles import LineStyle, line_style, slots
from rlpt.results.records import grouped
from rlpt.results.run_files import EPOCHS_FILE
from rlpt.settings import Method

_PANEL, _NARROW_PANEL = (4.2, 2.6), (3.0, 2.4)
_COLUMNS = 3
_HANDLE, _LETTER = 0.6, 0.075
"Inches that the legend takes for a line and for a letter."


@dataclass(frozen=True)
class _Measure:
    """How well an encoder does, at most 1: columns of its table, and what they are."""

    training: str
    held_out: str
    axis: str


_MEASURES: dict[Method, _Measure] = {
    "ik": _Measure("train_r2", "test_r2", "R² of predicted actions"),
    "imagenet": _Measure("train_top1", "val_top1", "top-1 accuracy"),
}


@dataclass(frozen=True)
class _Shown:
    """A pretraining run with at least one whole epoch."""

    job: Job
    measure: _Measure
    epochs: pd.DataFrame
    finished: bool


@dataclass(frozen=True)
class _Panel:
    """Encoders that are compared in one measure, by name."""

    title: str
    measure: _Measure
    encoders: dict[str, _Shown]


def draw_pretraining_curves(manifest: Manifest, selection: Selection, runs: Path) -> list[Path]:
    """Draws how well encoders do on held-out data after each epoch, and dotted on what they learn from, during it.

    Returns:
        The PNG and PDF, in `<runs>/figures/`; none if no epoch is finished.

    Raises:
        UsageError: if a run's table is not readable.
    """
    shown = [each for job in plan(manifest, selection) if (each := _read(job, runs))]
    if not shown:
        return []
    panels = _panels(shown, manifest)
    names = list(dict.fromkeys(name for panel in panels for name in panel.encoders))
    styles = _styles(names, manifest)
    width, height = _PANEL if len(panels) == 1 else _NARROW_PANEL
    with mpl.rc_context(STYLE):
        columns = _columns(names, width * len(panels))
        rows = -(-len(names) // columns)
        figure = Figure(figsize=(width * len(panels), height + 0.2 * rows), layout="constrained")
        drawn: dict[_Measure, list[Axes]] = {}
        for index, panel in enumerate(panels):
            beside = drawn.setdefault(panel.measure, [])
            axes = figure.add_subplot(1, len(panels), index + 1, sharey=beside[0] if beside else None)
            _draw(panel, styles, axes, not beside)
            beside.append(axes)
        for beside in drawn.values():
            lowest = min(axes.dataLim.y0 for axes in beside)
            beside[0].set_ylim(min(0, 1.05 * lowest), 1)
        entries = {str(line.get_label()): line for axes in figure.axes for line in axes.lines}
        figure.legend(
            handles=[entries[name] for name in names], loc="outside upper center", ncols=columns, frameon=False
        )
        _caption(figure, manifest, selection, panels)
        ids = " ".join(each.job.id for each in shown)
        name = f"{manifest.name}-encoders"
        return save_figure(figure, runs / "figures", name, f"{manifest.title}: the encoders", manifest.profile, ids)


def _caption(figure: Figure, manifest: Manifest, selection: Selection, panels: list[_Panel]) -> None:
    """Stamps under the figure what it shows and what made it."""
    lines = [
        f"{sentence(manifest.title)} What the encoders learn. Solid: held-out data after each epoch; "
        "dotted: training data during it, with dropout if there is any.",
        made_by(manifest, selection),
    ]
    unfinished = [
        ", ".join(filter(None, (panel.title, name)))
        for panel in panels
        for name, each in panel.encoders.items()
        if not each.finished
    ]
    if unfinished:
        lines.append(f"UNFINISHED: {'; '.join(unfinished)}")
    stamp(figure, lines)


def _read(job: Job, runs: Path) -> _Shown | None:
    folder = job.folder(runs)
    path = folder.newest() / EPOCHS_FILE
    if job.method is None or not path.is_file():
        return None
    measure = _MEASURES[job.method]
    try:
        epochs = pd.read_csv(path)
        missing = {"updates", measure.training, measure.held_out} - set(epochs)
        if missing:
            raise ValueError(f"of its columns, {', '.join(sorted(missing))} are missing")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not readable ({error}): delete the run folder and run it again") from None
    return _Shown(job, measure, epochs, folder.is_done()) if len(epochs) else None


def _panels(shown: list[_Shown], manifest: Manifest) -> list[_Panel]:
    """Returns a panel for each measure, or one a task where a condition has encoders of several."""
    labels = _labels(manifest)
    one_each = len(set(labels.values())) == len(labels)
    groups = grouped(shown, lambda each: (each.measure, "" if one_each else each.job.environment))
    name = _naming([[each.job for each in own] for own in groups.values()], labels)
    return [
        _Panel(environment and task(environment), measure, {name(each.job): each for each in own})
        for (measure, environment), own in groups.items()
    ]


def _naming(groups: list[list[Job]], labels: dict[str, str]) -> Callable[[Job], str]:
    """Returns the first way of naming encoders by which those of each group have different names.

    An encoder is named after the condition that uses it, if need be with its video, or else after its job.
    """
    namings: tuple[Callable[[Job], str], ...] = (
        lambda job: labels[job.id],
        lambda job: ", video ".join([labels[job.id], *(data.clip.name for data in job.inputs if data.clip)]),
        _slug,
    )
    for name in namings:
        if all(len(set(map(name, jobs))) == len(jobs) for jobs in groups):
            return name
    return lambda job: job.id


def _labels(manifest: Manifest) -> dict[str, str]:
    """Returns, by its id, the label of the condition that uses an encoder; of one that several use, its job's slug."""
    found: dict[str, str] = {}
    for curve in curves(manifest):
        for encoder in curve.job.inputs:
            shared = found.get(encoder.id, curve.label) != curve.label
            found[encoder.id] = _slug(encoder) if shared else curve.label
    return found


def _slug(job: Job) -> str:
    return f"{job.slug}-s{job.seed}" if job.seed else job.slug


def _columns(names: Iterable[str], width: float) -> int:
    """Returns how many of the legend's names fit beside each other into so many inches, at most three."""
    entries = list(names)
    fitting = int(width / (_HANDLE + _LETTER * max(map(len, entries))))
    return max(1, min(_COLUMNS, len(entries), fitting))


def _styles(names: Iterable[str], manifest: Manifest) -> dict[str, LineStyle]:
    """Returns each name's look: its condition's, if it is named after one; else one of its own, but no baseline's."""
    own = slots(manifest)
    if not set(names) <= set(own):
        own = {name: at for at, name in enumerate(names, 1)}
    return {name: line_style(own[name]) for name in names}


def _draw(panel: _Panel, styles: dict[str, LineStyle], axes: Axes, first: bool) -> None:
    measure = panel.measure
    for name, each in panel.encoders.items():
        updates, style = each.epochs["updates"], styles[name]
        axes.plot(
            updates, each.epochs[measure.held_out], color=style.colour, linewidth=1.2, marker=style.marker,
            markersize=3, label=name,
        )  # fmt: skip
        axes.plot(updates, each.epochs[measure.training], color=style.colour, linewidth=0.8, linestyle=":")
    axes.set_title(panel.title)
    axes.set_xlabel("updates")
    axes.set_ylabel(measure.axis if first else "")
