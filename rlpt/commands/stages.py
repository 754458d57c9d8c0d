"""Commands that compute: one stage, or all of them in order."""

import sys
from typing import TYPE_CHECKING, Any

import click

from rlpt.commands.cluster import submit_missing
from rlpt.commands.options import takes_execution, takes_executor, takes_manifest
from rlpt.errors import UsageError

if TYPE_CHECKING:
    from rlpt.manifest import Manifest
    from rlpt.pipeline.execution import Execution
    from rlpt.pipeline.jobs import Job, Selection
    from rlpt.runs.interruption import StopRequest


def _stage_command(stage: str, summary: str) -> click.Command:
    @takes_manifest
    @click.option("--job", "job_id", help="Only the job with this id, as `rlpt plan` lists it.")
    @takes_execution
    def command(manifest: "Manifest", selection: "Selection", job_id: str | None, execution: "Execution") -> None:
        from rlpt.pipeline.jobs import plan
        from rlpt.runs.interruption import StopRequest, stopping_on_signals

        wanted = [job for job in plan(manifest, selection) if job.stage == stage and job_id in (None, job.id)]
        if not wanted:
            raise UsageError(f"{manifest.path}: {_nothing_to(stage, job_id)}")
        stop = StopRequest(execution.schedule.time_limit)
        with stopping_on_signals(stop.make):
            _run_jobs(wanted, manifest, execution, stop)

    return click.command(stage, help=summary)(command)


def _nothing_to(stage: str, job_id: str | None) -> str:
    if job_id:
        return f"no {stage} job has the id {job_id}: if the manifest has changed since it was planned, plan anew"
    needed = "ik" if stage == "generate" else "ik or imagenet"
    return f"nothing to {stage}: no condition that is selected has pretrain = {needed}"


def _run_jobs(jobs: "list[Job]", manifest: "Manifest", execution: "Execution", stop: "StopRequest") -> None:
    from rlpt.pipeline.disk import require_room
    from rlpt.pipeline.execution import require_inputs, run_job, unfinished
    from rlpt.runs.interruption import Paused

    missing = unfinished(jobs, execution.runs)
    require_inputs(missing, execution.data)
    require_room(missing, 1, execution.runs)
    for job in jobs:
        folder = job.folder(execution.runs)
        if folder.is_done():
            click.echo(f"done already: {folder.path}")
            continue
        try:
            run_job(job, execution, manifest.describe(), stop)
        except Paused:
            click.echo(f"paused: {job.id}; the same command goes on")
            return
        click.echo(f"done: {folder.path}")


generate = _stage_command(
    "generate",
    """Stage 1: transitions from random actions. Inverse kinematics learns from them.

    \b
    Example: rlpt generate experiments/fig08_ik.toml --env reacher-easy --threads 16
    """,
)
pretrain = _stage_command(
    "pretrain",
    """Stage 2: encoders, from the transitions or from images.

    \b
    Example: rlpt pretrain experiments/demo.toml --set ik.epochs=40
    """,
)
train = _stage_command(
    "train",
    """Stage 3: Soft Actor-Critic, from scratch or from an encoder.

    \b
    Example: rlpt train fig08 --env walker-walk --condition baseline --seed 42
    """,
)


@click.command()
@takes_manifest
@click.option("--jobs", "parallel", type=click.IntRange(min=1), help="Jobs at a time on this machine.  [default: 1]")
@takes_executor
@takes_execution
def run(
    manifest: "Manifest",
    selection: "Selection",
    parallel: int | None,
    cluster: dict[str, Any] | None,
    execution: "Execution",
) -> None:
    """Run all that is missing, here or on Slurm, then draw the figure.

    \b
    Examples:
      rlpt run experiments/demo.toml --jobs 2
      rlpt run experiments/fig08_ik.toml --profile smoke --jobs 2
      rlpt run fig08 --executor slurm --gres gpu:1 --time 24:00:00
    """
    from rlpt.pipeline.jobs import plan
    from rlpt.plots.learning_curves import draw_figures

    if cluster is not None and parallel is not None:
        raise UsageError("--jobs: not with --executor slurm; --array-parallelism limits the tasks that run at a time")
    jobs = plan(manifest, selection)
    if cluster is None:
        _run_here(manifest, jobs, parallel or 1, execution)
    elif not submit_missing(manifest, jobs, execution, cluster):
        return
    for path in draw_figures(manifest, selection, execution.runs):
        click.echo(f"figure: {path}")


def _run_here(manifest: "Manifest", jobs: "list[Job]", parallel: int, execution: "Execution") -> None:
    from rlpt.pipeline.disk import require_room
    from rlpt.pipeline.execution import choose_device, require_inputs, unfinished
    from rlpt.pipeline.scheduler import LocalScheduler

    if execution.device == "cuda":
        choose_device(execution.device)
    missing = unfinished(jobs, execution.runs)
    require_inputs(missing, execution.data)
    require_room(missing, parallel, execution.runs)
    outcome = LocalScheduler(manifest, jobs, execution, parallel).run()
    if outcome["done"] == len(jobs):
        click.echo(f"nothing to do: all {len(jobs)} jobs are done")
    else:
        outcome["not begun"] = len(jobs) - outcome.total()
        click.echo(", ".join(f"{count} {name}" for name, count in outcome.items() if count))
    if outcome["failed"]:
        sys.exit(1)
