"""The scripts of Figures 1 to 6 at tiny sizes."""

import runpy
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from rlpt import __version__
from rlpt.data.clips import PUBLISHED_CLIPS, Clip
from rlpt.data.synthetic_clip import provide_synthetic_clip
from rlpt.data.synthetic_images import write_synthetic_folder
from rlpt.manifest import load_manifest
from rlpt.runs.checksums import file_sha256
from tests.conftest import REPOSITORY

SCRIPTS = sorted((REPOSITORY / "paper_figures").glob("fig0[1-6]_*.py"))
EXPERIMENTS = REPOSITORY / "experiments"


def load(script: str) -> dict[str, Any]:
    (path,) = (REPOSITORY / "paper_figures").glob(f"{script}_*.py")
    return runpy.run_path(str(path))


def texts(figure: Figure) -> str:
    found = (item.get_text() for item in figure.findobj(Text) if isinstance(item, Text))
    return "\n".join(text for text in found if text)


def test_there_is_a_script_for_each_figure() -> None:
    assert [path.name[:5] for path in SCRIPTS] == [f"fig0{number}" for number in range(1, 7)]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_writes_png_and_pdf_that_say_what_made_them(script: Path, tmp_path: Path) -> None:
    arguments = ["--profile", "smoke", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(runpy.run_path(str(script))["main"], arguments)
    assert result.exit_code == 0, result.output
    pdf, png = sorted((tmp_path / "out").iterdir())
    assert (pdf.name, png.name) == (f"{script.stem}-smoke.pdf", f"{script.stem}-smoke.png")
    with Image.open(png) as image:
        assert image.width == 1400
        assert image.info["Software"].startswith(f"rlpt {__version__}")
        assert image.info["Title"].startswith(f"Figure {script.stem[4]}: ")
        assert image.info["Description"] == "profile smoke"
    content = pdf.read_bytes()
    assert content.startswith(b"%PDF")
    assert f"rlpt {__version__}".encode() in content
    assert b"CreationDate" not in content


def test_same_figure_has_the_same_bytes(tmp_path: Path) -> None:
    main = load("fig03")["main"]
    for folder in ("first", "second"):
        assert CliRunner().invoke(main, ["--profile", "smoke", "--out", str(tmp_path / folder)]).exit_code == 0
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


def test_unknown_profile_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(load("fig04")["main"], ["--profile", "huge", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "no profile 'huge'" in result.output
    assert not any(tmp_path.iterdir())


def test_missing_clip_is_labelled_and_others_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = provide_synthetic_clip(tmp_path / "own.mp4")
    monkeypatch.setitem(PUBLISHED_CLIPS, 1, Clip("1", path.name, file_sha256(path), path))
    figure = load("fig01")["draw"](load_manifest(EXPERIMENTS / "fig10_ik_distracted.toml", "smoke"), tmp_path)
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 1, 0, 1, 0]
    labels = texts(figure).replace("\n", " ")
    assert "video 0 is not in" in labels
    assert "video 1 is not in" not in labels
    assert "video 99 is not in" in labels
    assert "rlpt data videos" in labels


def test_another_file_in_a_clip_s_place_is_an_error(tmp_path: Path) -> None:
    provide_synthetic_clip(tmp_path / "videos" / "video0.mp4")
    arguments = ["--profile", "smoke", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(load("fig01")["main"], arguments)
    assert result.exit_code == 2
    assert "SHA-256 differs" in result.output


def test_images_that_are_not_imagenet_are_labelled(tmp_path: Path) -> None:
    samples = load("fig02")["image_samples"]
    (condition, *_) = load_manifest(EXPERIMENTS / "fig07_imagenet.toml", "smoke").conditions
    title, images = samples(condition.settings, tmp_path)
    assert title.startswith("NOT ImageNet")
    assert [image.shape for image in images] == [(32, 32, 3)] * 9

    imagenet = condition.settings.imagenet.model_copy(update={"dataset": "imagenet"})
    settings = condition.settings.model_copy(update={"imagenet": imagenet})
    title, _ = samples(settings, tmp_path)
    assert title.startswith("NOT ImageNet")
    assert "there is no" in title.replace("\n", " ")

    write_synthetic_folder(tmp_path / "imagenet", ["n01443537", "n01484850"], 5, 1)
    title, images = samples(settings, tmp_path)
    assert title.startswith("ImageNet samples")
    assert len(images) == 9


def test_networks_are_drawn_with_the_profile_s_numbers(tmp_path: Path) -> None:
    figure = load("fig06")["draw"](load_manifest(EXPERIMENTS / "fig08_ik.toml", "smoke"), tmp_path)
    labels = texts(figure)
    for text in ("2 × Conv 3×3, 3 groups", "1 × Conv 3×3", "9×28×28", "9×9×9", "1,458 → 32", "32 → 16", "16 → 6"):
        assert text in labels
    figure = load("fig04")["draw"](load_manifest(EXPERIMENTS / "fig07_imagenet.toml", "paper"), tmp_path)
    labels = texts(figure)
    for text in ("layer 1, stride 2", "layer 11", "8 more", "3→96", "96→96", "288×41×41", "288×21×21"):
        assert text in labels
