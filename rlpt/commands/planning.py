"""Commands that say what would run, and how far it is."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlpt.commands.cluster import print_scripts
from rlpt.commands.options import (
    ManifestFile,
    read_manifest,
    runs_option,
    scale_options,
    selection_options,
    takes_execution,
    takes_executor,
    takes_manifest,
)
from rlpt.errors import UsageError

if TYPE_CHECKING:
    from rlpt.manifest import Manifest
    from rlpt.pipeline.execution import Execution
    from rlpt.pipeline.jobs import Selection


@click.command()
@click.argument("manifests", metavar="MANIFEST...", nargs=-1, required=True, type=ManifestFile())
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
    """Show every job with its inputs, steps and disk; run nothing. Of several manifests it shows what they share, too.

    With --executor slurm: the batch scripts that `rlpt run` would submit with the same options.

    \b
    Examples:
      rlpt plan experiments/fig08_ik.toml
      rlpt plan experiments/fig*.toml
      rlpt plan experiments/fig08_ik.toml --executor slurm --gres gpu:1
    """
    from rlpt.pipeline import jobs
    from rlpt.pipeline.estimates import describe

    selection = jobs.Selection(**selected)
    if as_json and cluster is not None:
        raise UsageError("--json: not with --executor slurm, which prints scripts")
    distinct_paths = {path.resolve(): path for path in manifests}
    loaded = [read_manifest(path, profile, overrides) for path in distinct_paths.values()]
    plans = {manifest.path: jobs.plan(manifest, selection) for manifest in loaded}
    if cluster is not None:
        print_scripts([(manifest, plans[manifest.path]) for manifest in loaded], execution, cluster)
        return
    if as_json:
        distinct = {job.id: job for planned in plans.values() for job in planned}
        click.echo(json.dumps([describe(job) for job in distinct.values()], indent=2))
        return
    from rlpt.commands.tables import plan_table

    plan_table(plans, jobs.conditions_by_job(loaded[0], selection) if len(loaded) == 1 else {})


@click.command()
@takes_manifest
@runs_option
def status(manifest: "Manifest", selection: "Selection", runs: Path) -> None:
    """Show which jobs are done, running, failed or missing. Shows Slurm's queue too.

    \b
    Example: rlpt status experiments/fig08_ik.toml --profile lite
    """
    from rlpt.commands.tables import status_table
    from rlpt.pipeline import jobs
    from rlpt.slurm.queue import Queue, is_installed

    queue = Queue(runs)
    tasks, note = {}, ""
    if queue.is_used() and is_installed():
        try:
            tasks = queue.tasks()
        except UsageError as error:  # what is on disk is worth showing all the same
            note = str(error)
    status_table(jobs.plan(manifest, selection), jobs.conditions_by_job(manifest, selection), runs, tasks)
    if note:
        click.echo(f"rlpt: the queue is not known: {note}", err=True)
