"""The `rlpt` command: parse, call, print.

Everything slow to import (PyTorch, dm_control, matplotlib) is imported by the functions that use it.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlpt import __version__
from rlpt.errors import BUSY_STATUS, Busy, UsageError

if TYPE_CHECKING:
    from rlpt.data.imagenet import ClassChoice
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
        except Busy as error:
            click.echo(f"rlpt: {error}", err=True)
            ctx.exit(BUSY_STATUS)
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


_scale_options = _options(
    click.option("--profile", help="Scale: a file of profiles/ beside the manifest (paper, lite, smoke, demo)."),
    click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a setting: train.steps=500."),
)
_manifest_options = _options(MANIFEST, _scale_options)
_selection_options = _options(
    click.option("--env", "environments", multiple=True, help="Only this environment (repeatable)."),
    click.option("--condition", "conditions", multiple=True, help="Only this condition (repeatable)."),
    click.option("--seed", "seeds", multiple=True, type=int, help="Only this seed (repeatable)."),
    click.option("--video", "videos", multiple=True, help="Only this background video (repeatable)."),
)
_runs_option = click.option(
    "--runs",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Where results go.",
)
_data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path("data"),
    show_default=True,
    help="Where video clips and image folders are.",
)
_execution_options = _options(
    _runs_option,
    _data_option,
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
    click.option("--threads", type=click.IntRange(min=0), default=0, help="CPU threads of a job.  [default: all]"),
    click.option("--quiet", is_flag=True, help="No progress bars."),
    click.option(
        "--time-limit", type=click.FloatRange(min=0), metavar="SECONDS", help="Save and stop after so many seconds."
    ),
    click.option(
        "--checkpoint-minutes",
        type=click.FloatRange(min=0),
        default=10.0,
        show_default=True,
        help="How often a job saves its state.",
    ),
)


def _load(manifest: Path, profile: str | None, overrides: tuple[str, ...]) -> "Manifest":
    from rlpt.manifest import load_manifest

    return load_manifest(manifest, profile, overrides)


def _selection(
    environments: tuple[str, ...], conditions: tuple[str, ...], seeds: tuple[int, ...], videos: tuple[str, ...]
) -> "Selection":
    from rlpt.jobs import Selection

    return Selection(environments, conditions, seeds, videos)


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
@click.argument("manifests", metavar="MANIFEST...", nargs=-1, required=True, type=click.Path(path_type=Path))
@_scale_options
@_selection_options
@click.option("--json", "as_json", is_flag=True, help="Print a list of jobs for programs.")
def plan(
    manifests: tuple[Path, ...], profile: str | None, overrides: tuple[str, ...], as_json: bool, **selected: Any
) -> None:
    """Show every job with its inputs, steps and disk, and what several manifests share; run nothing.

    \b
    Examples:
      rlpt plan experiments/fig08_ik.toml
      rlpt plan experiments/fig*.toml
    """
    from rlpt.estimates import describe
    from rlpt.jobs import plan as plan_jobs

    plans = {path: plan_jobs(_load(path, profile, overrides), _selection(**selected)) for path in manifests}
    if as_json:
        distinct = {job.id: job for jobs in plans.values() for job in jobs}
        click.echo(json.dumps([describe(job) for job in distinct.values()], indent=2))
        return
    from rlpt.tables import plan_table

    plan_table(plans)


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
        data: Path,
        device: str,
        threads: int,
        quiet: bool,
        time_limit: float | None,
        checkpoint_minutes: float,
        **selected: Any,
    ) -> None:
        from rlpt.interruption import Paused, Schedule
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
            schedule = Schedule(checkpoint_minutes, time_limit=time_limit)
            try:
                run_job(job, Execution(runs, data, device, threads, quiet, schedule))
            except Paused:
                click.echo(f"paused: {job.id}; the same command goes on")
                return
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
    data: Path,
    device: str,
    threads: int,
    quiet: bool,
    time_limit: float | None,
    checkpoint_minutes: float,
    **selected: Any,
) -> None:
    """Do all that is missing, in order, then draw the figure.

    \b
    Examples:
      rlpt run experiments/demo.toml --jobs 2
      rlpt run experiments/fig08_ik.toml --profile smoke --jobs 2
    """
    from rlpt.interruption import Schedule
    from rlpt.jobs import plan as plan_jobs
    from rlpt.pipeline import Execution, choose_device
    from rlpt.scheduler import LocalScheduler

    loaded, selection = _load(manifest, profile, overrides), _selection(**selected)
    if device == "cuda":
        choose_device(device)

    def arguments(job: "Job") -> list[str]:
        places = [f"--runs={runs}", f"--data={data}", f"--device={device}"]
        options = [f"--profile={loaded.profile}", *places, f"--checkpoint-minutes={checkpoint_minutes}"]
        options += [f"--job={job.id}"]
        return [job.stage, str(manifest), *options, *(f"--set={text}" for text in overrides)]

    schedule = Schedule(checkpoint_minutes, time_limit=time_limit)
    execution = Execution(runs, data, device, threads, quiet, schedule)
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
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--only", "names", multiple=True, metavar="NAME", help="Only this row (repeatable).")
@click.option("--json", "as_list", is_flag=True, help="Print a list of rows for programs.")
def bench(device: str, names: tuple[str, ...], as_list: bool) -> None:
    """Time rlpt beside a plain implementation of the same (benchmarks/), in one process and alternating.

    \b
    Example: OMP_NUM_THREADS=2 rlpt bench --only sac_update_ik --only replay_sample
    """
    from rich.console import Console

    from rlpt.bench import as_json, as_table, run_benchmarks

    rows = run_benchmarks(names, device, lambda done, name: click.echo(name, err=True) if name else None)
    if as_list:
        click.echo(as_json(rows))
    else:
        Console().print(as_table(rows))


@main.group()
def data() -> None:
    """Fetch or check inputs: video clips and ImageNet."""


@data.command("videos")
@_data_option
def data_videos(data: Path) -> None:
    """Download the three published background clips, or check those that are there, by SHA-256."""
    from rlpt.data.videos import fetch_videos

    for number, path in fetch_videos(data / "videos").items():
        click.echo(f"video {number}: {path}")


@data.command("imagenet")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--classes", type=click.Choice(["paper", "all"]), default="paper", show_default=True)
@click.option("--size", type=click.IntRange(min=8), default=100, show_default=True, help="Pixels; environment.size.")
@click.option("--threads", type=click.IntRange(min=0), default=0, help="Worker processes.  [default: all]")
@click.option("--quiet", is_flag=True, help="No progress bars.")
@_data_option
def data_imagenet(path: Path, classes: "ClassChoice", size: int, threads: int, quiet: bool, data: Path) -> None:
    """Check a folder of labelled images (train/CLASS/*.JPEG, val/CLASS/*.JPEG) and decode it once into the cache.

    The classes are the paper's 100, or with --classes all every folder of train/. Manifests look for the images at
    DATA/imagenet (a link will do).

    \b
    Example: rlpt data imagenet /datasets/ILSVRC2012
    """
    from rlpt.data.imagenet import check_and_cache

    for line in check_and_cache(path, classes, size, data / "cache", threads, quiet):
        click.echo(line)


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
@_data_option
def plot(
    manifest: Path, profile: str | None, overrides: tuple[str, ...], runs: Path, data: Path, **selected: Any
) -> None:
    """Draw the learning curves of what is finished, or one of Figures 1 to 6, as PDF and PNG.

    \b
    Examples:
      rlpt plot experiments/fig08_ik.toml --profile lite
      rlpt plot fig04
    """
    scripts = list((Path(__file__).parent.parent / "paper_figures").glob(f"{manifest.name}_*.py"))
    if manifest.suffix or not scripts:
        _draw(_load(manifest, profile, overrides), _selection(**selected), runs)
        return
    options = ["--data", str(data), "--out", str(runs / "figures"), *(["--profile", profile] if profile else [])]
    if subprocess.run([sys.executable, str(scripts[0]), *options], check=False).returncode:
        sys.exit(1)


def _draw(manifest: "Manifest", selection: "Selection", runs: Path) -> None:
    from rlpt.plots import draw_learning_curves

    for path in draw_learning_curves(manifest, selection, runs):
        click.echo(f"figure: {path}")
