"""Writes paper_figures/published/*.csv, the digest of the authors' logs, anew.

    python paper_figures/digest_published.py LOGS [--out paper_figures/published]

LOGS is a folder with published_episodes.csv, published_runs.csv, published_ik_losses.csv and
published_imagenet_training.csv, extracted from the logs in the authors' repository (published/README.md says how).
"""

from pathlib import Path

import click

from rlpt.errors import UsageError
from rlpt.results.published import FOLDER, write_digest


@click.command(help="Write the digest of the authors' logs anew.")
@click.argument("logs", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=FOLDER)
def main(logs: Path, out: Path) -> None:
    """Writes the digest and prints where."""
    try:
        for path in write_digest(logs, out):
            click.echo(f"digest: {path}")
    except UsageError as error:
        click.echo(f"rlpt: {error}", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
