"""Jobs: their identity is made of what can change their result, and of nothing else."""

from pathlib import Path

import pytest

from rlpt.errors import UsageError
from rlpt.jobs import Selection, curves, plan
from rlpt.manifest import load_manifest
from tests.conftest import REPOSITORY

FIG08 = REPOSITORY / "experiments" / "fig08_ik.toml"


def ids(*overrides: str, stage: str) -> set[str]:
    return {job.id for job in plan(load_manifest(FIG08, "smoke", overrides)) if job.stage == stage}


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("train.steps=700", {"train"}),
        ("agent.tau=0.5", {"train"}),
        ("ik.epochs=3", {"pretrain", "train"}),
        ("encoder.filters=12", {"pretrain", "train"}),
        ("generate.transitions=300", {"generate", "pretrain", "train"}),
        ("environment.size=40", {"generate", "pretrain", "train"}),
        ("plot.smoothing=3", set()),
        ("title='another'", set()),
        ("conditions.baseline.label='another'", set()),
    ],
)
def test_a_setting_changes_the_ids_of_what_depends_on_it(override: str, changed: set[str]) -> None:
    for stage in ("generate", "pretrain", "train"):
        before, after = ids(stage=stage), ids(override, stage=stage)
        if stage in changed:
            assert before != after
        else:
            assert before == after


def test_the_baseline_does_not_depend_on_pretraining() -> None:
    def baseline(*overrides: str) -> str:
        selection = Selection(("walker-walk",), ("baseline",))
        return curves(load_manifest(FIG08, "smoke", overrides), selection)[0].job.id

    assert baseline() == baseline("ik.epochs=9", "generate.transitions=999")


def test_two_conditions_that_ask_for_the_same_run_share_it(tmp_path: Path) -> None:
    text = FIG08.read_text() + '\n[conditions.again]\nlabel = "Again"\n'
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "paper.toml").write_text("")
    (tmp_path / "twice.toml").write_text(text)
    manifest = load_manifest(tmp_path / "twice.toml")
    assert len(curves(manifest)) == 45
    assert len([job for job in plan(manifest) if job.stage == "train"]) == 36


def test_a_selection_takes_only_what_it_needs() -> None:
    manifest = load_manifest(FIG08, "smoke", ("seeds=[37, 42]",))
    jobs = plan(manifest, Selection(("walker-walk",), ("ik-reacher", "baseline"), (42,)))
    assert [job.stage for job in jobs] == ["generate", "pretrain", "train", "train"]
    assert jobs[0].environment == "reacher-easy"
    assert {job.environment for job in jobs[2:]} == {"walker-walk"}
    assert {job.seed for job in jobs[2:]} == {42}


def test_selecting_what_is_not_there_lists_what_is() -> None:
    with pytest.raises(UsageError, match=r"--condition ik-walkr is not in it; there are: baseline, ik-cheetah"):
        plan(load_manifest(FIG08), Selection(conditions=("ik-walkr",)))
