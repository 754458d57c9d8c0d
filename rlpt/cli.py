"""The `rlpt` command: its errors, and its list of commands (rlpt/commands/).

Everything slow to import (PyTorch, dm_control, matplotlib) is imported by the functions that use it.
"""

import io
import sys
from typing import Any

import click

from rlpt import __version__
from rlpt.commands import cluster, figures, inputs, machine, planning, records, stages
from rlpt.errors import BUSY_STATUS, Busy, JobError, UsageError, trouble


class _Commands(click.Group):
    """Lists commands in the order of work, and turns errors that users can mend into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # what a terminal's encoding lacks becomes a question mark
                stream.reconfigure(errors="replace")
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Busy as error:
            click.echo(f"rlpt: {error}", err=True)
            ctx.exit(BUSY_STATUS)
        except (UsageError, JobError) as error:
            if ctx.params.get("debug"):
                raise
            click.echo(f"rlpt: {error}", err=True)
            ctx.exit(2 if isinstance(error, UsageError) else 1)
        except KeyboardInterrupt:
            click.echo("rlpt: interrupted; run the same command again to go on", err=True)
            ctx.exit(130)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # a pipe that nobody reads any more, as after `| head`, ends the command quietly
        except OSError as error:
            if ctx.params.get("debug"):
                raise
            click.echo(f"rlpt: {trouble(error)}", err=True)
            ctx.exit(2)
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            line = str(error).splitlines()[0] if str(error) else ""
            click.echo(f"rlpt: {type(error).__name__}: {line} (--debug before the command shows where)", err=True)
            ctx.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rlpt")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def main(debug: bool) -> None:
    """Does pretraining help pixel-based reinforcement learning, and is it worth its environment steps?

    A manifest (a TOML file in experiments/) says which environments, conditions and seeds to compare. Stages build on
    each other: generate → pretrain → train → plot; `rlpt run` does all of them, and only what is missing.

    \b
    Examples:
      rlpt doctor                              is this machine ready?
      rlpt plan experiments/fig08_ik.toml      what would run, how large it gets
      rlpt run experiments/demo.toml --jobs 2  the central comparison, in minutes
      rlpt train experiments/fig08_ik.toml --profile lite \\
        --env reacher-easy --condition baseline --seed 37
    """


for _command in (
    machine.doctor,
    planning.plan,
    stages.generate,
    stages.pretrain,
    stages.train,
    stages.run,
    planning.status,
    cluster.cancel,
    figures.plot,
    figures.report,
    records.show,
    records.play,
    records.verify,
    records.export,
    records.collect,
    machine.bench,
    inputs.data,
):
    main.add_command(_command)
