"""The figure of what pretraining learns."""

from pathlib import Path

from PIL import Image

from rlpt.files import write_text
from rlpt.jobs import Selection, plan
from rlpt.manifest import Manifest, load_manifest
from rlpt.pretraining_plots import draw_pretraining_curves
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


def test_classifiers_show_accuracy_and_unfinished_ones_where_they_are(tmp_path: Path) -> None:
    manifest = load_manifest(EXPERIMENTS / "fig07_imagenet.toml", "lite")
    (job,) = (job for job in plan(manifest) if job.stage == "pretrain")
    assert draw_pretraining_curves(manifest, Selection(), tmp_path) == []
    table = job.folder(tmp_path).partial / "epochs.csv"
    write_text(table, "step,updates,train_top1,val_top1\n")
    assert draw_pretraining_curves(manifest, Selection(), tmp_path) == []
    write_text(table, "step,updates,train_top1,val_top1\n1,10,0.01,0.02\n2,20,0.05,0.04\n")
    png, _ = draw_pretraining_curves(manifest, Selection(), tmp_path)
    assert png.stat().st_size > 10_000
