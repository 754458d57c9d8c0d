"""Jobs: their identity is made of what can change their result, and of nothing else."""

from pathlib import Path

import pytest

from rlpt.errors import UsageError
from rlpt.manifest import load_manifest
from rlpt.pipeline.jobs import STAGES, Job, Selection, conditions_by_job, curves, plan
from rlpt.settings import Settings
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
        ("compute.precision='tf32'", {"pretrain", "train"}),
        ("compute.precision='float32'", set()),
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


def test_every_section_of_settings_decides_some_job() -> None:
    """What decides nothing would let two conditions share one run."""
    manifests = [REPOSITORY / "experiments" / name for name in ("fig07_imagenet.toml", "fig08_ik.toml")]
    jobs = [job for path in manifests for job in plan(load_manifest(path, overrides=("compute.precision='tf32'",)))]
    assert set().union(*(job.decides for job in jobs)) == set(Settings.model_fields)


def test_finished_runs_keep_their_ids() -> None:
    manifest = load_manifest(FIG08, "lite")
    imagenet = load_manifest(REPOSITORY / "experiments" / "fig07_imagenet.toml", "lite")
    own, other = Selection(("reacher-easy",), ("ik-reacher",), (37,)), Selection((), ("imagenet",))
    assert [job.id for job in (*plan(manifest, own), plan(imagenet, other)[0])] == [
        "reacher-easy-t40000-d63785f2",
        "ik-reacher-easy-t40000-abbcd09a",
        "reacher-easy-from-ik-reacher-easy-t40000-s37-f2d819e6",
        "imagenet-g3-1ad3a343",
    ], "settings that are new are noted in _LATER, so that ids stay"
    assert "compute" not in plan(manifest)[-1].identity()
    rounded = load_manifest(FIG08, "lite", ("compute.precision=bfloat16",))
    assert plan(rounded)[-1].identity()["compute"] == {"precision": "bfloat16"}


def test_the_baseline_does_not_depend_on_pretraining() -> None:
    def baseline(*overrides: str) -> str:
        selection = Selection(("walker-walk",), ("baseline",))
        return curves(load_manifest(FIG08, "smoke", overrides), selection)[0].job.id

    assert baseline() == baseline("ik.epochs=9", "generate.transitions=999")


def test_two_conditions_that_ask_for_the_same_run_share_it(tmp_path: Path) -> None:
    text = FIG08.read_text() + '\n[conditions.again]\nlabel = "Again"\n'
    (tmp_path / "twice.toml").write_text(text)
    manifest = load_manifest(tmp_path / "twice.toml")
    assert len(curves(manifest)) == 45
    assert len([job for job in plan(manifest) if job.stage == "train"]) == 36


def test_each_job_is_for_the_conditions_that_need_it() -> None:
    manifest = load_manifest(FIG08, "lite")
    selection = Selection(("reacher-easy",), ("baseline", "ik-walker", "ik-reacher"), (37,))
    assert conditions_by_job(manifest, selection) == {
        job.id: ["baseline" if "scratch" in job.id else "ik-walker" if "walker" in job.id else "ik-reacher"]
        for job in plan(manifest, selection)
    }
    shared = load_manifest(FIG08, "lite", ("conditions.again={label='A', pretrain='ik', agent={tau=0.1}}",))
    assert conditions_by_job(shared)["walker-walk-t40000-b936c36c"] == ["ik-walker", "again"]


def test_a_selection_takes_only_what_it_needs() -> None:
    manifest = load_manifest(FIG08, "smoke", ("seeds=[37, 42]",))
    jobs = plan(manifest, Selection(("walker-walk",), ("ik-reacher", "baseline"), (42,)))
    assert [job.stage for job in jobs] == ["generate", "pretrain", "train", "train"]
    assert jobs[0].environment == "reacher-easy"
    assert {job.environment for job in jobs[2:]} == {"walker-walk"}
    assert {job.seed for job in jobs[2:]} == {42}


def test_a_selection_says_what_selects_the_same() -> None:
    selection = Selection(("walker-walk",), ("ik", "baseline"), (42,), ("99",))
    options = "--env walker-walk --condition ik --condition baseline --seed 42 --video 99"
    assert " ".join(selection.options()) == options


def test_a_seed_that_is_not_there_can_be_set() -> None:
    with pytest.raises(UsageError, match=r"there are: 37; others: --set 'seeds=\[\.\.\.\]'"):
        plan(load_manifest(FIG08, "smoke"), Selection(seeds=(42,)))


def test_selecting_what_is_not_there_lists_what_is() -> None:
    with pytest.raises(
        UsageError, match=r"--condition ik-walkr is not in it under profile paper; there are: baseline, ik-cheetah"
    ):
        plan(load_manifest(FIG08), Selection(conditions=("ik-walkr",)))


FIGURES = {
    "fig07_imagenet": (0, 1, 18),
    "fig08_ik": (3, 3, 36),
    "fig09_imagenet_distracted": (0, 1, 18),
    "fig10_ik_distracted": (9, 9, 18),
    "fig11_budget": (9, 9, 36),
}


def paper_jobs(name: str) -> list[Job]:
    return plan(load_manifest(REPOSITORY / "experiments" / f"{name}.toml", "paper"))


def test_the_papers_figures_are_126_runs_of_which_117_are_distinct() -> None:
    plans = {name: paper_jobs(name) for name in FIGURES}
    for name, jobs in plans.items():
        assert tuple(sum(job.stage == stage for job in jobs) for stage in STAGES) == FIGURES[name], name
    train = [job.id for jobs in plans.values() for job in jobs if job.stage == "train"]
    assert (len(train), len(set(train))) == (126, 117)
    # Figure 11's T = 0 is Figure 8's baseline; Figures 7 and 9 share their ImageNet encoder.
    shared = {job.slug for job in plans["fig11_budget"]} & {job.slug for job in plans["fig08_ik"]}
    assert len([slug for slug in shared if "from-scratch" in slug]) == 9
    assert {job.id for job in plans["fig07_imagenet"] if job.stage == "pretrain"} == {
        job.id for job in plans["fig09_imagenet_distracted"] if job.stage == "pretrain"
    }


def test_a_budget_leaves_the_rest_to_reinforcement_learning() -> None:
    steps = {(job.settings.generate.transitions, job.settings.train.steps) for job in paper_jobs("fig11_budget")}
    assert {(5_000, 75_000), (10_000, 70_000), (20_000, 60_000)} <= steps


def test_the_published_variant_draws_from_the_whole_dataset() -> None:
    jobs = plan(load_manifest(REPOSITORY / "experiments" / "extra" / "fig11_published.toml"))
    generate = [job for job in jobs if job.stage == "generate"]
    assert {job.id for job in generate} == {job.id for job in paper_jobs("fig08_ik") if job.stage == "generate"}
    used = {(job.settings.ik.transitions, job.settings.ik.epochs) for job in jobs if job.stage == "pretrain"}
    assert used == {(5_000, 45), (10_000, 50), (20_000, 50)}
    assert {job.settings.train.steps for job in jobs if job.stage == "train"} == {80_000, 75_000, 70_000, 60_000}


def test_a_video_is_part_of_the_identity_and_plays_in_the_pretraining_data() -> None:
    manifest = load_manifest(REPOSITORY / "experiments" / "fig10_ik_distracted.toml")
    jobs = plan(manifest, Selection(("walker-walk",), ("ik",), (), ("99",)))
    assert [job.stage for job in jobs] == ["generate", "pretrain", "train"]
    assert {job.clip and job.clip.name for job in jobs if job.stage != "pretrain"} == {"99"}
    assert jobs[0].id.startswith("walker-walk-v99-t200000-")
    with pytest.raises(UsageError, match=r"--video 2 is not in it under profile paper; there are: 0, 1, 99"):
        plan(manifest, Selection(videos=("2",)))


def test_a_clip_of_ones_own_is_known_by_its_content(tmp_path: Path) -> None:
    def train_id(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        text = FIG08.read_text().replace("seeds =", f'videos = ["{name}"]\nseeds =')
        (tmp_path / "own.toml").write_text(text)
        return plan(load_manifest(tmp_path / "own.toml"))[-1].id.rpartition("-")[2]

    assert train_id("a.mp4", b"one") == train_id("b.mp4", b"one")
    assert train_id("a.mp4", b"one") != train_id("a.mp4", b"two")


def test_a_manifest_with_an_unknown_or_missing_clip_is_refused() -> None:
    path = REPOSITORY / "experiments" / "fig10_ik_distracted.toml"
    with pytest.raises(UsageError, match=r"videos: no published clip has the number 2: there are 0, 1, 99"):
        load_manifest(path, "paper", ("videos=[2]",))
    with pytest.raises(UsageError, match=r"videos: .*absent\.mp4: cannot be read"):
        load_manifest(path, "paper", ("videos=['absent.mp4']",))


def test_a_run_of_the_control_of_initialisation_that_figure_8_has_too_is_the_same() -> None:
    """As published, a baseline starts orthogonal, and a pretrained agent's other layers as the framework makes them."""
    published = {curve.condition: curve.job.id for curve in curves(load_manifest(FIG08), Selection(("reacher-easy",)))}
    path = REPOSITORY / "experiments" / "extra" / "head_init.toml"
    control = {curve.condition: curve.job.id for curve in curves(load_manifest(path), Selection(("reacher-easy",)))}
    assert {name for name, job in control.items() if job in published.values()} == {"scratch-orthogonal", "ik-default"}
    assert len(set(control.values())) == 4


def test_the_control_of_the_learning_rate_has_figure_8_s_runs_at_the_papers_size_alone() -> None:
    path = REPOSITORY / "experiments" / "extra" / "learning_rate.toml"
    for profile, shared in (("paper", 6), ("lite", 0)):
        published, control = (
            {curve.job.id for curve in curves(load_manifest(each, profile), Selection(("reacher-easy",)))}
            for each in (FIG08, path)
        )
        assert (len(control), len(control & published)) == (6, shared)
