"""Commands that draw."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from rlpt.commands.options import data_option, runs_option, scale_options, selection_options


@click.command()
@click.argument("manifest", type=click.Path(path_type=Path))
@scale_options
@selection_options
@runs_option
@data_option
def plot(
    manifest: Path, profile: str | None, overrides: tuple[str, ...], runs: Path, data: Path, **selected: Any
) -> None:
    """Draw the learning curves of what there is, pretraining's too, or one of Figures 1 to 6, as PDF and PNG.

    Runs that are not finished are drawn up to where they are, and the figure says so.

    \b
    Examples:
      rlpt plot experiments/fig08_ik.toml --profile lite
      rlpt plot fig04
    """
    scripts = list((Path(__file__).parents[2] / "paper_figures").glob(f"{manifest.name}_*.py"))
    if manifest.suffix or not scripts:
        from rlpt.jobs import Selection
        from rlpt.manifest import load_manifest
        from rlpt.plots import draw_figures

        loaded = load_manifest(manifest, profile, overrides)
        for path in draw_figures(loaded, Selection(**selected), runs):
            click.echo(f"figure: {path}")
        return
    options = ["--data", str(data), "--out", str(runs / "figures"), *(["--profile", profile] if profile else [])]
    if subprocess.run([sys.executable, str(scripts[0]), *options], check=False).returncode:
        sys.exit(1)


@click.command()
@click.argument("manifests", metavar="[MANIFEST]...", nargs=-1, type=click.Path(path_type=Path))
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
    type=click.Path(path_type=Path),
    multiple=True,
    default=(Path("runs"),),
    show_default=True,
    help="Where finished runs are looked for (repeatable).",
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/report"), show_default=True)
def report(manifests: tuple[Path, ...], profiles: tuple[str, ...], folders: tuple[Path, ...], out: Path) -> None:
    """Judge the claims of the paper, by the authors' logs and by finished runs, in one HTML page.

    Without a MANIFEST it looks at those of the paper's figures and at the controls. Beside index.html it writes
    report.md and claims.json.

    \b
    Examples:
      rlpt report
      rlpt report --runs results/lite/fig08 --profile lite --out report
      rlpt report my_experiment.toml
    """
    from rlpt.manifest import load_manifest
    from rlpt.report import write_report

    chosen = manifests or _judged_manifests()
    loaded = {profile: [load_manifest(path, profile) for path in chosen] for profile in dict.fromkeys(profiles)}
    for path in write_report(loaded, folders, out):
        click.echo(f"report: {path}")


def _judged_manifests() -> list[Path]:
    folder = Path(__file__).parents[2] / "experiments"
    return [*sorted(folder.glob("fig*.toml")), *sorted((folder / "extra").glob("*.toml"))]
