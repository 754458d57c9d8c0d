"""Everything together through the command line, and what it says to people, pipes and scripts."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from rlpt.cli import main
from rlpt.data.synthetic_images import write_synthetic_folder
from rlpt.manifest import load_manifest
from rlpt.pipeline.jobs import Selection, plan
from rlpt.settings import Settings
from tests.conftest import REPOSITORY


@pytest.fixture
def rlpt(tiny_settings: Settings, tmp_path: Path) -> Callable[..., Result]:
    """Runs a command on a tiny manifest with a baseline and an IK condition."""
    (tmp_path / "profiles").mkdir()
    sections = tiny_settings.model_dump(mode="json", exclude_none=True)
    lines = []
    for name, values in sections.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    (tmp_path / "profiles" / "tiny.toml").write_text("\n".join(lines))
    manifest = tmp_path / "tiny.toml"
    manifest.write_text(
        'title = "Tiny"\nprofile = "tiny"\nenvironments = ["reacher-easy"]\nseeds = [37]\n'
        '[conditions.baseline]\nlabel = "Baseline"\n[conditions.ik]\nlabel = "IK"\npretrain = "ik"\n'
    )

    def invoke(command: str, *arguments: str) -> Result:
        options = [] if command == "plan" else ["--runs", str(tmp_path / "runs")]
        return CliRunner().invoke(main, [command, str(manifest), *options, *arguments])

    return invoke


def test_run_does_what_is_missing_and_then_nothing(rlpt: Callable[..., Result], tmp_path: Path) -> None:
    set_long = ("--set", "train.steps=260")  # long enough for one episode
    result = rlpt("run", "--jobs", "2", *set_long)
    assert result.exit_code == 0, result.output
    assert "4 ran" in result.stdout

    status = rlpt("status", *set_long)
    assert "4 done" in status.stdout

    figures = tmp_path / "runs" / "figures"
    names = [f"tiny{part}-tiny.{ending}" for part in ("-encoders", "") for ending in ("pdf", "png")]
    assert sorted(path.name for path in figures.iterdir()) == names
    with Image.open(figures / "tiny-tiny.png") as image:
        assert image.info["Title"] == "Tiny"
        assert "from-scratch-s37" in image.info["Description"]

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "train").rglob("*")}
    again = rlpt("run", "--jobs", "2", *set_long)
    assert again.exit_code == 0
    assert "nothing to do: all 4 jobs are done" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "train").rglob("*")} == before


def test_a_failed_job_fails_what_needs_it_and_is_tried_again(rlpt: Callable[..., Result], tmp_path: Path) -> None:
    in_the_way = tmp_path / "runs" / "generate"
    in_the_way.parent.mkdir()
    in_the_way.write_text("a file where a folder should be")
    result = rlpt("run", "--quiet")
    assert result.exit_code == 1
    assert all(outcome in result.stdout for outcome in ("1 ran", "1 failed", "2 skipped"))
    assert "failed: reacher-easy-t60-" in result.stderr
    in_the_way.unlink()
    result = rlpt("run", "--quiet")
    assert result.exit_code == 0, result.output
    assert "1 done, 3 ran" in result.stdout


def test_a_job_that_another_process_holds_is_status_75(rlpt: Callable[..., Result], tmp_path: Path) -> None:
    (job,) = plan(load_manifest(tmp_path / "tiny.toml"), Selection(conditions=("baseline",)))
    with job.folder(tmp_path / "runs").claim({}, {}, {"device": "cpu"}):
        result = rlpt("train", "--condition", "baseline", "--quiet")
    assert (result.exit_code, result.stderr.count("\n")) == (75, 1)
    assert "another process is working on this run" in result.stderr
    assert "75" in re.findall(r"\d+", resources.files("rlpt.slurm").joinpath("task.sh").read_text())


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (KeyboardInterrupt(), 130, "rlpt: interrupted; run the same command again to go on"),
        (ZeroDivisionError("a\nb"), 1, "rlpt: ZeroDivisionError: a (--debug before the command shows where)"),
        (
            OSError(28, "No space left on device", "x"),
            2,
            "rlpt: x: No space left on device: check that the path exists",
        ),
    ],
)
def test_whatever_goes_wrong_is_one_line(
    rlpt: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    status: int,
    line: str,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("rlpt.pipeline.execution.run_job", fail)
    result = rlpt("train", "--condition", "baseline")
    assert (result.exit_code, result.stderr.count("\n")) == (status, 1)
    assert result.stderr.startswith(line)
    if status != 130:
        arguments = ["--debug", "train", str(tmp_path / "tiny.toml"), "--runs", str(tmp_path / "runs")]
        assert CliRunner().invoke(main, arguments).exception is error


def test_a_stage_without_its_input_says_what_to_run(rlpt: Callable[..., Result]) -> None:
    result = rlpt("train", "--condition", "ik", "--quiet")
    assert result.exit_code == 2
    assert "run `rlpt pretrain` first" in result.stderr


def test_an_encoder_that_learned_nothing_is_loudly_reported(rlpt: Callable[..., Result], tmp_path: Path) -> None:
    assert rlpt("generate", "--quiet").exit_code == 0
    bad = ("--set", "ik.learning_rate=10.0", "--quiet")
    result = rlpt("pretrain", *bad)
    assert result.exit_code == 0, result.output
    (summary,) = (tmp_path / "runs" / "pretrain").glob("*/summary.json")
    assert json.loads(summary.read_text())["learned"] is False
    assert "WARNING" in result.stderr
    assert "the encoder has learned nothing" in result.stderr


def test_plotting_without_runs_names_what_is_missing(
    rlpt: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamped: list[str] = []
    monkeypatch.setattr("rlpt.plots.learning_curves.stamp", lambda figure, lines: stamped.extend(lines))
    result = rlpt("plot")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "runs" / "figures" / "tiny-tiny.png").is_file()
    assert any(line.startswith("MISSING 2 of 2 runs: all on reacher-easy") for line in stamped), stamped


def test_imagenet_pretraining_and_a_video_background_through_the_command_line(
    rlpt: Callable[..., Result], tmp_path: Path
) -> None:
    """The images and the clip are those that rlpt draws itself."""
    choices = {
        "conditions.ik.pretrain": "imagenet",
        "videos": "['synthetic']",
        "encoder.grouped_layers": "3",
        "imagenet": "{dataset = 'synthetic', classes = 'all', epochs = 2, batch_size = 24, hidden = 16}",
        "train.steps": "30",
    }
    settings = [f"--set={key}={value}" for key, value in choices.items()]
    result = rlpt("run", "--jobs", "2", "--data", str(tmp_path / "data"), *settings)
    assert result.exit_code == 0, result.output
    assert "3 ran" in result.stdout
    (encoder,) = (tmp_path / "runs" / "pretrain").glob("synthetic*")
    assert encoder.name.startswith("synthetic-g3-")
    summary = json.loads((encoder / "summary.json").read_text())
    assert summary["classes"] == 6
    names = [path.name for path in (tmp_path / "runs" / "train").glob("reacher*")]
    assert all(name.startswith("reacher-easy-vsynthetic-from-") for name in names)


def test_missing_inputs_are_found_before_anything_starts(rlpt: Callable[..., Result], tmp_path: Path) -> None:
    """An ImageNet encoder takes days, and the runs that need a clip come after it."""
    data = (
        "--data",
        str(tmp_path / "data"),
        "--set=encoder.grouped_layers=3",
        "--set=conditions.ik.pretrain='imagenet'",
    )
    clip = rlpt("run", *data, "--set=videos=[99]", "--set=imagenet.dataset='synthetic'")
    assert clip.exit_code == 2
    assert "video99.mp4: not there: `rlpt data videos` downloads the published clips" in clip.stderr
    images = rlpt("run", *data)
    assert (images.exit_code, str(tmp_path / "data" / "imagenet") in images.stderr) == (2, True)
    assert not (tmp_path / "runs").exists()


def test_an_image_folder_is_checked_and_decoded(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    write_synthetic_folder(folder, ["n00000001", "n00000002"], train_images=4, val_images=2)
    command = ["data", "imagenet", str(folder), "--size", "32", "--data", str(tmp_path / "data"), "--threads", "1"]
    result = CliRunner().invoke(main, [*command, "--classes", "all"])
    assert result.exit_code == 0, result.output
    assert "train: 8 images of 2 classes" in result.stdout
    assert f"manifests look for images in {tmp_path / 'data'}: `ln -s {folder} " in result.stderr
    assert len(list((tmp_path / "data" / "cache").glob("images-*.h5"))) == 2
    (tmp_path / "data" / "imagenet").symlink_to(folder)
    result = CliRunner().invoke(main, [*command, "--classes", "all"])
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    assert len(list((tmp_path / "data" / "cache").glob("imagenet-*.h5"))) == 2
    next((folder / "val" / "n00000002").iterdir()).write_bytes(b"no image")
    result = CliRunner().invoke(main, [*command, "--classes", "all"])
    assert (result.exit_code, "rlpt: val: 1 images cannot be decoded: " in result.stderr) == (2, True)
    next((folder / "train" / "n00000002").iterdir()).write_bytes(b"no image")
    result = CliRunner().invoke(main, [*command, "--classes", "all"])
    assert result.exit_code == 2
    assert "train: 1 images cannot be decoded: " in result.stderr and "; val: 1 images" in result.stderr
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert "n01443537" in result.stderr


def test_a_drawing_is_a_plot_too(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["plot", "fig04", "--profile", "smoke", "--runs", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert sorted(path.suffix for path in (tmp_path / "figures").glob("fig04_*")) == [".pdf", ".png"]


@pytest.mark.parametrize("name", ["notes.txt", "mine.tml", "script.py", "fig12", "fig0"])
def test_only_manifests_and_the_paper_s_figures_are_plotted(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(f"open({str(tmp_path / 'done')!r}, 'w')")
    for path in (tmp_path / name, Path(name)):
        result = CliRunner().invoke(main, ["plot", str(path), "--runs", str(tmp_path)])
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert "neither a manifest (.toml) nor one of the paper's figures" in result.stderr
    assert not (tmp_path / "done").exists()


def test_cuda_where_there_is_none_is_refused(rlpt: Callable[..., Result]) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    result = rlpt("run", "--device", "cuda")
    assert result.exit_code == 2
    assert "PyTorch sees no CUDA device" in result.stderr


def test_help_needs_no_slow_imports() -> None:
    slow = {"torch", "dm_control", "seaborn", "matplotlib", "pandas", "jinja2"}
    code = f"import sys, rlpt.cli; sys.exit(bool({slow} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    result = CliRunner().invoke(main, ["--help"])
    for command in ("doctor", "plan", "generate", "pretrain", "train", "run", "status", "plot"):
        assert command in result.stdout


def test_a_figure_is_plotted_by_its_number(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["plot", "fig11", "--profile", "lite", "--runs", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "figures" / "fig11_budget-lite.png").is_file()
    assert result.stderr == f"rlpt: nothing of it has been run under profile lite in {tmp_path}\n"


def test_a_manifest_goes_by_its_figure_s_number_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = str(REPOSITORY / "experiments" / "fig08_ik.toml")
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["plan", "head_init"]).exit_code == 0  # one of extra/
    for command in (["plan"], ["plan", "fig11"], ["status", "--runs", "runs"]):
        by_name, by_path = (CliRunner().invoke(main, [*command, each]) for each in ("fig08", manifest))
        assert (by_name.exit_code, by_name.output) == (0, by_path.output)
    Path("fig11").mkdir()
    plotted = CliRunner().invoke(main, ["plot", "fig11", "--profile", "lite", "--runs", "runs"])
    assert (plotted.exit_code, Path("runs/figures/fig11_budget-lite.png").is_file()) == (0, True)
    Path("fig08").write_text('title = "one of my own"')
    assert "fig08: " in CliRunner().invoke(main, ["plan", "fig08"]).output, "a file that is there goes first"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["fig04", "--env", "walker-walk"], "fig04 shows no runs: leave out --set, --env"),
        (["fig12"], "neither a manifest (.toml) nor one of the paper's figures, fig01 to fig11"),
    ],
)
def test_a_figure_that_cannot_be_plotted_is_one_line(arguments: list[str], complaint: str) -> None:
    result = CliRunner().invoke(main, ["plot", *arguments])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert complaint in result.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["report", "--out", ""], "an empty path; name a folder or file"),
        (["run", "experiments/demo.toml", "--time-limit", "nan"], "nan is not a finite number"),
        (["run", "experiments/demo.toml", "--checkpoint-minutes", "inf"], "inf is not a finite number"),
        (["plan", "experiments/demo.toml", "--json", "--executor", "slurm"], "--json: not with --executor slurm"),
        (["run", "experiments/demo.toml", "--jobs", "2", "--executor", "slurm"], "--jobs: not with --executor slurm"),
    ],
)
def test_options_that_mean_nothing_are_refused(arguments: list[str], complaint: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_a_manifest_named_twice_is_planned_once() -> None:
    manifest = REPOSITORY / "experiments" / "demo.toml"
    once, twice = (CliRunner().invoke(main, ["plan", *[str(manifest)] * times]).stdout for times in (1, 2))
    assert once == twice


def test_ids_are_whole_where_nobody_watches() -> None:
    result = CliRunner().invoke(main, ["plan", str(REPOSITORY / "experiments" / "extra" / "head_init.toml")])
    ids = re.findall(r"[a-z0-9-]+-[0-9a-f]{8}", result.stdout)
    assert "reacher-easy-from-ik-reacher-easy-t200000-s37-" in "".join(ids)
    assert max(map(len, result.stdout.splitlines())) > 80


def test_a_pipe_that_nobody_reads_any_more_is_no_error() -> None:
    command = f"{sys.executable} -m rlpt plan {REPOSITORY / 'experiments' / 'fig08_ik.toml'} | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.startswith(" stage")
    assert done.stderr == ""


def test_a_terminal_without_unicode_is_served(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "rlpt", "plan", str(REPOSITORY / "experiments" / "demo.toml")]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_folder_called_rlpt_in_the_working_folder_is_not_imported(tmp_path: Path) -> None:
    """As beside a fresh clone."""
    (tmp_path / "rlpt").mkdir()
    options = ["--profile=smoke", "--condition=baseline", "--set=train.steps=110", "--runs=runs", "--quiet"]
    command = [
        str(Path(sys.executable).with_name("rlpt")),
        "run",
        str(REPOSITORY / "experiments" / "demo.toml"),
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
