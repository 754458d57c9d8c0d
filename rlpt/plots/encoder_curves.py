"""What pretraining learns over its updates, as a figure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlpt.errors import UsageError
from rlpt.manifest import Manifest
from rlpt.pipeline.jobs import Job, Selection, curves, plan
from rlpt.plots.figure_files import STYLE, made_by, save_figure, sentence, stamp
from rlpt.plots.line_styles import LineStyle, line_style, slots
from rlpt.results.run_files import EPOCHS_FILE
from rlpt.settings import Method

_PANEL = (4.2, 2.6)
_COLUMNS = 3
_HANDLE, _LETTER = 0.6, 0.075
"Inches that the legend takes for a line and for a letter."


@dataclass(frozen=True)
class _Measure:
    """How well an encoder does: columns of its table, and what they are."""

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


def draw_pretraining_curves(manifest: Manifest, selection: Selection, runs: Path) -> list[Path]:
    """Draws how well encoders do on held-out data after each epoch, and dotted on what they learn from, during it.

    Returns:
        The PNG and PDF, in `<runs>/figures/`; none if no epoch is finished.

    Raises:
        UsageError: if a run's table is not readable.
    """
    shown = [each for job in plan(manifest, selection) for each in _read(job, runs)]
    if not shown:
        return []
    measures = [measure for measure in _MEASURES.values() if any(each.measure == measure for each in shown)]
    names = _names(shown, manifest)
    width, height = _PANEL
    with mpl.rc_context(STYLE):
        panels = len(measures)
        columns = _columns(names, width * panels)
        figure = Figure(figsize=(width * panels, height + 0.2 * -(-len(shown) // columns)), layout="constrained")
        for index, measure in enumerate(measures):
            own = {name: each for name, each in names.items() if each.measure == measure}
            _draw(own, measure, _styles(names, manifest), figure.add_subplot(1, panels, index + 1))
        figure.legend(loc="outside upper center", ncols=columns, frameon=False)
        lines = [
            f"{sentence(manifest.title)} What the encoders learn. Solid: held-out data after each epoch; "
            "dotted: training data during it, with dropout if there is any.",
            made_by(manifest),
        ]
        unfinished = [name for name, each in names.items() if not each.finished]
        if unfinished:
            lines.append(f"UNFINISHED: {', '.join(unfinished)}")
        stamp(figure, lines)
        ids = " ".join(each.job.id for each in shown)
        name = f"{manifest.name}-encoders"
        return save_figure(figure, runs / "figures", name, f"{manifest.title}: the encoders", manifest.profile, ids)


def _read(job: Job, runs: Path) -> Iterator[_Shown]:
    folder = job.folder(runs)
    path = folder.newest() / EPOCHS_FILE
    if job.method is None or not path.is_file():
        return
    measure = _MEASURES[job.method]
    try:
        epochs = pd.read_csv(path)
        if not {"updates", measure.training, measure.held_out} <= set(epochs):
            raise ValueError("columns are missing")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not readable ({error}): delete the run folder and run it again") from None
    if len(epochs):
        yield _Shown(job, measure, epochs, folder.is_done())


def _names(shown: list[_Shown], manifest: Manifest) -> dict[str, _Shown]:
    """Names each encoder after the condition that uses it, or after its job, where that is not one to one."""
    labels: dict[str, set[str]] = {}
    for curve in curves(manifest):
        for encoder in curve.job.inputs:
            labels.setdefault(encoder.id, set()).add(curve.label)
    if all(len(labels[each.job.id]) == 1 for each in shown):
        found = {next(iter(labels[each.job.id])): each for each in shown}
        if len(found) == len(shown):
            return found
    found = {f"{each.job.slug}-s{each.job.seed}" if each.job.seed else each.job.slug: each for each in shown}
    return found if len(found) == len(shown) else {each.job.id: each for each in shown}


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


def _draw(named: dict[str, _Shown], measure: _Measure, styles: dict[str, LineStyle], axes: Axes) -> None:
    for name, each in named.items():
        updates, style = each.epochs["updates"], styles[name]
        axes.plot(
            updates, each.epochs[measure.held_out], color=style.colour, linewidth=1.2, marker=style.marker,
            markersize=3, label=name,
        )  # fmt: skip
        axes.plot(updates, each.epochs[measure.training], color=style.colour, linewidth=0.8, linestyle=":")
    axes.set_xlabel("updates")
    axes.set_ylabel(measure.axis)
    axes.set_ylim(bottom=min(0, *axes.get_ylim()), top=1)
