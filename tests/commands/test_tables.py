"""Tables on terminals of any width."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rlpt.commands import tables
from rlpt.commands.tables import _describe_session, plan_table, status_table
from rlpt.manifest import Manifest, load_manifest
from rlpt.pipeline.jobs import conditions_by_job, plan
from rlpt.runs.files import write_text
from rlpt.runs.folder import PROGRESS_FILE
from rlpt.slurm.queue import QueuedTask
from tests.conftest import REPOSITORY, run_rlpt

MANIFEST = load_manifest(REPOSITORY / "experiments" / "fig08_ik.toml", "lite")


def on_a_terminal(width: int, table: Callable[[], None]) -> list[str]:
    """Returns what a table prints on a terminal so many columns wide."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "_console", lambda: Console(file=out, width=width, highlight=False, color_system=None))
        table()
    return out.getvalue().splitlines()


def printed(width: int, manifest: Manifest = MANIFEST) -> list[str]:
    """Returns the plan's table."""
    return on_a_terminal(width, lambda: plan_table({manifest.path: plan(manifest)}, conditions_by_job(manifest)))


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


def test_a_done_job_is_not_in_the_queue_even_if_its_task_still_runs_another(tmp_path: Path) -> None:
    done, other = plan(MANIFEST)[-2:]
    done.folder(tmp_path).path.mkdir(parents=True)
    task = QueuedTask("7", 0, "RUNNING", "me", "node1")
    queued = {done.id: task, other.id: task}
    lines = on_a_terminal(200, lambda: status_table([done, other], conditions_by_job(MANIFEST), tmp_path, queued))
    assert lines[-1] == "1 done, 1 missing, 1 in the queue"


def test_a_session_names_the_driver_where_a_gpu_only_renders() -> None:
    machine = {"host": "here", "processor": "A", "cores": 2, "gpu": None, "driver": "580.95"}
    session = {"started": "then", "end": "done", "seconds": 1.0, "machine": machine, "renderer": "NVIDIA H100"}
    told = _describe_session(session | {"threads": 1, "load": 0.5, "commit": None})
    assert "2 cores, NVIDIA driver 580.95, rendered by NVIDIA H100; 1 thread" in told
