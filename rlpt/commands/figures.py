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
    """Draw the learning curves of what is finished, or one of Figures 1 to 6, as PDF and PNG.

    \b
    Examples:
      rlpt plot experiments/fig08_ik.toml --profile lite
      rlpt plot fig04
    """
    scripts = list((Path(__file__).parents[2] / "paper_figures").glob(f"{manifest.name}_*.py"))
    if manifest.suffix or not scripts:
        from rlpt.jobs import Selection
        from rlpt.manifest import load_manifest
        from rlpt.plots import draw_learning_curves

        loaded = load_manifest(manifest, profile, overrides)
        for path in draw_learning_curves(loaded, Selection(**selected), runs):
            click.echo(f"figure: {path}")
        return
    options = ["--data", str(data), "--out", str(runs / "figures"), *(["--profile", profile] if profile else [])]
    if subprocess.run([sys.executable, str(scripts[0]), *options], check=False).returncode:
        sys.exit(1)
