"""Estimates against what jobs really write."""

from pathlib import Path

import pytest

from rlpt.estimates import checkpoint_bytes, disk_bytes, steps
from rlpt.jobs import plan
from rlpt.manifest import Manifest, load_manifest
from tests.conftest import REPOSITORY

PAPER = plan(load_manifest(REPOSITORY / "experiments" / "fig08_ik.toml"))


def test_steps_are_those_of_the_paper() -> None:
    assert {job.stage: steps(job) for job in PAPER} == {"generate": 200_000, "pretrain": 44_550, "train": 80_000}


def test_disk_is_near_what_jobs_take(finished_runs: tuple[Manifest, Path]) -> None:
    manifest, runs = finished_runs
    files = {"pretrain": "encoder.safetensors", "train": "policy.safetensors"}
    for job in plan(manifest):
        if job.stage in files:
            size = (job.folder(runs).path / files[job.stage]).stat().st_size
            assert disk_bytes(job) == pytest.approx(size, rel=0.15, abs=2_000)  # a small file is half header


def test_a_checkpoint_holds_more_than_the_weights() -> None:
    for job in PAPER:
        if job.stage != "generate":
            assert checkpoint_bytes(job) > 2 * disk_bytes(job)
