"""Commands that draw."""

import runpy
from collections import Counter
from pathlib import Path
from typing import Any

import click

from rlpt.commands.options import (
    FolderOrFile,
    ManifestFile,
    data_option,
    read_manifest,
    runs_option,
    scale_options,
    selection_options,
)
from rlpt.errors import UsageError


@click.command()
@click.argument("manifest", type=ManifestFile())
@scale_options
@selection_options
@runs_option
@data_option
def plot(
    manifest: Path, profile: str | None, overrides: tuple[str, ...], runs: Path, data: Path, **selected: Any
) -> None:
    """Draw learning curves of the runs so far, or a figure of the paper. Writes PDF and PNG, and the pretraining
    curves.

    MANIFEST is a .toml file, or fig01 to fig11. Runs that are not finished are drawn up to where they are, and the
    figure says so.

    \b
    Examples:
      rlpt plot experiments/fig08_ik.toml --profile lite
      rlpt plot fig04
      rlpt plot fig11 --profile lite --runs results/lite/fig11
    """
    if manifest.suffix == ".toml":
        from rlpt.pipeline.jobs import Selection, plan
        from rlpt.plots.learning_curves import draw_figures

        loaded, selection = read_manifest(manifest, profile, overrides), Selection(**selected)
        for path in draw_figures(loaded, selection, runs):
            click.echo(f"figure: {path}")
        if not any(job.folder(runs).newest().is_dir() for job in plan(loaded, selection)):
            click.echo(f"rlpt: nothing of it has been run under profile {loaded.profile} in {runs}", err=True)
        return
    if overrides or any(selected.values()):
        raise UsageError(f"{manifest} shows no runs: leave out --set, --env, --condition, --seed and --video")
    options = ["--data", str(data), "--out", str(runs / "figures"), *(["--profile", profile] if profile else [])]
    runpy.run_path(str(_script(manifest)))["main"](options)


def _script(figure: Path) -> Path:
    """Returns the script of a figure that shows no runs, such as "fig04"."""
    from rlpt.checkout import in_checkout

    for path in in_checkout("paper_figures").glob("fig0[1-6]_*.py"):
        if str(figure) == path.name.partition("_")[0]:
            return path
    raise UsageError(f"{figure}: neither a manifest (.toml) nor one of the paper's figures, fig01 to fig11")


@click.command()
@click.argument("manifests", metavar="[MANIFEST]...", nargs=-1, type=ManifestFile())
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    default=("paper", "lite"),
    show_default=True,
    help="Scale of the runs to look at (repeatable).",
)
@click.option(
    "--runs",
    "folders",
    type=FolderOrFile(),
    multiple=True,
    default=(Path("runs"),),
    show_default=True,
    help="Where finished runs are looked for (repeatable).",
)
@click.option("--out", type=FolderOrFile(), default=Path("runs/report"), show_default=True)
def report(manifests: tuple[Path, ...], profiles: tuple[str, ...], folders: tuple[Path, ...], out: Path) -> None:
    """Judge the paper's claims by the authors' logs and finished runs. Writes one HTML page.

    Without a MANIFEST it looks at those of the paper's figures and at the controls (experiments/extra). Beside
    index.html it writes report.md and claims.json.

    \b
    Examples:
      rlpt report
      rlpt report --runs results/lite/fig08 --profile lite --out report
      rlpt report my_experiment.toml
    """
    from rlpt.checkout import in_checkout
    from rlpt.manifest import load_manifest
    from rlpt.pipeline.jobs import plan
    from rlpt.report.claims import judged_manifests
    from rlpt.report.report import write_report

    in_checkout("paper_figures", "claims.toml")
    chosen = list({path.resolve(): path for path in manifests}.values()) or judged_manifests()
    for name, count in Counter(path.stem for path in chosen).items():
        if count > 1:
            raise UsageError(
                f"{count} manifests are called {name}, and the report tells them apart by name: rename all but one"
            )
    loaded = {profile: [load_manifest(path, profile) for path in chosen] for profile in dict.fromkeys(profiles)}
    for path in write_report(loaded, folders, out):
        click.echo(f"report: {path}")
    for path in manifests:
        own = [manifest for each in loaded.values() for manifest in each if manifest.path == path]
        jobs = [job for manifest in own for job in plan(manifest)]
        if own and not any(job.folder(folder).is_done() for job in jobs for folder in folders):
            places = f"under profile {' or '.join(loaded)} in {', '.join(map(str, folders))}"
            click.echo(f"rlpt: {path}: nothing of it is finished {places}: say --profile and --runs", err=True)
