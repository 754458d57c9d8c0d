import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from rlpt.cli import main
from rlpt.manifest import load_manifest
from rlpt.pipeline.execution import Execution
from rlpt.pipeline.jobs import Job, plan
from rlpt.slurm.queue import user
from rlpt.slurm.settings import SlurmSettings
from rlpt.slurm.submission import submit
from tests.conftest import REPOSITORY
from tests.slurm.conftest import answers, write_note

DEMO = REPOSITORY / "experiments" / "demo.toml"


@pytest.fixture
def jobs() -> list[Job]:
    """The demo's jobs: generation, pretraining, training from scratch and after pretraining."""
    return plan(load_manifest(DEMO, "smoke"))


@pytest.fixture
def slurm(answer: Path) -> Path:
    """Scripts in the place of Slurm's commands; the next arrays are 8, 9, …"""
    folder = answer.parent
    answers(answer, ":")
    answers(folder / "sbatch", f"cat >/dev/null; echo >>{folder}/count; echo $((7 + $(wc -l <{folder}/count)))")
    answers(folder / "scancel", f'echo "$@" >{folder}/cancelled')
    return folder


def in_queue(slurm: Path, runs: Path, array: int, *tasks: list[str], owner: str = user()) -> None:
    """Puts an array into the queue, and a note on it into the runs folder."""
    write_note(runs, array, list(tasks), owner)
    with (slurm / "squeue").open("a") as script:
        script.writelines(f"echo '{array}|{index}|PENDING|{owner}|(Dependency)'\n" for index in range(len(tasks)))


def run(*arguments: str) -> tuple[str, str]:
    result = CliRunner().invoke(main, [arguments[0], str(DEMO), "--profile", "smoke", *arguments[1:]])
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_jobs_in_the_queue_that_need_what_is_new_are_named(slurm: Path, tmp_path: Path, jobs: list[Job]) -> None:
    generate, pretrain, *training = jobs
    (after,) = [job for job in training if job.inputs]
    runs = tmp_path / "runs"
    in_queue(slurm, runs, 6, [pretrain.id])
    in_queue(slurm, runs, 7, [job.id for job in training])
    submission = submit(load_manifest(DEMO, "smoke"), jobs, Execution(runs), SlurmSettings())
    assert [array.stage for array in submission.arrays.values()] == ["generate"]
    assert submission.queued == 3
    assert submission.stranded == [pretrain.id, after.id]
    (runs / "slurm" / "8.json").unlink()
    _, warned = run("run", "--runs", str(runs), "--executor=slurm")
    assert warned.startswith("WARNING: 2 jobs in the queue need what was submitted only now")
    assert pretrain.id in warned
    assert generate.id not in warned


def test_jobs_that_wait_for_what_is_new_are_not(slurm: Path, tmp_path: Path, jobs: list[Job]) -> None:
    submission = submit(load_manifest(DEMO, "smoke"), jobs, Execution(tmp_path), SlurmSettings())
    assert (len(submission.arrays), submission.queued, submission.stranded) == (4, 0, [])


def test_an_array_waits_for_those_that_make_its_inputs(slurm: Path, tmp_path: Path, jobs: list[Job]) -> None:
    """By Slurm's numbers, of what was submitted before it and of what is in the queue already."""
    answers(slurm / "sbatch", f'cat >/dev/null; echo "$@" >>{slurm}/asked; echo $((7 + $(wc -l <{slurm}/asked)))')
    generate, pretrain, scratch, after = jobs
    in_queue(slurm, tmp_path, 6, [generate.id])
    submission = submit(load_manifest(DEMO, "smoke"), jobs, Execution(tmp_path), SlurmSettings())
    numbers = {array.tasks[0][0].id: number for number, array in submission.arrays.items()}
    asked = dict(zip(numbers, (slurm / "asked").read_text().splitlines(), strict=True))
    assert asked == {
        pretrain.id: "--parsable --dependency=afterany:6",
        scratch.id: "--parsable",
        after.id: f"--parsable --dependency=afterany:{numbers[pretrain.id]}",
    }


def test_a_note_says_which_jobs_each_task_has_and_logs_have_a_folder(slurm: Path, tmp_path: Path) -> None:
    """Slurm makes none: a task whose log cannot be opened fails."""
    manifest = load_manifest(DEMO, "smoke", ("seeds=[37,42]",))
    submission = submit(manifest, plan(manifest), Execution(tmp_path), SlurmSettings())
    assert max(len(array.tasks) for array in submission.arrays.values()) == 2
    for number, array in submission.arrays.items():
        note = json.loads((tmp_path / "slurm" / f"{number}.json").read_text())
        assert note["tasks"] == [[job.id for job in task] for task in array.tasks]
    assert (tmp_path / "logs" / "slurm").is_dir()


def test_nobody_else_submits_meanwhile_and_ended_arrays_are_forgotten(
    slurm: Path, tmp_path: Path, jobs: list[Job]
) -> None:
    note = write_note(tmp_path, 3, [["ended"]])
    lock = ["flock", "--shared", "--nonblock", str(tmp_path / "slurm" / ".lock"), "true"]
    answers(slurm / "sbatch", f"cat >/dev/null; {' '.join(lock)}; echo $? >{slurm}/status; echo 8")
    submit(load_manifest(DEMO, "smoke"), jobs[:1], Execution(tmp_path), SlurmSettings())
    assert (slurm / "status").read_text() == "1\n"
    assert subprocess.run(lock, check=False).returncode == 0
    assert not note.exists()


def test_another_manifest_s_jobs_in_the_queue_are_not_counted(slurm: Path, tmp_path: Path, jobs: list[Job]) -> None:
    in_queue(slurm, tmp_path, 6, ["another-manifest-s-job"], [jobs[0].id])
    assert submit(load_manifest(DEMO, "smoke"), jobs, Execution(tmp_path), SlurmSettings()).queued == 1


@pytest.mark.parametrize(("free", "warned"), [(1, True), (10**15, False)])
def test_a_disk_that_is_too_small_is_said_and_no_reason_to_wait(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, warned: bool
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free})())
    said, warning = run("run", f"--runs={tmp_path / 'runs'}", "--executor=slurm")
    assert "4 submitted" in said
    assert ("4 jobs need about " in warning and " if 4 run at a time: make room" in warning) == warned


def test_cancelling_spares_what_shares_a_task_with_others(slurm: Path, tmp_path: Path, jobs: list[Job]) -> None:
    scratch, after = (job.id for job in jobs if job.stage == "train")
    in_queue(slurm, tmp_path, 7, [scratch, after])
    where = f"--runs={tmp_path}"
    said, _ = run("cancel", where, "--condition=baseline")
    assert said.startswith(
        f"cancelled 0 tasks of 0 arrays\nleft alone: 7_0, which run jobs that are not selected too: {after}"
    )
    assert not (slurm / "cancelled").exists()
    (tmp_path / "train" / after).mkdir(parents=True)
    assert run("cancel", where, "--condition=baseline")[0] == "cancelled 1 tasks of 1 arrays\n"
    assert (slurm / "cancelled").read_text() == "7_0\n"


def test_cancelling_spares_what_is_another_user_s(slurm: Path, tmp_path: Path, jobs: list[Job]) -> None:
    in_queue(slurm, tmp_path, 7, [jobs[0].id])
    in_queue(slurm, tmp_path, 8, [jobs[1].id], owner="someone")
    said, _ = run("cancel", f"--runs={tmp_path}")
    assert said == "cancelled 1 tasks of 1 arrays\nleft alone: 8_0, which only someone can cancel\n"
    assert (slurm / "cancelled").read_text() == "7_0\n"


def test_cancelling_spares_what_queued_runs_start_from(slurm: Path, tmp_path: Path) -> None:
    seeds = "seeds=[37,42]"
    data, encoder, *_ = plan(load_manifest(DEMO, "smoke", (seeds,)))
    first, second = (job for job in plan(load_manifest(DEMO, "smoke", (seeds,))) if job.inputs == (encoder,))
    in_queue(slurm, tmp_path, 7, [data.id])
    in_queue(slurm, tmp_path, 8, [encoder.id])
    in_queue(slurm, tmp_path, 9, [first.id], [second.id])
    where = (f"--runs={tmp_path}", f"--set={seeds}")
    said, _ = run("cancel", *where, f"--seed={first.seed}")
    kept = ", ".join(sorted((data.id, encoder.id)))
    assert said == f"cancelled 1 tasks of 1 arrays\nleft alone: {kept}: queued runs that are not selected need them\n"
    assert (slurm / "cancelled").read_text() == "9_0\n"
    assert run("cancel", *where)[0] == "cancelled 4 tasks of 3 arrays\n"


def test_of_runs_that_share_a_task_those_that_are_done_do_not_count(
    slurm: Path, tmp_path: Path, jobs: list[Job]
) -> None:
    for job in jobs[:-1]:
        job.folder(tmp_path).path.mkdir(parents=True)
    in_queue(slurm, tmp_path, 7, [job.id for job in jobs[-2:]])
    submission = submit(load_manifest(DEMO, "smoke"), jobs, Execution(tmp_path), SlurmSettings())
    assert (len(submission.arrays), submission.queued) == (0, 1)
