"""The room that jobs need, before they start."""

import os
from pathlib import Path

import pytest

from rlpt.manifest import load_manifest
from rlpt.pipeline.disk import required_bytes
from rlpt.pipeline.estimates import checkpoint_bytes, disk_bytes, replay_bytes
from rlpt.pipeline.jobs import plan
from tests.conftest import REPOSITORY

JOBS = plan(load_manifest(REPOSITORY / "experiments" / "demo.toml", "paper"))


def test_it_is_all_results_and_the_most_that_one_needs_while_it_runs(tmp_path: Path) -> None:
    generate, *others = JOBS
    work = [disk_bytes(generate), *(replay_bytes(job) + 2 * checkpoint_bytes(job) for job in others)]
    assert required_bytes(JOBS, 1, tmp_path) == pytest.approx(sum(map(disk_bytes, JOBS)) + max(work), abs=1)
    assert required_bytes([generate], 1, tmp_path) == pytest.approx(2 * disk_bytes(generate), abs=1)


def test_what_is_there_counts_as_far_as_it_takes_space(tmp_path: Path) -> None:
    job = JOBS[-1]
    before = required_bytes([job], 1, tmp_path)
    partial = job.folder(tmp_path).partial
    partial.mkdir(parents=True)
    (partial / "half").mkdir()
    for place in (partial / "results", partial / "half" / "more"):
        place.write_bytes(os.urandom(500_000))
    with (partial / "replay.frames").open("wb") as file:
        file.truncate(500_000_000)  # holes
    assert required_bytes([job], 1, tmp_path) == pytest.approx(before - 1_000_000, abs=20_000)
