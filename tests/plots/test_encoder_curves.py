"""The figure of what pretraining learns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from rlpt.errors import UsageError
from rlpt.manifest import Manifest, load_manifest
from rlpt.pipeline.jobs import Job, Selection, plan
from rlpt.plots import encoder_curves
from rlpt.plots.encoder_curves import draw_pretraining_curves
from rlpt.plots.line_styles import COLOURS
from rlpt.runs.files import write_text
from tests.conftest import REPOSITORY

EXPERIMENTS = REPOSITORY / "experiments"


def test_finished_encoders_are_drawn_and_the_same_files_give_the_same_figure(
    finished_runs: tuple[Manifest, Path], tmp_path: Path
) -> None:
    manifest, runs = finished_runs
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "pretrain").symlink_to(runs.resolve() / "pretrain")
    one, two = (draw_pretraining_curves(manifest, Selection(), tmp_path / place) for place in ("one", "two"))
    assert [path.name for path in one] == ["demo-encoders-smoke.png", "demo-encoders-smoke.pdf"]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    with Image.open(one[0]) as image:
        ids = [job.id for job in plan(manifest) if job.stage == "pretrain"]
        assert image.info["Description"] == f"profile smoke; {' '.join(ids)}"


def drawn(manifest: Manifest, runs: Path, monkeypatch: pytest.MonkeyPatch, *conditions: str) -> Figure:
    """Returns the figure that would be saved of these conditions; of all, where none is named."""
    figures: list[Figure] = []
    monkeypatch.setattr(encoder_curves, "save_figure", lambda figure, *_: figures.append(figure))
    draw_pretraining_curves(manifest, Selection(conditions=conditions), runs)
    return figures[0]


def test_unfinished_classifiers_show_accuracy_to_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = load_manifest(EXPERIMENTS / "extra" / "grouping.toml", "lite")
    jobs = [job for job in plan(manifest) if job.slug == "imagenet-g3"]
    for job in jobs[:2]:
        table = job.folder(tmp_path).partial / "epochs.csv"
        write_text(table, "step,updates,train_top1,val_top1\n")
    assert draw_pretraining_curves(manifest, Selection(), tmp_path) == []
    for job in jobs[:2]:
        table = job.folder(tmp_path).partial / "epochs.csv"
        write_text(table, "step,updates,train_top1,val_top1\n1,10,0.01,0.02\n2,20,0.05,0.04\n")
    figure = drawn(manifest, tmp_path, monkeypatch)
    (axes,) = figure.axes
    assert axes.get_ylabel() == "top-1 accuracy"
    lines = [tuple(np.asarray(data).tolist() for data in line.get_data()) for line in axes.lines]
    assert lines == [([10, 20], [0.02, 0.04]), ([10, 20], [0.01, 0.05])] * 2
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["groups = 3", "groups = 3, seed 1"]
    assert "UNFINISHED: groups = 3; groups = 3, seed 1" in " ".join(figure.get_supxlabel().split())


def panels(manifest: Manifest, jobs: list[Job], runs: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Draws one epoch of each job; returns each panel's colours by name."""
    for job in jobs:
        write_text(job.folder(runs).partial / "epochs.csv", "step,updates,train_r2,test_r2\n1,10,0.1,0.2\n")
    return {
        axes.get_title(): {
            str(line.get_label()): line.get_color() for line in axes.lines if line.get_linestyle() == "-"
        }
        for axes in drawn(manifest, runs, monkeypatch).axes
    }


def test_an_encoder_has_the_name_and_colour_of_the_condition_that_uses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = load_manifest(EXPERIMENTS / "fig08_ik.toml", "lite")
    jobs = [job for job in plan(manifest) if job.stage == "pretrain"]
    found = panels(manifest, jobs, tmp_path, monkeypatch)
    assert found == {"": {"IK cheetah": COLOURS[1], "IK reacher": COLOURS[2], "IK walker": COLOURS[3]}}


def test_a_solid_line_is_of_what_was_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = load_manifest(EXPERIMENTS / "fig08_ik.toml", "lite")
    job = next(job for job in plan(manifest) if job.stage == "pretrain")
    rows = "1,10,0.1,0.2\n2,20,0.3,0.25\n"
    write_text(job.folder(tmp_path).partial / "epochs.csv", f"step,updates,train_r2,test_r2\n{rows}")
    (axes,) = drawn(manifest, tmp_path, monkeypatch).axes
    lines = {line.get_linestyle(): np.asarray(line.get_ydata()).tolist() for line in axes.lines}
    assert lines == {"-": [0.2, 0.25], ":": [0.1, 0.3]}


def test_a_selection_is_of_encoders_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = load_manifest(EXPERIMENTS / "fig08_ik.toml", "lite")
    jobs = [job for job in plan(manifest) if job.stage == "pretrain"]
    assert len(panels(manifest, jobs, tmp_path, monkeypatch)[""]) == 3
    (legend,) = drawn(manifest, tmp_path, monkeypatch, "ik-reacher").legends
    assert [text.get_text() for text in legend.get_texts()] == ["IK reacher"]


def test_encoders_of_several_tasks_in_one_condition_have_panels_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = load_manifest(EXPERIMENTS / "fig11_budget.toml", "lite")
    jobs = [job for job in plan(manifest) if job.stage == "pretrain" and "-t20000" not in job.slug]
    colours = {"T = 5,000": COLOURS[1], "T = 10,000": COLOURS[2]}
    found = panels(manifest, jobs, tmp_path, monkeypatch)
    assert found == dict.fromkeys(["cheetah run", "reacher easy", "walker walk"], colours)
    figure = drawn(manifest, tmp_path, monkeypatch)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(colours)
    assert "reacher easy, T = 5,000" in " ".join(figure.get_supxlabel().split())
    write_text(jobs[-1].folder(tmp_path).partial / "epochs.csv", "step,updates,train_r2,test_r2\n1,10,-0.6,0.2\n")
    (low, high), *others = {axes.get_ylim() for axes in drawn(manifest, tmp_path, monkeypatch).axes}
    assert not others and low < -0.6 and high == 1


def test_a_panel_names_its_task_also_where_it_is_the_only_one_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = load_manifest(EXPERIMENTS / "fig11_budget.toml", "lite")
    jobs = {job.slug: job for job in plan(manifest) if job.stage == "pretrain"}
    begun = [jobs["ik-reacher-easy-t5000"]]
    assert panels(manifest, begun, tmp_path, monkeypatch) == {"reacher easy": {"T = 5,000": COLOURS[1]}}
    begun.append(jobs["ik-walker-walk-t10000"])
    assert list(panels(manifest, begun, tmp_path, monkeypatch)) == ["reacher easy", "walker walk"]


def test_an_encoder_that_several_conditions_share_has_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = load_manifest(EXPERIMENTS / "extra" / "head_init.toml", "lite")
    jobs = [job for job in plan(manifest, Selection(environments=("reacher-easy",))) if job.stage == "pretrain"]
    assert panels(manifest, jobs, tmp_path, monkeypatch) == {"": {jobs[0].slug: COLOURS[1]}}


def test_all_encoders_of_a_figure_look_different(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [
        f'[conditions.c{at}]\nlabel = "{"long " * 5}{at}"\npretrain = "ik"\nik = {{ epochs = {at} }}'
        for at in range(1, 10)
    ]
    path = tmp_path / "mine.toml"
    path.write_text("\n".join(['title = "t"\nenvironments = ["reacher-easy"]\nseeds = [1]', *names]))
    manifest = load_manifest(path, "lite")
    jobs = [job for job in plan(manifest) if job.stage == "pretrain"]
    assert len(panels(manifest, jobs, tmp_path, monkeypatch)[""]) == len(jobs) == 9
    figure = drawn(manifest, tmp_path, monkeypatch)
    (axes,) = figure.axes
    looks = [(line.get_color(), line.get_marker()) for line in axes.lines if line.get_linestyle() == "-"]
    assert len(set(looks)) == 9
    assert len({marker for _, marker in looks}) == 5, "not by colour alone"
    (legend,) = figure.legends
    figure.draw_without_rendering()
    extent = legend.get_window_extent()
    assert extent.x0 >= 0
    assert extent.x1 <= figure.bbox.x1, "long names are not cut off"


def test_encoders_that_differ_in_a_setting_alone_have_their_own_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        """title = "t"
environments = ["reacher-easy", "walker-walk"]
seeds = [1]
[conditions.one]
label = "one"
pretrain = "ik"
[conditions.other]
label = "other"
pretrain = "ik"
ik = { dropout = 0.1 }
"""
    )
    manifest = load_manifest(path, "lite")
    jobs = [job for job in plan(manifest) if job.stage == "pretrain"]
    colours = {"one": COLOURS[1], "other": COLOURS[2]}
    assert panels(manifest, jobs, tmp_path, monkeypatch) == {"reacher easy": colours, "walker walk": colours}


def test_encoders_of_several_videos_are_told_apart_by_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = load_manifest(EXPERIMENTS / "fig10_ik_distracted.toml", "lite")
    jobs = [job for job in plan(manifest) if job.stage == "pretrain"]
    found = panels(manifest, jobs, tmp_path, monkeypatch)
    assert list(found) == ["cheetah run", "reacher easy", "walker walk"]
    assert {tuple(names) for names in found.values()} == {("IK, video 0", "IK, video 1", "IK, video 99")}


def test_the_report_has_the_same_colours() -> None:
    style = (REPOSITORY / "rlpt" / "report" / "templates" / "report.css").read_text()
    assert "; ".join(f"--s{at}: {colour}" for at, colour in enumerate(COLOURS)) in style


@pytest.mark.parametrize("text", ["", "step,upd", "step,updates,train_loss\n1,2,3\n"])
def test_a_damaged_table_is_one_line(tmp_path: Path, text: str) -> None:
    manifest = load_manifest(EXPERIMENTS / "fig08_ik.toml", "lite")
    job = next(job for job in plan(manifest) if job.stage == "pretrain")
    table = job.folder(tmp_path).partial / "epochs.csv"
    write_text(table, text)
    with pytest.raises(UsageError, match=f"{table}: not readable") as caught:
        draw_pretraining_curves(manifest, Selection(), tmp_path)
    assert ("test_r2, train_r2 are missing" in str(caught.value)) == ("train_loss" in text)
