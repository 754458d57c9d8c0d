"""What all figures share: style, the small print that says what made them, files, and the command of a script."""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import matplotlib as mpl
from matplotlib.figure import Figure

from rlpt.errors import UsageError, trouble
from rlpt.manifest import Manifest, load_manifest
from rlpt.pipeline.jobs import Selection
from rlpt.runs.files import whole_file
from rlpt.runs.provenance import code_version, version_text

STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "legend.fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.5,
    "figure.dpi": 200,
    "mathtext.fontset": "dejavusans",
    "pdf.fonttype": 42,
    "svg.hashsalt": "rlpt",
}
"Matplotlib settings of every figure."
_LETTERS_PER_INCH = 22
_SMALL_PRINT = 6


def made_by(manifest: Manifest, selection: Selection | None = None) -> str:
    """Returns manifest, profile, what of it was asked for, and rlpt's version and commit in one line."""
    options = [*(f"--set {override}" for override in manifest.overrides), *(selection.options() if selection else ())]
    changed = "".join(f" · {option}" for option in options)
    made = version_text(code_version())
    return f"manifest {manifest.path.name} · profile {manifest.profile}{changed} · drawn by {made}"


def sentence(title: str) -> str:
    """Returns a title with a full stop, unless it ends in a mark of its own."""
    return title if title.endswith((".", "?", "!")) else f"{title}."


def stamp(figure: Figure, lines: list[str]) -> None:
    """Prints `lines` small along the figure's lower edge, wrapped to its width."""
    columns = int(figure.get_figwidth() * _LETTERS_PER_INCH)
    text = "\n".join(line for whole in lines for line in textwrap.wrap(whole, columns))
    figure.supxlabel(text, fontsize=_SMALL_PRINT, color="0.35", x=0.01, ha="left")


def save_figure(figure: Figure, folder: Path, name: str, title: str, profile: str, runs: str = "") -> list[Path]:
    """Writes `<folder>/<name>-<profile>.png` and .pdf; the same figure gives the same bytes.

    Args:
        figure: what to write.
        folder: where; made if need be.
        name: of the files.
        title: of the document.
        profile: the scale, part of the files' names.
        runs: ids of the runs that are shown.

    Returns:
        Both paths. Their metadata name rlpt's version and commit, the title, the profile and the runs.
    """
    code = code_version()
    software = f"rlpt {code['rlpt']} {code.get('commit') or ''}".strip()
    description = "; ".join(filter(None, [f"profile {profile}", runs]))
    metadata: dict[str, dict[str, Any]] = {
        ".png": {"Software": software, "Title": title, "Description": description},
        ".pdf": {"Creator": software, "Title": title, "Keywords": description, "CreationDate": None},
    }
    paths = []
    for ending, entries in metadata.items():
        path = folder / f"{name}-{profile}{ending}"
        with whole_file(path) as aside:
            figure.savefig(aside, metadata=entries)
        paths.append(path)
    return paths


def figure_command(
    script: str, manifest_name: str, title: str, draw: Callable[[Manifest, Path], Figure]
) -> click.Command:
    """Returns the command of a script in paper_figures/ that needs no runs.

    Args:
        script: the script's own path, which names the figure's files.
        manifest_name: the manifest of experiments/ whose settings are shown.
        title: one line for the metadata, the small print and the command's help.
        draw: draws the figure from the manifest and the data folder.
    """
    path = Path(script)

    @click.command(help=f"Draw {title}, as PDF and PNG.")
    @click.option("--profile", help="Scale: a file of experiments/profiles (paper, lite, smoke).")
    @click.option("--data", type=click.Path(path_type=Path), default=Path("data"), show_default=True)
    @click.option("--out", type=click.Path(path_type=Path), default=Path("runs/figures"), show_default=True)
    def command(profile: str | None, data: Path, out: Path) -> None:
        try:
            manifest = load_manifest(path.parent.parent / "experiments" / manifest_name, profile)
            with mpl.rc_context(STYLE):
                figure = draw(manifest, data)
                stamp(figure, [sentence(title), made_by(manifest)])
                paths = save_figure(figure, out, path.stem, title, manifest.profile)
        except (UsageError, OSError) as error:
            click.echo(f"rlpt: {trouble(error) if isinstance(error, OSError) else error}", err=True)
            raise SystemExit(2) from None
        for written in paths:
            click.echo(f"figure: {written}")

    return command
