"""Profiles: what a scale changes in all manifests or in one, and what goes before what."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rlpt.errors import UsageError
from rlpt.manifest import load_manifest
from rlpt.runs.files import write_text
from rlpt.settings import Settings
from tests.conftest import MINIMAL, REPOSITORY, run_rlpt

MANIFESTS = [path for path in sorted((REPOSITORY / "experiments").rglob("*.toml")) if path.parent.name != "profiles"]


def test_values_override_in_order(write_manifest: Callable[..., Path]) -> None:
    text = MINIMAL.replace('label = "IK"', 'label = "IK"\nagent = {hidden = 4, features = 4, tau = 0.1}')
    text += (
        "[agent]\nhidden = 2\nfeatures = 2\nbetas = [0.1, 0.2]\ndiscount = 0.5\n[profiles.small.agent]\nhidden = 16\n"
    )
    path = write_manifest(text, "[agent]\nfeatures = 8\ntau = 0.5\n")
    baseline, ik = load_manifest(path, "small", ("agent.tau=0.25",)).conditions
    assert (baseline.settings.agent.hidden, baseline.settings.agent.features) == (16, 8)
    assert (ik.settings.agent.hidden, ik.settings.agent.features) == (16, 4)
    for condition in (baseline, ik):
        assert condition.settings.agent.tau == 0.25
        assert condition.settings.agent.betas == (0.1, 0.2)
        assert condition.settings.agent.discount == 0.5


@pytest.mark.parametrize("steps", [(3_000, 4_000), (4_000, 3_000)])
def test_the_last_set_of_a_key_counts(write_manifest: Callable[..., Path], steps: tuple[int, int]) -> None:
    manifest = load_manifest(write_manifest(MINIMAL), None, tuple(f"train.steps={each}" for each in steps))
    assert manifest.conditions[0].settings.train.steps == steps[-1]


def test_what_is_said_of_a_condition_goes_before_what_is_said_of_all(write_manifest: Callable[..., Path]) -> None:
    path = write_manifest(
        MINIMAL + "[profiles.small.train]\nsteps = 3000\n[profiles.small.conditions.baseline.train]\nsteps = 2000\n"
    )
    assert load_manifest(path, "small").conditions[0].settings.train.steps == 2000
    both = ("conditions.baseline.train.steps=5000", "train.steps=7000")
    for overrides in (both, both[::-1]):
        assert load_manifest(path, "small", overrides).conditions[0].settings.train.steps == 5000
    assert load_manifest(path, "small", both[1:]).conditions[0].settings.train.steps == 7000


def test_a_manifest_may_say_what_a_profile_changes_in_it_alone(write_manifest: Callable[..., Path]) -> None:
    text = MINIMAL + "[profiles.small.train]\nsteps = 3_000\n[profiles.paper]\nseeds = [9]\n"
    path = write_manifest(text, "[train]\nsteps = 2_000\n")
    manifest = load_manifest(path, "small")
    assert {condition.settings.train.steps for condition in manifest.conditions} == {3_000}
    assert manifest.seeds == (1,)
    copied = load_manifest(path.rename(path.with_name("copy.toml")), "small")
    assert [each.settings for each in copied.conditions] == [each.settings for each in manifest.conditions]


def test_what_a_profile_overrules_in_the_manifest_s_tables_is_said(
    write_manifest: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_manifest(MINIMAL + "[agent]\nhidden = 2\nfeatures = 2\n", "[agent]\nhidden = 8\nfeatures = 2\n")
    assert load_manifest(path, "small").overruled == ("agent.hidden = 2 yields to small's 8",)
    assert load_manifest(path).overruled == load_manifest(path, "small", ("agent.hidden=2",)).overruled == ()
    for command in (["plan"], ["status"], ["plot", "--runs", tmp_path / "runs"]):
        result = run_rlpt(*command, path, "--profile", "small")
        assert f"rlpt: {path}: agent.hidden = 2 yields to small's 8; under [profiles.small]" in result.stderr
    path.write_text(path.read_text() + "[profiles.small.agent]\nhidden = 2\n")
    assert load_manifest(path, "small").overruled == ()
    for label, overruled in (("label =", ()), ('label = "IK"', ("agent.hidden = 2 yields to small's 8",))):
        text = MINIMAL.replace(label, f"agent = {{ hidden = 3 }}\n{label}")  # in both conditions, or in one
        path = write_manifest(text + "[agent]\nhidden = 2\n", "agent.hidden = 8")
        assert load_manifest(path, "small").overruled == overruled


@pytest.mark.parametrize("overrides", [(), ("agent=3", "agent.hidden=3")])
def test_a_section_that_is_no_table_is_refused_also_where_a_profile_has_one(
    write_manifest: Callable[..., Path], overrides: tuple[str, ...]
) -> None:
    path = write_manifest(("" if overrides else "agent = 3\n") + MINIMAL, "agent.hidden = 8")
    place = "--set" if overrides else str(path)
    with pytest.raises(UsageError, match=rf"{place}: agent: expected a table, .* \(given: 3\)"):
        load_manifest(path, "small", overrides)


@pytest.mark.parametrize("key", ["title", "profile", "conditions.ik.label", "profiles.small.title"])
def test_what_a_profile_may_not_say_is_refused(write_manifest: Callable[..., Path], key: str) -> None:
    with pytest.raises(
        UsageError, match=rf"profiles/small\.toml: {key.split('.')[0]}: .* go into its \[profiles\.small\]"
    ):
        load_manifest(write_manifest(MINIMAL, f"{key} = 'x'\n"), "small")


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
    write_manifest: Callable[..., Path], text: str, problem: str
) -> None:
    with pytest.raises(UsageError, match=r"manifest\.toml: profiles") as error:
        load_manifest(write_manifest(f"{text}\n{MINIMAL}"), "small")
    assert problem in str(error.value)


def test_a_manifest_anywhere_has_the_projects_profiles(tmp_path: Path) -> None:
    path = tmp_path / "manifest.toml"
    path.write_text(MINIMAL)
    assert load_manifest(path).conditions[0].settings == Settings()
    assert load_manifest(path, "smoke").conditions[0].settings.train.steps < 1000
    with pytest.raises(UsageError, match="no profile 'smole'; there are: demo, lite, paper, smoke"):
        load_manifest(path, "smole")


def test_a_profile_s_name_is_no_path(write_manifest: Callable[..., Path]) -> None:
    for profile in ("../profiles/small", ""):
        with pytest.raises(UsageError, match="expected the name of a file of profiles/"):
            load_manifest(write_manifest(MINIMAL), profile)


@pytest.mark.parametrize("profile", ["paper", "lite", "smoke", "demo"])
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_every_manifest_is_valid_under_every_profile(manifest: Path, profile: str) -> None:
    assert load_manifest(manifest, profile).conditions


def test_a_profile_is_looked_for_beside_its_manifest(tmp_path: Path) -> None:
    """Whatever lies above, and whatever the project has of that name."""
    for folder, steps in ((tmp_path, 3_000), (tmp_path / "inner", 2_000)):
        (folder / "profiles").mkdir(parents=True)
        (folder / "profiles" / "lite.toml").write_text(f"[train]\nsteps = {steps}\n")
        (folder / "manifest.toml").write_text(MINIMAL)
        (condition, _) = load_manifest(folder / "manifest.toml", "lite").conditions
        assert condition.settings.train.steps == steps


def test_a_profile_of_the_folder_above_is_found(tmp_path: Path) -> None:
    write_text(tmp_path / "profiles" / "mine.toml", "[train]\nsteps = 3_000\n")
    write_text(tmp_path / "extra" / "manifest.toml", MINIMAL)
    manifest = load_manifest(tmp_path / "extra" / "manifest.toml", "mine")
    assert manifest.conditions[0].settings.train.steps == 3_000


def test_a_profile_in_a_manifest_has_none_of_its_own(write_manifest: Callable[..., Path]) -> None:
    path = write_manifest("profiles.small.profiles = {}\n" + MINIMAL)
    with pytest.raises(UsageError, match=r"profiles\.small: profiles: under one profile there is no other"):
        load_manifest(path, "small")
