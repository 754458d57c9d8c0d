"""Manifests: what they mean, and what is refused with one line that names the place."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner

from rlpt.cli import main
from rlpt.errors import UsageError
from rlpt.manifest import load_manifest
from rlpt.pipeline.jobs import plan
from rlpt.settings import Settings
from tests.conftest import MINIMAL, REPOSITORY


def test_the_default_is_the_paper(write_manifest: Callable[..., Path]) -> None:
    manifest = load_manifest(write_manifest(MINIMAL))
    assert [condition.name for condition in manifest.conditions] == ["baseline", "ik"]
    for condition in manifest.conditions:
        assert condition.settings == Settings()


@pytest.mark.parametrize(
    ("override", "place", "problem"),
    [
        ("train.stepz=3", "train.stepz", "unknown key; did you mean 'steps'?"),
        ("speed=3", "speed", "unknown key"),
        ("conditions.ik.lable='x'", "conditions.ik.lable", "did you mean 'label'?"),
        ("train.steps='many'", "train.steps", "valid integer (given: 'many')"),
        ("train.steps=2.5", "train.steps", "valid integer (given: 2.5)"),
        ("environment.shadows=1", "environment.shadows", "expected true or false (given: 1)"),
        ("train.steps=0", "train.steps", "greater than 0 (given: 0)"),
        ("agent.discount=1.5", "agent.discount", "less than or equal to 1 (given: 1.5)"),
        ("ik.hidden=[8]", "ik.hidden.1", "missing"),
        ("ik.input_range=7", "ik.input_range", "1 or 255 (given: 7)"),
        ("encoder.crop=101", "encoder.crop = 101", "larger than the image, environment.size = 100"),
        ("encoder.groups=4", "encoder", "groups = 4 does not divide filters = 90"),
        ("encoder.groups=2", "encoder.groups = 2", "does not divide the 9 input channels"),
        ("encoder.crop=20", "encoder", "11 layers leave nothing of a crop of 20 pixels"),
        ("encoder.grouped_layers=12", "encoder", "more than layers = 11"),
        ("generate.reset_every=99", "generate.reset_every = 99", "not a multiple of environment.action_repeat = 4"),
        ("train.random_steps=80_000", "train.random_steps = 80000", "leaves no step"),
        ("environment.offscreen_size=[64, 64]", "environment", "smaller than size 100"),
        ("budget=200_000", "conditions.ik", "T = 200000"),
        ("environments=['walker-wlak']", "environments", "did you mean 'walker-walk'?"),
        ("conditions.ik.pretrain_environment='reacher'", "conditions.ik.pretrain_environment", "'reacher-"),
        ("conditions.baseline.pretrain_steps=5", "conditions.baseline", 'need pretrain = "ik"'),
        ("conditions.ik.agent={hiden=3}", "agent.hiden", "did you mean 'hidden'?"),
        ("ik.transitions=300_000", "ik.transitions = 300000", "more than generate.transitions = 200000"),
        ("imagenet.epochs=501", "imagenet", "schedule_epochs = 500 is less"),
        ("seeds=[1, 1]", "seeds = [1, 1]", "names one twice"),
        ("conditions.ik.label='Baseline'", "conditions share a label", "one curve"),
        ("agent.betas=[0.9, 1.5]", "agent.betas.1", "less than 1 (given: 1.5)"),
        ("agent.log_std_range=[2, -10]", "agent", "does not rise"),
        ("seeds=[]", "seeds", "expected at least one"),
        ("seeds=[-1]", "seeds.0", "greater than or equal to 0"),
        ("no_value", "no_value", "expected key=value"),
        ("seeds=1", "seeds", "expected a list in brackets (given: 1)"),
        ("train=5", "train", "expected a table"),
        ("agent.tau=nan", "agent.tau", "finite number (given: nan)"),
        ("agent.critic_learning_rate=inf", "agent.critic_learning_rate", "finite number (given: inf)"),
        ("conditions.ik.label=''", "conditions.ik.label", "at least 1 character"),
        ("conditions.'../ik'.label='x'", "conditions.../ik: ", "letters, digits"),
        ("profile=smoke", "--set profile", "say --profile NAME"),
        ("train.batch_size=1", "train.batch_size", "greater than or equal to 2"),
        ("environment.offscreen_size=[100_000, 100_000]", "environment", "more than 8192 pixels a side"),
        ("environment.size=9000", "environment", "size 9000 is more than 8192 pixels a side"),
    ],
)
def test_impossible_values_are_one_line_with_the_place(
    write_manifest: Callable[..., Path], override: str, place: str, problem: str
) -> None:
    path = write_manifest(MINIMAL)
    with pytest.raises(UsageError) as caught:
        load_manifest(path, overrides=(override,))
    message = str(caught.value)
    assert "\n" not in message
    assert place in message
    assert problem in message


def test_an_error_names_the_file_that_holds_the_value(write_manifest: Callable[..., Path]) -> None:
    path = write_manifest(MINIMAL, "[train]\nsteps = -1\n")
    with pytest.raises(UsageError, match=r"profiles/small\.toml: train\.steps: "):
        load_manifest(path, "small")
    path = write_manifest(MINIMAL + "[train]\nsteps = -1\n")
    with pytest.raises(UsageError, match=r"manifest\.toml: train\.steps: "):
        load_manifest(path)


@pytest.mark.parametrize(
    ("instead_of_a_table", "key"),
    [
        ("[conditions]\nbaseline = 5", "conditions.baseline"),
        ("[conditions.baseline]\nagent = 5", "conditions.baseline.agent"),
        ("conditions = 5", "conditions"),
        ("agent = 5", "agent"),
    ],
)
def test_what_a_later_table_would_hide_is_refused(
    write_manifest: Callable[..., Path], instead_of_a_table: str, key: str
) -> None:
    later = "[profiles.small.conditions.baseline]\nlabel = 'b'\nagent.hidden = 8\n[profiles.small.agent]\nhidden = 9\n"
    path = write_manifest(f"title = 't'\nenvironments = ['reacher-easy']\nseeds = [1]\n{instead_of_a_table}\n{later}")
    with pytest.raises(UsageError, match=rf"manifest\.toml: {key}: expected a table, such as .* \(given: 5\)"):
        load_manifest(path, "small")


@pytest.mark.parametrize("override", ["encoder.filters=25", "imagenet.batch_size=100"])
def test_images_that_cannot_be_shared_out_are_refused(override: str) -> None:
    with pytest.raises(
        UsageError, match=r"conditions\.imagenet: .* environment\.frame_stack = 3 .*: choose a multiple"
    ):
        load_manifest(REPOSITORY / "experiments/fig07_imagenet.toml", None, (override, "encoder.groups=1"))


@pytest.mark.parametrize("text", ["title = ", "= 3", "[conditions", "title = 'a'\ntitle = 'b'", "a = [" * 5000])
def test_malformed_toml_is_refused(write_manifest: Callable[..., Path], text: str) -> None:
    with pytest.raises(UsageError, match="not readable as TOML"):
        load_manifest(write_manifest(text))


def test_a_misspelt_table_goes_before_the_one_that_is_missing(write_manifest: Callable[..., Path]) -> None:
    path = write_manifest(MINIMAL.replace("[conditions.", "[condition."))
    with pytest.raises(UsageError, match=r"manifest\.toml: condition: unknown key; did you mean 'conditions'\?"):
        load_manifest(path)


def test_missing_files_are_named(tmp_path: Path, write_manifest: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="no such file"):
        load_manifest(tmp_path / "absent.toml")
    with pytest.raises(UsageError, match="a folder: name a TOML file in it"):
        load_manifest(tmp_path)
    with pytest.raises(UsageError, match="no profile 'huge'; there are: demo, lite, paper, small, smoke"):
        load_manifest(write_manifest(MINIMAL), "huge")


def test_a_bad_manifest_exits_with_status_2_and_one_line(write_manifest: Callable[..., Path]) -> None:
    path = write_manifest(MINIMAL + "[train]\nstepz = 1\n")
    result = CliRunner().invoke(main, ["plan", str(path)])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"rlpt: {path}: train.stepz: unknown key")
    assert result.stderr.count("\n") == 1


def test_figure_8_is_planned_as_in_the_paper() -> None:
    path = REPOSITORY / "experiments" / "fig08_ik.toml"
    result = CliRunner().invoke(main, ["plan", str(path), "--json"])
    jobs = json.loads(result.stdout)
    by_stage = {stage: [job for job in jobs if job["stage"] == stage] for stage in ("generate", "pretrain", "train")}
    assert {stage: len(found) for stage, found in by_stage.items()} == {"generate": 3, "pretrain": 3, "train": 36}
    assert [job["stage"] for job in jobs] == sorted(job["stage"] for job in jobs)
    assert all(job["steps"] == 80_000 for job in by_stage["train"])
    assert all(job["steps"] == 200_000 for job in by_stage["generate"])
    assert sum(bool(job["inputs"]) for job in by_stage["train"]) == 27
    ids = [job["id"] for job in jobs]
    assert len(set(ids)) == 42
    for job in jobs:
        assert set(job) == {"id", "stage", "inputs", "steps", "disk_bytes", "gpu_hours"}
        assert set(job["inputs"]) <= set(ids)
        assert job["disk_bytes"] > 0


def test_a_record_tells_of_the_file_that_was_read(write_manifest: Callable[..., Path]) -> None:
    path = write_manifest(MINIMAL)
    manifest = load_manifest(path, "small")
    before = manifest.describe()
    path.write_text(MINIMAL + "[train]\nsteps = 3\n")
    assert manifest.describe() == before
    assert before["text"] == MINIMAL


def test_a_record_tells_of_profile_and_set(write_manifest: Callable[..., Path]) -> None:
    profile, overrides = "[train]\nsteps = 3_000\n", ("seeds=[1]", "train.steps=4_000")
    record = load_manifest(write_manifest(MINIMAL, profile), "small", overrides).describe()
    assert (record["profile"], record["profile_text"]) == ("small", profile)
    assert record["profile_sha256"] == sha256(profile.encode()).hexdigest()
    assert record["set"] == list(overrides)


@pytest.mark.parametrize("key", ["pretrain_steps = 5", "pretrain_environment = 'walker-walk'"])
def test_what_only_inverse_kinematics_has_is_refused_of_images(write_manifest: Callable[..., Path], key: str) -> None:
    path = write_manifest(MINIMAL.replace('"ik"', '"imagenet"') + f"{key}\n")
    with pytest.raises(UsageError, match=r'conditions\.ik: .* need pretrain = "ik"'):
        load_manifest(path)


def test_clips_with_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.toml"
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "clip.mp4").write_text("x")
    path.write_text(f"videos = ['a/clip.mp4', 'b/clip.mp4']\n{MINIMAL}")
    with pytest.raises(UsageError, match=r"manifest\.toml: videos: 'clip' names 2 clips"):
        load_manifest(path)
    (tmp_path / "0.mp4").write_text("x")
    path.write_text(f"videos = [0, '0.mp4']\n{MINIMAL}")
    with pytest.raises(UsageError, match="'0' names 2 clips"):
        load_manifest(path)
    (tmp_path / "my clip.mp4").write_text("x")
    path.write_text(f"videos = ['my clip.mp4']\n{MINIMAL}")
    with pytest.raises(UsageError, match=r"videos: my clip\.mp4: a clip's name becomes part of its runs': rename"):
        load_manifest(path)


@pytest.mark.parametrize("values", ["batch_size = 3", "batch_size = 100"])
def test_images_that_fill_no_stacks_are_refused_where_there_are_images(
    write_manifest: Callable[..., Path], values: str
) -> None:
    settings = f"imagenet = {{ {values} }}\n"
    load_manifest(write_manifest(MINIMAL + settings))
    text = MINIMAL.replace('"ik"', '"imagenet"')
    with pytest.raises(UsageError, match=r"conditions\.ik: imagenet\.batch_size = \d+ is not two or more whole stacks"):
        load_manifest(write_manifest(text + settings))


def test_a_manifest_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "manifest.toml"
    path.write_text(MINIMAL, encoding="utf-8-sig")
    assert load_manifest(path).title == "t"


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("environments=['reacher-easy','reacher-easy']", "names one twice"),
        ("seeds=[4294967296]", "less than 4294967296"),
    ],
)
def test_overrides_are_checked_as_the_file_is(write_manifest: Callable[..., Path], override: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        load_manifest(write_manifest(MINIMAL), None, (override,))


def test_only_who_generates_needs_episodes_of_whole_agent_steps(write_manifest: Callable[..., Path]) -> None:
    every_8 = MINIMAL + "[environment]\naction_repeat = 8\n"  # and 100 control steps an episode
    with pytest.raises(UsageError, match=r"conditions\.ik: generate\.reset_every = 100 is not a multiple of"):
        load_manifest(write_manifest(every_8))
    load_manifest(write_manifest(every_8.replace('pretrain = "ik"', "")))
    manifest = load_manifest(write_manifest(every_8 + "[generate]\nreset_every = 104\n"))
    trained = next(job for job in plan(manifest) if job.stage == "train")
    recorded = {name: value for name, value in trained.identity().items() if name in Settings.model_fields}
    assert Settings.model_validate(recorded).environment.action_repeat == 8  # a run's own file, which names no episodes
