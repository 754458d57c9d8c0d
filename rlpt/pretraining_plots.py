"""What pretraining learns over its updates, as a figure."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlpt.errors import UsageError
from rlpt.figures import STYLE, made_by, save_figure, stamp
from rlpt.jobs import Job, Selection, plan
from rlpt.manifest import Manifest
from rlpt.results import EPOCHS_FILE

_PANEL = (3.6, 2.4)


@dataclass(frozen=True)
class _Kind:
    """A kind of pretraining: columns of its table, and what they are."""

    training: str
    held_out: str
    axis: str


_KINDS = (
    _Kind("train_r2", "test_r2", "R² of predicted actions"),
    _Kind("train_top1", "val_top1", "top-1 accuracy"),
)


@dataclass(frozen=True)
class _Shown:
    """A pretraining run with at least one whole epoch."""

    job: Job
    kind: _Kind
    epochs: pd.DataFrame
    finished: bool

    @property
    def label(self) -> str:
        """What tells it from the others: classifiers have seeds."""
        return f"{self.job.slug}-s{self.job.seed}" if self.job.seed else self.job.slug


def draw_pretraining_curves(manifest: Manifest, selection: Selection, runs: Path) -> list[Path]:
    """Draws how well encoders do on held-out data after each epoch, and dotted on what they learn from, during it.

    Returns:
        The PNG and PDF, in `<runs>/figures/`; none if no epoch is finished.

    Raises:
        UsageError: if a run's table is not readable.
    """
    shown = [each for job in plan(manifest, selection) if job.stage == "pretrain" for each in _read(job, runs)]
    if not shown:
        return []
    kinds = [kind for kind in _KINDS if any(each.kind == kind for each in shown)]
    width, height = _PANEL
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width * len(kinds), height + 0.2 * len(shown)), layout="constrained")
        for index, kind in enumerate(kinds):
            _draw([each for each in shown if each.kind == kind], kind, figure.add_subplot(1, len(kinds), index + 1))
        figure.legend(loc="outside upper center", frameon=False)
        lines = [f"{manifest.title}: the encoders. Solid: held-out data; dotted: training data.", made_by(manifest)]
        unfinished = [each.label for each in shown if not each.finished]
        if unfinished:
            lines.append(f"UNFINISHED: {', '.join(unfinished)}")
        stamp(figure, lines)
        ids = " ".join(each.job.id for each in shown)
        name = f"{manifest.name}-encoders"
        return save_figure(figure, runs / "figures", name, f"{manifest.title}: the encoders", manifest.profile, ids)


def _read(job: Job, runs: Path) -> Iterator[_Shown]:
    folder = job.folder(runs)
    path = folder.newest() / EPOCHS_FILE
    if not path.is_file():
        return
    try:
        epochs = pd.read_csv(path)
        kind = _kind_of(epochs)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not readable ({error}): delete the run folder and run it again") from None
    if len(epochs):
        yield _Shown(job, kind, epochs, folder.is_done())


def _kind_of(epochs: pd.DataFrame) -> _Kind:
    for kind in _KINDS:
        if {"updates", kind.training, kind.held_out} <= set(epochs):
            return kind
    raise ValueError("columns are missing")


def _draw(shown: list[_Shown], kind: _Kind, axes: Axes) -> None:
    for each, colour in zip(shown, sns.color_palette("colorblind", len(shown)), strict=True):
        updates = each.epochs["updates"]
        axes.plot(updates, each.epochs[kind.held_out], color=colour, linewidth=1.2, marker=".", label=each.label)
        axes.plot(updates, each.epochs[kind.training], color=colour, linewidth=0.8, linestyle=":")
    axes.set_xlabel("gradient steps")
    axes.set_ylabel(kind.axis)
    axes.set_ylim(bottom=min(0, *axes.get_ylim()), top=1)
