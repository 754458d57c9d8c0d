"""Commands about this machine: is it ready, and how fast is it?"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rlpt.commands.options import device_option, runs_option

if TYPE_CHECKING:
    from rlpt.settings import Precision


@click.command()
@runs_option
def doctor(runs: Path) -> None:
    """Check rendering, device, versions and disk. Says how to mend what is wrong."""
    from rlpt.doctor import examine

    findings = examine(runs)
    for finding in findings:
        click.echo(finding.line())
    if any(finding.verdict == "wrong" for finding in findings):
        sys.exit(1)


@click.command()
@device_option
@click.option(
    "--precision",
    type=click.Choice(["float32", "tf32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Precision of rlpt's networks.",
)
@click.option("--only", "names", multiple=True, metavar="NAME", help="Only this row (repeatable).")
@click.option("--json", "as_list", is_flag=True, help="Print a list of rows for programs.")
def bench(device: str, precision: "Precision", names: tuple[str, ...], as_list: bool) -> None:
    """Time rlpt beside a plain implementation of the same. Both run in one process, by turns (benchmarks/).

    \b
    Examples:
      OMP_NUM_THREADS=2 rlpt bench --only sac_update_ik --only replay_sample
      rlpt bench --device cuda --precision bfloat16 --json
    """
    from rich.console import Console

    from rlpt.checkout import in_checkout

    sys.path.insert(0, str(in_checkout("benchmarks").parent))
    from benchmarks.rows import as_json, as_line, as_table, chosen, measured

    rows, missing = [], 0
    for name in chosen(names):
        click.echo(f"{name} …", err=True)
        try:
            rows.append(measured(name, device, precision=precision))
            click.echo(as_line(rows[-1]), err=True)  # whatever becomes of the others
        except (ArithmeticError, RuntimeError) as error:  # as where a GPU has no algorithm for it, or no memory
            reason = (str(error) or type(error).__name__).splitlines()[0]
            click.echo(f"rlpt: {name}: {reason}: not measured", err=True)
            missing += 1
    if as_list:
        click.echo(as_json(rows))
    else:
        Console().print(as_table(rows))
    if missing:
        sys.exit(1)
