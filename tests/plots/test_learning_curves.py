"""Learning curves: what is drawn of finished, unfinished and missing runs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from rlpt.manifest import Manifest, load_manifest
from rlpt.pipeline.jobs import Curve, Selection, curves
from rlpt.plots import learning_curves
from rlpt.plots.figure_files import made_by
from rlpt.plots.learning_curves import draw_learning_curves
from rlpt.plots.line_styles import COLOURS
from rlpt.runs.files import write_text
from tests.conftest import REPOSITORY, write_finished_run

FIGURE_8 = REPOSITORY / "experiments" / "fig08_ik.toml"


def reacher(manifest: Manifest, condition: str) -> list[Curve]:
    return curves(manifest, Selection(("reacher-easy",), (condition,)))


def stop_early(curve: Curve, runs: Path, returns: list[float]) -> None:
    """Leaves the tables of a run that was killed after so many episodes."""
    write_finished_run(curve.job, runs, returns)
    folder = curve.job.folder(runs)
    folder.path.replace(folder.partial)


def drawn(manifest: Manifest, runs: Path, monkeypatch: pytest.MonkeyPatch) -> Figure:
    """Returns the figure that would be saved."""
    figures: list[Figure] = []
    monkeypatch.setattr(learning_curves, "save_figure", lambda figure, *_: figures.append(figure))
    draw_learning_curves(manifest, Selection(), runs)
    return figures[0]


def test_unfinished_runs_are_drawn_to_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = load_manifest(FIGURE_8, "lite")
    first, second, third = reacher(manifest, "baseline")
    write_finished_run(first.job, tmp_path, [100.0] * 100)
    write_finished_run(second.job, tmp_path, [200.0] * 100)
    stop_early(third, tmp_path, [300.0] * 40)
    figure = drawn(manifest, tmp_path, monkeypatch)
    (axes,) = figure.axes  # the two environments without runs have no panel
    lines = [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), line.get_linewidth()) for line in axes.lines]
    ends = sorted(steps[-1] for steps, _, _ in lines if len(steps))
    assert ends == [10_000, 25_000, 25_000, 25_000]  # the third run, the two whole ones, and their mean
    (mean,) = (returns for steps, returns, width in lines if len(steps) and width > 1)
    assert set(mean) == {150.0}
    small_print = " ".join(figure.get_supxlabel().split())
    assert "UNFINISHED 1 of 36 runs: reacher-easy-from-scratch-s69 at 10,000" in small_print
    assert "MISSING 33 of 36 runs" in small_print
    assert "all on cheetah-run" in small_print


def test_each_panel_has_its_own_task_s_smoothed_runs_and_their_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = ("plot.smoothing=2", "environment.action_repeat=2", "train.random_steps=100")
    manifest = load_manifest(FIGURE_8, "lite", overrides)
    first, second, _ = reacher(manifest, "baseline")
    write_finished_run(first.job, tmp_path, [0.0, 100.0, 200.0])
    write_finished_run(second.job, tmp_path, [100.0, 200.0, 300.0])
    (unfinished, *_) = curves(manifest, Selection(("walker-walk",), ("baseline",)))
    stop_early(unfinished, tmp_path, [400.0, 800.0])
    figure = drawn(manifest, tmp_path, monkeypatch)
    lines = {
        axes.get_title(): [returns for line in axes.lines if (returns := np.asarray(line.get_ydata()).tolist())]
        for axes in figure.axes
    }
    assert lines == {
        "reacher easy": [[0, 50, 150], [100, 150, 250], [50, 100, 200]],  # two runs, and their mean
        "walker walk": [[400, 600], [400, 600]],  # one that is not finished stands for itself
    }
    band = figure.axes[0].collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == (0, 250)
    assert {axes.get_xlabel() for axes in figure.axes} == {"agent steps (each 2 control steps)"}
    assert "Moving average of 2 episodes" in " ".join(figure.get_supxlabel().split())


def test_a_mean_ends_where_the_shortest_run_does() -> None:
    def shown(condition: str, seed: int, episodes: int) -> learning_curves._Shown:
        steps = pd.Series(range(1, episodes + 1)) * 250
        curve = reacher(load_manifest(FIGURE_8, "lite"), "baseline")[0]
        return learning_curves._Shown(curve, pd.DataFrame({"step": steps, "condition": condition, "seed": seed}), True)

    kept = learning_curves._common_steps([shown("a", 1, 8), shown("a", 2, 3), shown("b", 1, 8)])
    assert kept.groupby(["condition", "seed"]).size().to_dict() == {("a", 1): 3, ("a", 2): 3, ("b", 1): 8}


def test_the_files_name_the_runs_that_they_show(tmp_path: Path) -> None:
    manifest = load_manifest(FIGURE_8, "lite")
    (run, *_) = reacher(manifest, "ik-reacher")
    write_finished_run(run.job, tmp_path, [1.0, 2.0])
    png, pdf = draw_learning_curves(manifest, Selection(), tmp_path)
    assert (png.name, pdf.name) == ("fig08_ik-lite.png", "fig08_ik-lite.pdf")
    with Image.open(png) as image:
        assert image.info["Description"] == f"profile lite; {run.job.id}"


def test_without_any_run_the_figure_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = load_manifest(FIGURE_8, "lite")
    write_text(reacher(manifest, "baseline")[0].job.folder(tmp_path).partial / "episodes.csv", "step,episode,return\n")
    figure = drawn(manifest, tmp_path, monkeypatch)
    assert [axes.get_title() for axes in figure.axes] == ["cheetah run", "reacher easy", "walker walk"]
    assert "MISSING 36 of 36 runs: all on cheetah-run, all on reacher-easy" in " ".join(figure.get_supxlabel().split())


def test_a_run_that_ended_before_its_first_episode_did_is_not_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = load_manifest(FIGURE_8, "lite")
    write_finished_run(reacher(manifest, "baseline")[0].job, tmp_path, [])
    figure = drawn(manifest, tmp_path, monkeypatch)
    assert [axes.get_title() for axes in figure.axes] == ["reacher easy"]
    assert "MISSING 35 of 36 runs" in figure.get_supxlabel()


def test_the_small_print_says_what_was_selected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = load_manifest(FIGURE_8, "lite")
    write_finished_run(reacher(manifest, "baseline")[0].job, tmp_path, [1.0])
    whole = drawn(manifest, tmp_path, monkeypatch).get_supxlabel()
    assert "profile lite · drawn by" in " ".join(whole.split())
    selection = Selection(("walker-walk",), (), (37,))
    assert "profile lite · --env walker-walk · --seed 37 · drawn by" in made_by(manifest, selection)


def test_the_legend_names_what_is_drawn_and_colours_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = load_manifest(FIGURE_8, "lite")
    for curve in reacher(manifest, "ik-reacher")[:2]:
        write_finished_run(curve.job, tmp_path, [1.0, 2.0])
    figure = drawn(manifest, tmp_path, monkeypatch)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["IK reacher"]
    assert {line.get_color() for line in figure.axes[0].lines if len(np.asarray(line.get_xdata()))} == {COLOURS[2]}
    assert "mean over 2 seeds, shaded the runs' range; thin: single runs" in " ".join(figure.get_supxlabel().split())
