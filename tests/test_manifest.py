"""Manifests: what they mean, and what is refused with one line that names the place."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from rlpt.cli import main
from rlpt.errors import UsageError
from rlpt.manifest import load_manifest
from rlpt.settings import Settings
from tests.conftest import REPOSITORY

MANIFESTS = [path for path in sorted((REPOSITORY / "experiments").rglob("*.toml")) if path.parent.name != "profiles"]
MINIMAL = """
title = "t"
environments = ["reacher-easy"]
seeds = [1]

[conditions.baseline]
label = "Baseline"

[conditions.ik]
label = "IK"
pretrain = "ik"
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "paper.toml").write_text("")

    def write(text: str, profile: str = "") -> Path:
        (tmp_path / "profiles" / "small.toml").write_text(profile)
        path = tmp_path / "manifest.toml"
        path.write_text(text)
        return path

    return write


def test_the_default_is_the_paper(write: Callable[..., Path]) -> None:
    manifest = load_manifest(write(MINIMAL))
    assert [experiment.name for experiment in manifest.experiments] == ["baseline", "ik"]
    for experiment in manifest.experiments:
        assert experiment.settings == Settings()


def test_values_override_in_order(write: Callable[..., Path]) -> None:
    text = MINIMAL.replace('label = "IK"', 'label = "IK"\nagent = {hidden = 4, features = 4, tau = 0.1}')
    text += (
        "[agent]\nhidden = 2\nfeatures = 2\nbetas = [0.1, 0.2]\ndiscount = 0.5\n[profiles.small.agent]\nhidden = 16\n"
    )
    path = write(text, "[agent]\nfeatures = 8\ntau = 0.5\n")
    baseline, ik = load_manifest(path, "small", ("agent.tau=0.25",)).experiments
    assert (baseline.settings.agent.hidden, baseline.settings.agent.features) == (16, 8)
    assert (ik.settings.agent.hidden, ik.settings.agent.features) == (16, 4)
    for experiment in (baseline, ik):
        assert experiment.settings.agent.tau == 0.25
        assert experiment.settings.agent.betas == (0.1, 0.2)
        assert experiment.settings.agent.discount == 0.5


def test_a_budget_is_shared_with_pretraining(write: Callable[..., Path]) -> None:
    path = write("budget = 80_000\n" + MINIMAL + "pretrain_steps = 5_000\n")
    baseline, ik = load_manifest(path).experiments
    assert baseline.settings.train.steps == 80_000
    assert ik.settings.train.steps == 75_000
    assert ik.settings.generate.transitions == 5_000


def test_a_budget_is_charged_for_what_is_learned_from(write: Callable[..., Path]) -> None:
    path = write("budget = 80_000\n" + MINIMAL + "pretrain_steps = 5_000\n")
    with pytest.raises(UsageError, match=r"conditions\.ik: ik\.transitions = 20000 is not pretrain_steps = 5000"):
        load_manifest(path, overrides=("ik.transitions=20_000",))
    _, ik = load_manifest(path, overrides=("ik.transitions=5_000",)).experiments
    assert (ik.settings.train.steps, ik.settings.generate.transitions) == (75_000, 200_000)


def test_a_budget_and_the_steps_of_training_are_not_both_set(write: Callable[..., Path]) -> None:
    path = write("budget = 300_000\n" + MINIMAL)
    with pytest.raises(UsageError, match=r"--set: train\.steps: a budget is shared"):
        load_manifest(path, overrides=("train.steps=500",))


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
        ("seeds=1", "seeds", "expected a list, such as [1, 2] (given: 1)"),
        ("train=5", "train", "expected a table"),
        ("agent.tau=nan", "agent.tau", "finite number (given: nan)"),
        ("agent.critic_learning_rate=inf", "agent.critic_learning_rate", "finite number (given: inf)"),
        ("conditions.ik.label=''", "conditions.ik.label", "at least 1 character"),
        ("conditions.'../ik'.label='x'", "conditions", "letters, digits"),
        ("profile=smoke", "--set profile", "say --profile NAME"),
        ("train.batch_size=1", "train.batch_size", "greater than or equal to 2"),
        ("environment.offscreen_size=[100_000, 100_000]", "environment", "more than 8192 pixels a side"),
        ("environment.size=9000", "environment", "size 9000 is more than 8192 pixels a side"),
    ],
)
def test_impossible_values_are_one_line_with_the_place(
    write: Callable[..., Path], override: str, place: str, problem: str
) -> None:
    path = write(MINIMAL)
    with pytest.raises(UsageError) as caught:
        load_manifest(path, overrides=(override,))
    message = str(caught.value)
    assert "\n" not in message
    assert place in message
    assert problem in message


def test_an_error_names_the_file_that_holds_the_value(write: Callable[..., Path]) -> None:
    path = write(MINIMAL, "[train]\nsteps = -1\n")
    with pytest.raises(UsageError, match=r"profiles/small\.toml: train\.steps: "):
        load_manifest(path, "small")
    path = write(MINIMAL + "[train]\nsteps = -1\n")
    with pytest.raises(UsageError, match=r"manifest\.toml: train\.steps: "):
        load_manifest(path)


def test_a_manifest_may_say_what_a_profile_changes_in_it_alone(write: Callable[..., Path]) -> None:
    text = MINIMAL + "[profiles.small.train]\nsteps = 3_000\n[profiles.paper]\nseeds = [9]\n"
    path = write(text, "[train]\nsteps = 2_000\n")
    manifest = load_manifest(path, "small")
    assert {experiment.settings.train.steps for experiment in manifest.experiments} == {3_000}
    assert manifest.seeds == (1,)
    copied = load_manifest(path.rename(path.with_name("copy.toml")), "small")
    assert [each.settings for each in copied.experiments] == [each.settings for each in manifest.experiments]


@pytest.mark.parametrize("key", ["title", "profile", "conditions.ik.label", "profiles.small.title"])
def test_what_a_profile_may_not_say_is_refused(write: Callable[..., Path], key: str) -> None:
    with pytest.raises(
        UsageError, match=rf"profiles/small\.toml: {key.split('.')[0]}: .* go into its \[profiles\.small\]"
    ):
        load_manifest(write(MINIMAL, f"{key} = 'x'\n"), "small")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("profiles = 3", "profiles: expected tables [profiles.NAME]"),
        ("profiles.small = 3", "profiles: expected tables [profiles.NAME]"),
        ("profiles.smal.seeds = [2]", "no profile 'smal'; there are: demo, lite, paper, small, smoke"),
        ("profiles.small.profile = 'paper'", "profiles.small: profile: under one profile there is no other"),
        ("profiles.small.train.stepz = 2", "profiles.small: train.stepz: unknown key; did you mean 'steps'?"),
    ],
)
def test_what_a_manifest_may_not_say_of_profiles_is_refused(
    write: Callable[..., Path], text: str, problem: str
) -> None:
    with pytest.raises(UsageError, match=r"manifest\.toml: profiles") as error:
        load_manifest(write(f"{text}\n{MINIMAL}"), "small")
    assert problem in str(error.value)


@pytest.mark.parametrize("override", ["encoder.filters=25", "imagenet.batch_size=100"])
def test_images_that_cannot_be_shared_out_are_refused(override: str) -> None:
    with pytest.raises(
        UsageError, match=r"conditions\.imagenet: .* environment\.frame_stack = 3 .*: choose a multiple"
    ):
        load_manifest(REPOSITORY / "experiments/fig07_imagenet.toml", None, (override, "encoder.groups=1"))


@pytest.mark.parametrize("text", ["title = ", "= 3", "[conditions", "title = 'a'\ntitle = 'b'", "a = [" * 5000])
def test_malformed_toml_is_refused(write: Callable[..., Path], text: str) -> None:
    with pytest.raises(UsageError, match="not readable as TOML"):
        load_manifest(write(text))


def test_missing_files_are_named(tmp_path: Path, write: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="no such file"):
        load_manifest(tmp_path / "absent.toml")
    with pytest.raises(UsageError, match="no profile 'huge'; there are: demo, lite, paper, small, smoke"):
        load_manifest(write(MINIMAL), "huge")


@given(key=st.text(max_size=12), value=st.text(max_size=12))
@example(key='"a\\nb"', value="3")
def test_any_override_is_taken_or_refused_in_one_line(key: str, value: str) -> None:
    path = REPOSITORY / "experiments" / "demo.toml"
    try:
        load_manifest(path, overrides=(f"{key}={value}",))
    except UsageError as error:
        assert str(error)
        assert "\n" not in str(error)


@pytest.mark.parametrize("profile", ["paper", "lite", "smoke", "demo"])
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_every_manifest_is_valid_under_every_profile(manifest: Path, profile: str) -> None:
    assert load_manifest(manifest, profile).experiments


def test_a_bad_manifest_exits_with_status_2_and_one_line(write: Callable[..., Path]) -> None:
    path = write(MINIMAL + "[train]\nstepz = 1\n")
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


def test_a_manifest_anywhere_has_the_projects_profiles(tmp_path: Path) -> None:
    path = tmp_path / "manifest.toml"
    path.write_text(MINIMAL)
    assert load_manifest(path).experiments[0].settings == Settings()
    assert load_manifest(path, "smoke").experiments[0].settings.train.steps < 1000
    with pytest.raises(UsageError, match="no profile 'smole'; there are: demo, lite, paper, smoke"):
        load_manifest(path, "smole")


def test_what_is_said_of_a_condition_goes_before_what_is_said_of_all(write: Callable[..., Path]) -> None:
    path = write(
        MINIMAL + "[profiles.small.train]\nsteps = 3000\n[profiles.small.conditions.baseline.train]\nsteps = 2000\n"
    )
    assert load_manifest(path, "small").experiments[0].settings.train.steps == 2000
    both = ("conditions.baseline.train.steps=5000", "train.steps=7000")
    for overrides in (both, both[::-1]):
        assert load_manifest(path, "small", overrides).experiments[0].settings.train.steps == 5000
    assert load_manifest(path, "small", both[1:]).experiments[0].settings.train.steps == 7000


def test_a_budget_may_be_larger_than_the_steps_of_a_run_without_one(write: Callable[..., Path]) -> None:
    text = "budget = 400_000\n" + MINIMAL.replace('pretrain = "ik"', 'pretrain = "ik"\npretrain_steps = 200_000')
    manifest = load_manifest(write(text + "[train]\nrandom_steps = 90_000\n"))
    assert [each.settings.train.steps for each in manifest.experiments] == [400_000, 200_000]


def test_a_record_tells_of_the_file_that_was_read(write: Callable[..., Path]) -> None:
    path = write(MINIMAL)
    manifest = load_manifest(path, "small")
    before = manifest.describe()
    path.write_text(MINIMAL + "[train]\nsteps = 3\n")
    assert manifest.describe() == before
    assert before["text"] == MINIMAL


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


def test_t_is_set_where_it_is_decided(write: Callable[..., Path]) -> None:
    path = write(MINIMAL + "pretrain_steps = 5000\n")
    with pytest.raises(UsageError, match=r"--set conditions\.ik\.pretrain_steps=\.\.\. instead"):
        load_manifest(path, None, ("generate.transitions=100",))
    (_, ik) = load_manifest(path, None, ("conditions.ik.pretrain_steps=100",)).experiments
    assert ik.settings.generate.transitions == 100
    (_, ik) = load_manifest(path, None, ("generate.transitions=900", "ik.transitions=100")).experiments
    assert ik.settings.generate.transitions == 900


@pytest.mark.parametrize("override", ["generate.transitions=2", "ik.transitions=2", "ik.test_fraction=0.999999"])
def test_too_few_transitions_to_learn_from_are_refused(write: Callable[..., Path], override: str) -> None:
    with pytest.raises(UsageError, match=r"conditions\.ik: of T = \d+ transitions, .* fewer than 2 to learn from"):
        load_manifest(write(MINIMAL), None, (override,))


@pytest.mark.parametrize("values", ["batch_size = 3", "batch_size = 100"])
def test_images_that_fill_no_stacks_are_refused_where_there_are_images(write: Callable[..., Path], values: str) -> None:
    settings = f"imagenet = {{ {values} }}\n"
    load_manifest(write(MINIMAL + settings))
    text = MINIMAL.replace('"ik"', '"imagenet"')
    with pytest.raises(UsageError, match=r"conditions\.ik: imagenet\.batch_size = \d+ is not two or more whole stacks"):
        load_manifest(write(text + settings))


@pytest.mark.parametrize("place", ["[train]\nsteps = 9000\n", "[profiles.paper.train]\nsteps = 9000\n", ""])
def test_steps_are_not_set_beside_a_budget(write: Callable[..., Path], place: str) -> None:
    text = "budget = 100_000\n" + MINIMAL + "pretrain_steps = 5000\n"
    text += place or "train = { steps = 9000 }\n"
    with pytest.raises(UsageError, match=r"train\.steps: a budget is shared"):
        load_manifest(write(text))


def test_a_manifest_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "manifest.toml"
    path.write_text(MINIMAL, encoding="utf-8-sig")
    assert load_manifest(path).title == "t"


def test_a_profile_s_name_is_no_path(write: Callable[..., Path]) -> None:
    for profile in ("../profiles/small", ""):
        with pytest.raises(UsageError, match="expected the name of a file of profiles/"):
            load_manifest(write(MINIMAL), profile)
