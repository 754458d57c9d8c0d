"""Estimates against what jobs really write, and against the authors' logs."""

import statistics
from pathlib import Path
from typing import get_args

import pytest

from rlpt.manifest import Manifest, load_manifest
from rlpt.pipeline.estimates import checkpoint_bytes, disk_bytes, gpu_hours, replay_bytes, steps
from rlpt.pipeline.jobs import plan
from rlpt.results.published import load_published
from rlpt.settings import Method
from tests.conftest import REPOSITORY

DEMO = REPOSITORY / "experiments" / "demo.toml"
PAPER = plan(load_manifest(REPOSITORY / "experiments" / "fig08_ik.toml"))


def test_steps_are_those_of_the_paper() -> None:
    assert {job.stage: steps(job) for job in PAPER} == {"generate": 200_000, "pretrain": 44_550, "train": 80_000}


@pytest.mark.parametrize("method", get_args(Method))
def test_every_method_of_pretraining_has_its_own_estimates(method: Method) -> None:
    overrides = (f"conditions.ik.pretrain='{method}'", "imagenet.epochs=7")
    own, changed = (
        next(job for job in plan(load_manifest(DEMO, "paper", (*overrides, *more))) if job.stage == "pretrain")
        for more in ((), ("ik.epochs=60", "imagenet.epochs=14"))
    )
    assert own.method == method
    assert steps(changed) == 2 * steps(own) > 0
    assert gpu_hours(changed) == pytest.approx(2 * gpu_hours(own))
    assert checkpoint_bytes(own) > disk_bytes(own)


def test_disk_is_near_what_jobs_take(finished_runs: tuple[Manifest, Path]) -> None:
    manifest, runs = finished_runs
    files = {"generate": "transitions.h5", "pretrain": "encoder.safetensors", "train": "policy.safetensors"}
    for job in plan(manifest):
        size = (job.folder(runs).path / files[job.stage]).stat().st_size
        if job.stage == "generate":  # measured at 100×100: the estimate is to be on the safe side
            assert size / 4 < disk_bytes(job) < 4 * size
        else:
            assert disk_bytes(job) == pytest.approx(size, rel=0.15, abs=2_000)  # a small file is half header


def test_a_checkpoint_holds_more_than_the_weights() -> None:
    for job in PAPER:
        if job.stage != "generate":
            assert checkpoint_bytes(job) > 2 * disk_bytes(job)


@pytest.mark.parametrize(("figure", "manifest"), [(7, "fig07_imagenet"), (8, "fig08_ik")])
def test_gpu_hours_are_near_the_authors(figure: int, manifest: str) -> None:
    logged = [run.hours / run.steps for run in load_published().runs if run.figure == figure]
    jobs = plan(load_manifest(REPOSITORY / "experiments" / f"{manifest}.toml"))
    (estimated,) = {gpu_hours(job) / steps(job) for job in jobs if job.stage == "train"}
    assert estimated == pytest.approx(statistics.median(logged), rel=0.1)


def test_hours_of_pretraining_are_those_of_its_convolutions() -> None:
    """Both observations forward and twice that backward; 591 GFLOP are 6 passes over a batch of 128."""
    (pretraining,) = {round(gpu_hours(job), 6) for job in PAPER if job.stage == "pretrain"}
    assert pretraining * 3600 == pytest.approx(44_550 * 2 * 3 * (591e9 / 6) / 7.13e12, rel=0.01)


def test_readme_says_how_many_runs_and_hours_the_paper_takes() -> None:
    manifests = (REPOSITORY / "experiments").glob("fig*.toml")
    jobs = {job.id: job for path in manifests for job in plan(load_manifest(path))}
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    runs, hours = sum(job.stage == "train" for job in jobs.values()), sum(map(gpu_hours, jobs.values()))
    assert f"{runs} training runs, about {round(hours, -2):,.0f} hours of the authors' GPU" in readme


def test_replay_frames_are_those_of_the_paper() -> None:
    assert {replay_bytes(job) for job in PAPER if job.stage == "train"} == {80_000 * 3 * 100**2}


def test_pretraining_on_a_part_of_the_transitions_takes_as_many_updates_as_these_give() -> None:
    jobs = plan(load_manifest(REPOSITORY / "experiments" / "extra" / "fig11_published.toml"))
    kept = {4_750: 45, 9_500: 50, 19_000: 50}  # of 5,000, 10,000 and 20,000; for so many epochs
    expected = {epochs * -(-transitions // 128) for transitions, epochs in kept.items()}
    assert {steps(job) for job in jobs if job.stage == "pretrain"} == expected


def test_what_was_not_measured_is_estimated_on_the_safe_side() -> None:
    """A video leaves little to compress; a task of another domain may be as hard to compress as any."""
    distracted = DEMO.with_name("fig10_ik_distracted.toml")
    (plain, *_), (behind, *_) = PAPER, plan(load_manifest(distracted))
    assert behind.clip
    assert behind.environment == plain.environment == "cheetah-run"
    assert disk_bytes(behind) > 3 * disk_bytes(plain)
    other = plan(load_manifest(distracted, None, ("environments=['hopper-hop']", "videos=[]")))[0]
    assert disk_bytes(other) == max(disk_bytes(job) for job in PAPER if job.stage == "generate")
