"""Arguments and options that several commands share, and what they are turned into."""

import math
import re
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlpt.checkout import ROOT
from rlpt.errors import UsageError

if TYPE_CHECKING:
    from rlpt.manifest import Manifest

Command = Callable[..., Any]

_EXPERIMENTS = ROOT / "experiments"
_NAME, _FIGURE = re.compile(r"[\w-]+"), re.compile(r"fig\d\d")


class FolderOrFile(click.Path):
    """A path that is not empty: an unset variable of a script would else mean the working folder."""

    def __init__(self) -> None:
        """Accepts any path, whether anything is there or not."""
        super().__init__(path_type=Path)

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Returns a Path."""
        if not str(value):
            self.fail("an empty path; name a folder or file", parameter, context)
        return super().convert(value, parameter, context)


class ManifestFile(FolderOrFile):
    """A TOML file, or the name of one in experiments/, such as "demo" or "head_init"; of a figure "fig08" will do."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Returns a Path."""
        path = super().convert(value, parameter, context)
        if path.is_file() or not _NAME.fullmatch(str(path)):
            return path
        known = [
            file for file in (_EXPERIMENTS / f"{path}.toml", _EXPERIMENTS / "extra" / f"{path}.toml") if file.is_file()
        ]
        known += sorted(_EXPERIMENTS.glob(f"{path}_*.toml")) if _FIGURE.fullmatch(str(path)) else []
        return known[0] if known else path


class RunsOrManifest(ManifestFile):
    """What is there, such as a folder of runs called "fig08"; else as above."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Returns a Path."""
        path = FolderOrFile.convert(self, value, parameter, context)
        return path if path.exists() else super().convert(value, parameter, context)


class Amount(click.FloatRange):
    """A number from 0 on, which "nan" is not."""

    def __init__(self) -> None:
        """Has no upper end."""
        super().__init__(min=0)

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Returns a float."""
        amount = super().convert(value, parameter, context)
        if not math.isfinite(amount):
            self.fail(f"{value} is not a finite number", parameter, context)
        return amount


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where networks compute; auto: the GPU if there is one.",
)
quiet_option = click.option("--quiet", is_flag=True, help="No progress bars.")
runs_option = click.option(
    "--runs",
    type=FolderOrFile(),
    default=Path("runs"),
    show_default=True,
    help="Folder of runs.",
)
data_option = click.option(
    "--data",
    type=FolderOrFile(),
    default=Path("data"),
    show_default=True,
    help="Where video clips and image folders are.",
)
_PROFILE_HELP = (
    "Scale: a file of profiles/ beside the manifest (paper, lite, smoke, demo).  [default: the manifest's, else paper]"
)
scale_options = _options(
    click.option("--profile", help=_PROFILE_HELP),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override a setting, such as train.steps=500 (repeatable).",
    ),
)
selection_options = _options(
    click.option("--env", "environments", multiple=True, help="Only this environment (repeatable)."),
    click.option("--condition", "conditions", multiple=True, help="Only this condition (repeatable)."),
    click.option("--seed", "seeds", multiple=True, type=int, help="Only this seed (repeatable)."),
    click.option("--video", "videos", multiple=True, help="Only this background video (repeatable)."),
)
_schedule_options = _options(
    click.option("--time-limit", type=Amount(), metavar="SECONDS", help="Save and stop after this long."),
    click.option(
        "--checkpoint-minutes",
        type=Amount(),
        default=10.0,
        show_default=True,
        help="Minutes between a job's saves.",
    ),
    click.option(
        "--checkpoint-steps",
        type=click.IntRange(min=1),
        help="Also save after every so many agent steps, or updates of pretraining.",
    ),
)
deterministic_option = click.option(
    "--deterministic", is_flag=True, help="The same bits every time on a GPU too, more slowly."
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(min=0),
    default=0,
    help="CPU threads of a job; of generation, worker processes.  [default: its share of the cores]",
)


_executor_options = _options(
    click.option(
        "--executor",
        type=click.Choice(["local", "slurm"]),
        default="local",
        show_default=True,
        help="Here, or as Slurm job arrays.",
    ),
    click.option("--partition", metavar="NAME", help="Slurm: where to queue."),
    click.option("--account", metavar="NAME", help="Slurm: who is charged."),
    click.option("--qos", metavar="NAME", help="Slurm: quality of service."),
    click.option("--gres", metavar="LIST", help="Slurm: resources of a pretraining or training task, such as gpu:1."),
    click.option("--time", metavar="LIMIT", help="Slurm: a task's time limit; longer jobs go on after a requeue."),
    click.option("--mem", metavar="SIZE", help="Slurm: a task's memory, such as 32G."),
    click.option("--cpus", type=click.IntRange(min=1), help="Slurm: a task's cores."),
    click.option("--array-parallelism", type=click.IntRange(min=1), help="Slurm: limit on an array's running tasks."),
    click.option("--runs-per-gpu", type=click.IntRange(min=1), help="Slurm: training runs side by side in a task."),
    click.option("--sif", metavar="FILE", help="Slurm: Apptainer image to run in."),
)


def read_manifest(path: Path, profile: str | None, overrides: tuple[str, ...]) -> "Manifest":
    """Loads a manifest, and warns of what it says to no effect."""
    from rlpt.manifest import load_manifest

    manifest = load_manifest(path, profile, overrides)
    for text in manifest.overruled:
        click.echo(
            f"rlpt: {path}: {text}; under [profiles.{manifest.profile}], in a condition or by --set it would hold",
            err=True,
        )
    return manifest


def takes_manifest(command: Command) -> Command:
    """Gives a command the Manifest and the Selection that the usual argument and options describe."""

    @wraps(command)
    def call(
        manifest: Path,
        profile: str | None,
        overrides: tuple[str, ...],
        **others: Any,
    ) -> Any:
        from rlpt.pipeline.jobs import Selection

        selection = Selection(**{each.name: others.pop(each.name) for each in fields(Selection)})
        return command(read_manifest(manifest, profile, overrides), selection, **others)

    argument = click.argument("manifest", type=ManifestFile())
    return _options(argument, scale_options, selection_options)(call)


def takes_execution(command: Command) -> Command:
    """Gives a command `execution`, an Execution, from the options that say where, on what and for how long."""

    @wraps(command)
    def load(
        *arguments: Any,
        runs: Path,
        data: Path,
        device: str,
        threads: int,
        quiet: bool,
        time_limit: float | None,
        checkpoint_minutes: float,
        checkpoint_steps: int | None,
        deterministic: bool,
        **others: Any,
    ) -> Any:
        from rlpt.pipeline.execution import Execution
        from rlpt.runs.interruption import Schedule

        schedule = Schedule(checkpoint_minutes, checkpoint_steps, time_limit)
        execution = Execution(runs, data, device, threads, quiet, schedule, deterministic)
        return command(*arguments, execution=execution, **others)

    places = _options(runs_option, data_option)
    return _options(places, device_option, deterministic_option, threads_option, quiet_option, _schedule_options)(load)


def takes_executor(command: Command) -> Command:
    """Gives a command `cluster`: what the options say of Slurm, by setting; None where jobs run on this machine."""

    @wraps(command)
    def load(*arguments: Any, executor: str, **others: Any) -> Any:
        from rlpt.slurm.settings import SlurmSettings

        cluster = {name: others.pop(name) for name in SlurmSettings.model_fields}
        if executor == "slurm":
            return command(*arguments, cluster=cluster, **others)
        given = [name for name, value in cluster.items() if value is not None]
        if given:
            raise UsageError(f"--{given[0].replace('_', '-')}: only with --executor slurm")
        return command(*arguments, cluster=None, **others)

    return _executor_options(load)
