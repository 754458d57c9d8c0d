"""Commands that look at finished runs: what made them, whether they are still whole, and how to hand them on."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlpt.commands.options import (
    FolderOrFile,
    RunsOrManifest,
    data_option,
    deterministic_option,
    device_option,
    quiet_option,
    read_manifest,
    runs_option,
    scale_options,
    selection_options,
    takes_manifest,
    threads_option,
)
from rlpt.errors import UsageError

if TYPE_CHECKING:
    from rlpt.manifest import Manifest
    from rlpt.pipeline.execution import Execution
    from rlpt.pipeline.jobs import Selection


@click.command()
@click.argument("run")
@runs_option
def show(run: str, runs: Path) -> None:
    """Print what made a run. That is settings, manifest, inputs, files, machine, every interruption.

    RUN is its folder, or its id as `rlpt status` lists it. It need not be finished.

    \b
    Examples:
      rlpt show runs/train/reacher-easy-from-scratch-s37-62c6ddf1
      rlpt show reacher-easy-from-scratch-s37-62c6ddf1 --runs results/lite/fig08
    """
    from rlpt.commands.tables import run_tables

    run_tables(_find_run(run, runs))


def _find_run(run: str, runs: Path) -> Path:
    from difflib import get_close_matches

    from rlpt.runs.folder import SETTINGS_FILE

    if (Path(run) / SETTINGS_FILE).is_file():
        return Path(run)
    known = {path.parent.name.removesuffix(".partial"): path.parent for path in runs.glob(f"*/*/{SETTINGS_FILE}")}
    if run in known:
        return known[run]
    near = get_close_matches(run, known, n=1, cutoff=0.3)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UsageError(f"{run}: neither a run's folder nor the id of a run in {runs}{hint}")


@click.command()
@click.argument("run")
@click.option("--episodes", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of the initial states.")
@click.option("--background", metavar="CLIP", help="0, 1, 99, synthetic, a file, or none.  [default: as in training]")
@click.option("--movie", type=FolderOrFile(), metavar="FILE", help="Write the first episode as a video, such as a.mp4.")
@runs_option
@data_option
@device_option
def play(run: str, episodes: int, seed: int, movie: Path | None, runs: Path, device: str, **where: Any) -> None:
    """Play a trained policy. It takes its mean action, as in evaluations.

    RUN is the folder or the id of a finished training run.

    \b
    Examples:
      rlpt play walker-walk-from-scratch-s37-cca27863 --movie walk.mp4
      rlpt play runs/train/walker-walk-from-scratch-s37-cca27863 --background 99 --episodes 10
    """
    from contextlib import closing
    from statistics import mean

    from rlpt.data.movies import require_movie_name, write_movie
    from rlpt.pipeline.arithmetic import computing
    from rlpt.pipeline.execution import choose_device
    from rlpt.play import load_background, load_policy, play_episode

    if movie:
        require_movie_name(movie)
    folder = _find_run(run, runs)
    agent, env = load_policy(folder, load_background(folder, **where), choose_device(device))
    returns = []
    with closing(env), computing(agent.critic.encoder.precision):
        env.seed(seed)
        for episode in range(1, episodes + 1):
            frames: list[Any] | None = [] if movie and episode == 1 else None
            returns.append(play_episode(agent, env, frames))
            click.echo(f"episode {episode}: return {returns[-1]:.1f}")
            if movie and frames:
                write_movie(movie, frames, env.agent_steps_per_second)
                click.echo(f"movie: {movie}")
    if episodes > 1:
        click.echo(f"mean: {mean(returns):.1f}")


@click.command()
@click.argument("path", metavar="RUN|MANIFEST", type=RunsOrManifest())
@scale_options
@selection_options
@click.option("--kills", type=click.IntRange(min=0), default=3, show_default=True, help="Kills per job of MANIFEST.")
@click.option("--kill-seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the moments.")
@runs_option
@data_option
@device_option
@deterministic_option
@threads_option
@quiet_option
def verify(
    path: Path,
    profile: str | None,
    overrides: tuple[str, ...],
    kills: int,
    kill_seed: int,
    runs: Path,
    data: Path,
    device: str,
    deterministic: bool,
    threads: int,
    quiet: bool,
    **selected: Any,
) -> None:
    """Check finished runs, or prove that jobs survive being killed.

    With a run's folder or id, or a folder of runs: is every file still what the job wrote, and every
    dataset and encoder what it read?

    With a manifest: runs each of its jobs twice, one of them killed at random moments, and compares every file byte by
    byte. On a GPU they can only be the same with --deterministic.

    \b
    Examples:
      rlpt verify runs
      rlpt verify experiments/demo.toml --profile smoke --kills 7
    """
    if path.suffix == ".toml":
        from rlpt.pipeline.execution import Execution
        from rlpt.pipeline.jobs import Selection

        execution = Execution(runs, data, device, threads, quiet, deterministic=deterministic)
        _repeat(read_manifest(path, profile, overrides), Selection(**selected), execution, kills, kill_seed)
    else:
        if profile or overrides or any(selected.values()):
            raise UsageError(
                f"{path} is no manifest (.toml): --profile, --set, --env, --condition, --seed and --video select of one"
            )
        _check(path if path.exists() else _find_run(str(path), runs))


def _check(path: Path) -> None:
    from rlpt.pipeline.verification import Check, check_run, finished_folders

    found = 0
    folders = finished_folders(path)
    for folder in folders:
        try:
            checks = list(check_run(folder))
        except UsageError as error:  # its record is missing or damaged
            checks = [Check("record", str(error))]
        wrong = any(check.problem and not check.unknown for check in checks)
        click.echo(f"{'WRONG' if wrong else 'ok   '}  {folder}: {len(checks)} checks")
        for check in checks:
            if check.problem:
                click.echo(f"       {check.what}: {check.problem}")
        found += wrong
    click.echo(
        f"{len(folders)} runs, {found} of them not as they were made" if found else f"{len(folders)} runs, all ok"
    )
    if found:
        sys.exit(1)


def _repeat(manifest: "Manifest", selection: "Selection", execution: "Execution", kills: int, kill_seed: int) -> None:
    from rlpt.pipeline.disk import require_room
    from rlpt.pipeline.jobs import plan
    from rlpt.pipeline.verification import repeat_with_kills
    from rlpt.progress import progress_bar

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the job that is running ends as well
    jobs = plan(manifest, selection)
    require_room([*jobs, *jobs], 1, execution.runs / "verify")
    differing, untried = 0, 0
    with progress_bar("jobs, each twice", execution.quiet) as report:
        for number, repetition in enumerate(repeat_with_kills(manifest, jobs, execution, kills, kill_seed), 1):
            survived = bool(repetition.kills) or not kills
            verdict = "DIFFERS" if repetition.differences else "same   " if survived else "untried"
            click.echo(f"{verdict}  {repetition.job.id} ({repetition.kills} kills)")
            for name in repetition.differences:
                click.echo(f"         {name}")
            differing += bool(repetition.differences)
            untried += not survived
            report(number, len(jobs), "")
    if differing:
        click.echo(f"both copies are kept in {execution.runs}")
    if untried:
        click.echo(f"rlpt: {untried} of {len(jobs)} jobs were over before a kill: try again", err=True)
    if differing or untried:
        sys.exit(1)


@click.command()
@takes_manifest
@runs_option
@click.option("--out", type=FolderOrFile(), required=True, metavar="FOLDER", help="A folder to make.")
def export(manifest: "Manifest", selection: "Selection", runs: Path, out: Path) -> None:
    """Copy finished runs into a Workflow Run RO-Crate. It has their figures too, and suits an archive such as Zenodo.

    \b
    Example: rlpt export experiments/demo.toml --profile smoke --out demo-crate
    """
    from rlpt.pipeline.jobs import plan
    from rlpt.results.crate import export_crate

    names = (f"{manifest.name}-{manifest.profile}.*", f"{manifest.name}-encoders-{manifest.profile}.*")
    figures = sorted(path for name in names for path in (runs / "figures").glob(name))
    count = export_crate(manifest, plan(manifest, selection), figures, runs, out)
    click.echo(f"{count} jobs, {len(figures)} figure files: {out}")


@click.command()
@takes_manifest
@runs_option
@click.option("--out", type=FolderOrFile(), required=True, metavar="FOLDER", help="Made, or added to.")
def collect(manifest: "Manifest", selection: "Selection", runs: Path, out: Path) -> None:
    """Copy the small files of runs for a repository. Adds figures and a page of results.

    FOLDER is laid out like a folder of runs, so that `rlpt plot`, `rlpt report` and `rlpt verify` read it; README.md
    says what was run, what came out, with intervals, and what did not. Called again, it adds what is new.

    \b
    Example: rlpt collect fig08 --profile lite --env reacher-easy --out results/lite/fig08
    """
    from rlpt.pipeline.jobs import Selection, plan
    from rlpt.plots.learning_curves import draw_figures
    from rlpt.report.collection_page import PAGE, collection_page, require_own_page
    from rlpt.results.collection import collect_runs
    from rlpt.runs.files import write_text

    require_own_page(manifest, runs, out)
    collected = collect_runs(plan(manifest, selection), runs, out)
    if not collected.total():
        raise UsageError(f"{manifest.path}: nothing of it has been run in {runs}: `rlpt run` it first")
    draw_figures(manifest, Selection(), out)
    write_text(out / PAGE, collection_page(manifest, out))
    click.echo(
        f"{out}: {collected['finished']} jobs added, {collected['unfinished']} unfinished ones, "
        f"{collected['known']} were there"
    )
