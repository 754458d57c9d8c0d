"""Commands that say what would run, and how far it is."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlpt.commands.cluster import print_scripts
from rlpt.commands.options import (
    runs_option,
    scale_options,
    selection_options,
    takes_execution,
    takes_executor,
    takes_manifest,
)

if TYPE_CHECKING:
    from rlpt.jobs import Selection
    from rlpt.manifest import Manifest
    from rlpt.pipeline import Execution


@click.command()
@click.argument("manifests", metavar="MANIFEST...", nargs=-1, required=True, type=click.Path(path_type=Path))
@scale_options
@selection_options
@click.option("--json", "as_json", is_flag=True, help="Print a list of jobs for programs.")
@takes_executor
@takes_execution
def plan(
    manifests: tuple[Path, ...],
    profile: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
    cluster: dict[str, Any] | None,
    execution: "Execution",
    **selected: Any,
) -> None:
    """Show every job with its inputs, steps and disk, and what several manifests share; run nothing.

    With --executor slurm: the batch scripts that `rlpt run` would submit with the same options.

    \b
    Examples:
      rlpt plan experiments/fig08_ik.toml
      rlpt plan experiments/fig*.toml
      rlpt plan experiments/fig08_ik.toml --executor slurm --gres gpu:1
    """
    from rlpt import jobs
    from rlpt.estimates import describe
    from rlpt.manifest import load_manifest

    selection = jobs.Selection(**selected)
    loaded = [load_manifest(path, profile, overrides) for path in manifests]
    plans = {manifest.path: jobs.plan(manifest, selection) for manifest in loaded}
    if cluster is not None:
        print_scripts([(manifest, plans[manifest.path]) for manifest in loaded], execution, cluster)
        return
    if as_json:
        distinct = {job.id: job for planned in plans.values() for job in planned}
        click.echo(json.dumps([describe(job) for job in distinct.values()], indent=2))
        return
    from rlpt.tables import plan_table

    plan_table(plans)


@click.command()
@takes_manifest
@runs_option
def status(manifest: "Manifest", selection: "Selection", runs: Path) -> None:
    """Show which jobs are done, running, failed or missing, and which are in Slurm's queue."""
    from rlpt import jobs
    from rlpt.slurm.queue import Queue, is_installed
    from rlpt.tables import status_table

    queue = Queue(runs)
    tasks = queue.tasks() if queue.is_used() and is_installed() else {}
    status_table(jobs.plan(manifest, selection), runs, tasks)
