"""Tables on terminals of any width."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rlpt.commands import tables
from rlpt.commands.tables import plan_table
from rlpt.manifest import Manifest, load_manifest
from rlpt.pipeline.jobs import conditions_by_job, plan
from rlpt.runs.files import write_text
from rlpt.runs.folder import PROGRESS_FILE
from tests.conftest import REPOSITORY, run_rlpt

MANIFEST = load_manifest(REPOSITORY / "experiments" / "fig08_ik.toml", "lite")


def printed(width: int, manifest: Manifest = MANIFEST) -> list[str]:
    """Returns the plan's table on a terminal so many columns wide."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "_console", lambda: Console(file=out, width=width, highlight=False, color_system=None))
        plan_table({manifest.path: plan(manifest)}, conditions_by_job(manifest))
    return out.getvalue().splitlines()


@given(st.integers(20, 300))
def test_ids_stay_whole_and_columns_go_where_they_do_not_fit(width: int) -> None:
    lines = printed(width)
    jobs = plan(MANIFEST)
    for job, line in zip(jobs, lines[1:], strict=False):
        assert job.id in line.split()
    columns = lines[0].split()
    assert columns in (
        ["stage", "job", "needs", "steps", "disk", "for"],
        ["stage", "job", "needs", "steps", "disk"],
        ["stage", "job", "steps", "disk"],
    )
    assert len(lines[1]) <= width or len(columns) == 4


def test_hours_of_the_authors_gpu_are_those_of_the_paper_s_size() -> None:
    assert not any("GPU hours" in line for line in printed(200))
    assert any("264 GPU hours at the authors' speed" in line for line in printed(200, load_manifest(MANIFEST.path)))


def test_a_state_tells_how_far_a_job_is(tmp_path: Path) -> None:
    job = plan(MANIFEST)[0]
    write_text(job.folder(tmp_path).partial / PROGRESS_FILE, "1234 40000 return 7")
    (line,) = [
        line
        for line in run_rlpt("status", MANIFEST.path, "--profile=lite", "--runs", tmp_path).stdout.splitlines()
        if job.id in line
    ]
    assert line.split()[0] == "paused"
    assert "1,234 of 40,000  return 7" in line
