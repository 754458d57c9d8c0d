"""Progress bars for people: rate and time left on a terminal, silence elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Report = Callable[[int, int, str], None]
"Called with how much is done in all, of how much, and a short note such as the last return."


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.1f}/s", style="progress.data.speed")


def progress_display(quiet: bool = False) -> Progress:
    """Returns bars with count, rate, time left and a note; draws nothing if stderr is no terminal or `quiet`."""
    hidden = quiet or sys.stderr is None or not sys.stderr.isatty()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True, quiet=hidden),
        disable=hidden,
    )


@contextmanager
def progress_bar(title: str, quiet: bool = False) -> Iterator[Report]:
    """Shows one bar while the block runs, and yields the function that moves it."""
    with progress_display(quiet) as display:
        task = display.add_task(title, total=None, note="")

        def report(done: int, total: int, note: str) -> None:
            display.update(task, completed=done, total=total, note=note)

        yield report
