"""The `rlpt` command: parse, call, print.

Everything slow to import (PyTorch, dm_control, matplotlib) is imported by the functions that use it.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlpt import __version__
from rlpt.errors import UsageError

if TYPE_CHECKING:
    from rlpt.jobs import Job, Selection
    from rlpt.manifest import Manifest

MANIFEST = click.argument("manifest", type=click.Path(path_type=Path))


class _Commands(click.Group):
    """Lists commands in the order of work, and turns errors that users can mend into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UsageError as error:
            if ctx.params.get("debug"):
                raise
            click.echo(f"rlpt: {error}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo("rlpt: interrupted; run the same command again to go on", err=True)
            ctx.exit(130)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            line = str(error).splitlines()[0] if str(error) else ""
            click.echo(f"rlpt: {type(error).__name__}: {line} (--debug before the command shows where)", err=True)
            ctx.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rlpt")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def main(debug: bool) -> None:
    """Does pretraining help pixel-based reinforcement learning, and is it worth its environment steps?

    A manifest (a TOML file in experiments/) says which environments, conditions and seeds to compare. Stages build on
    each other: generate → pretrain → train → plot; `rlpt run` does all of them, and only what is missing.

    \b
    Examples:
      rlpt doctor                                      is this machine ready?
      rlpt plan experiments/fig08_ik.toml              what would run, and how large it gets
      rlpt run experiments/demo.toml --jobs 2          the paper's central comparison in minutes
      rlpt train experiments/fig08_ik.toml --profile lite --env reacher-easy --condition baseline --seed 37
    """


def _options(*options: Callable[..., Any]) -> Callable[..., Any]:
    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_manifest_options = _options(
    MANIFEST,
    click.option("--profile", help="Scale: a file of profiles/ beside the manifest (paper, lite, smoke, demo)."),
    click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a setting: train.steps=500."),
)
_selection_options = _options(
    click.option("--env", "environments", multiple=True, help="Only this environment (repeatable)."),
    click.option("--condition", "conditions", multiple=True, help="Only this condition (repeatable)."),
    click.option("--seed", "seeds", multiple=True, type=int, help="Only this seed (repeatable)."),
)
_runs_option = click.option(
    "--runs",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Where results go.",
)
_execution_options = _options(
    _runs_option,
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
    click.option("--threads", type=click.IntRange(min=0), default=0, help="CPU threads of a job.  [default: all]"),
    click.option("--quiet", is_flag=True, help="No progress bars."),
)


def _load(manifest: Path, profile: str | None, overrides: tuple[str, ...]) -> "Manifest":
    from rlpt.manifest import load_manifest

    return load_manifest(manifest, profile, overrides)


def _selection(environments: tuple[str, ...], conditions: tuple[str, ...], seeds: tuple[int, ...]) -> "Selection":
    from rlpt.jobs import Selection

    return Selection(environments, conditions, seeds)


@main.command()
@_runs_option
def doctor(runs: Path) -> None:
    """Check rendering, device, versions and disk; say how to mend what is wrong."""
    from rlpt.doctor import examine

    findings = examine(runs)
    for finding in findings:
        click.echo(finding.line())
    if any(finding.verdict == "wrong" for finding in findings):
        sys.exit(1)


@main.command()
@_manifest_options
@_selection_options
@click.option("--json", "as_json", is_flag=True, help="Print a list of jobs for programs.")
def plan(
    manifest: Path,
    profile: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
    **selected: Any,
) -> None:
    """Show every job with its inputs, steps and disk; run nothing."""
    from rlpt.estimates import disk_bytes, steps
    from rlpt.jobs import plan as plan_jobs

    jobs = plan_jobs(_load(manifest, profile, overrides), _selection(**selected))
    rows = [
        {
            "id": job.id,
            "stage": job.stage,
            "inputs": [needed.id for needed in job.inputs],
            "steps": steps(job),
            "disk_bytes": disk_bytes(job),
        }
        for job in jobs
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    from rlpt.tables import plan_table

    plan_table(rows)


def _stage_command(stage: str, summary: str) -> click.Command:
    @_manifest_options
    @_selection_options
    @click.option("--job", "job_id", help="Only the job with this id, as `rlpt plan` lists it.")
    @_execution_options
    def command(
        manifest: Path,
        profile: str | None,
        overrides: tuple[str, ...],
        job_id: str | None,
        runs: Path,
        device: str,
        threads: int,
        quiet: bool,
        **selected: Any,
    ) -> None:
        from rlpt.jobs import plan as plan_jobs
        from rlpt.pipeline import Execution, run_job

        jobs = plan_jobs(_load(manifest, profile, overrides), _selection(**selected))
        wanted = [job for job in jobs if job.stage == stage and job_id in (None, job.id)]
        if not wanted:
            raise UsageError(f"{manifest}: nothing to {stage}" + (f" with the id {job_id}" if job_id else ""))
        for job in wanted:
            path = job.folder(runs).path
            if job.folder(runs).state() == "done":
                click.echo(f"done already: {path}")
                continue
            run_job(job, Execution(runs, device, threads, quiet))
            click.echo(f"done: {path}")

    return click.command(stage, help=summary)(command)


main.add_command(
    _stage_command(
        "generate",
        """Stage 1: collect transitions with random actions, for inverse kinematics.

        \b
        Example: rlpt generate experiments/fig08_ik.toml --env reacher-easy --condition ik-reacher --threads 16
        """,
    )
)
main.add_command(
    _stage_command(
        "pretrain",
        """Stage 2: train encoders on the transitions.

        \b
        Example: rlpt pretrain experiments/demo.toml --set ik.epochs=40
        """,
    )
)
main.add_command(
    _stage_command(
        "train",
        """Stage 3: train Soft Actor-Critic, from scratch or from an encoder.

        \b
        Example: rlpt train experiments/fig08_ik.toml --env walker-walk --condition baseline --seed 42 --device cuda
        """,
    )
)


@main.command()
@_manifest_options
@_selection_options
@click.option("--jobs", "parallel", type=click.IntRange(min=1), default=1, show_default=True, help="Jobs at a time.")
@_execution_options
def run(
    manifest: Path,
    profile: str | None,
    overrides: tuple[str, ...],
    parallel: int,
    runs: Path,
    device: str,
    threads: int,
    quiet: bool,
    **selected: Any,
) -> None:
    """Do all that is missing, in order, then draw the figure.

    \b
    Examples:
      rlpt run experiments/demo.toml --jobs 2
      rlpt run experiments/fig08_ik.toml --profile smoke --jobs 2
    """
    from rlpt.jobs import plan as plan_jobs
    from rlpt.pipeline import Execution, choose_device
    from rlpt.scheduler import LocalScheduler

    loaded, selection = _load(manifest, profile, overrides), _selection(**selected)
    if device == "cuda":
        choose_device(device)

    def arguments(job: "Job") -> list[str]:
        options = ["--profile", loaded.profile, "--runs", str(runs), "--device", device, "--job", job.id]
        return [job.stage, str(manifest), *options, *(f"--set={text}" for text in overrides)]

    execution = Execution(runs, device, threads, quiet)
    jobs = plan_jobs(loaded, selection)
    outcome = LocalScheduler(jobs, execution, parallel, arguments).run()
    if outcome["done"] == len(jobs):
        click.echo(f"nothing to do: all {len(jobs)} jobs are done")
    else:
        click.echo(", ".join(f"{count} {name}" for name, count in outcome.items() if count))
    if outcome["failed"]:
        sys.exit(1)
    _draw(loaded, selection, runs)


@main.command()
@_manifest_options
@_selection_options
@_runs_option
def status(manifest: Path, profile: str | None, overrides: tuple[str, ...], runs: Path, **selected: Any) -> None:
    """Show which jobs are done, running, failed or missing."""
    from rlpt.jobs import plan as plan_jobs
    from rlpt.tables import status_table

    status_table(plan_jobs(_load(manifest, profile, overrides), _selection(**selected)), runs)


@main.command()
@_manifest_options
@_selection_options
@_runs_option
def plot(manifest: Path, profile: str | None, overrides: tuple[str, ...], runs: Path, **selected: Any) -> None:
    """Draw the learning curves of what is finished, as PDF and PNG."""
    _draw(_load(manifest, profile, overrides), _selection(**selected), runs)


def _draw(manifest: "Manifest", selection: "Selection", runs: Path) -> None:
    from rlpt.plots import draw_learning_curves

    for path in draw_learning_curves(manifest, selection, runs):
        click.echo(f"figure: {path}")
