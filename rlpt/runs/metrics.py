"""Metrics on disk: CSV files to compare and plot, and the same numbers for TensorBoard."""

import csv
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from torch.utils.tensorboard import SummaryWriter

from rlpt.errors import UsageError
from rlpt.runs.files import FULL_DISK


def _without_full_disks(hook: Callable[[threading.ExceptHookArgs], object]) -> Callable[..., object]:
    """Passes on what threads raise, but for a full disk: TensorBoard's thread meets it too, and the job says so."""

    def handle(thread: threading.ExceptHookArgs) -> None:
        if not (isinstance(thread.exc_value, OSError) and thread.exc_value.errno in FULL_DISK):
            hook(thread)

    return handle


class MetricsWriter:
    """Appends rows to `<folder>/<table>.csv` and scalars to `<folder>/tensorboard/`. Use as a context manager.

    The CSV files hold no wall-clock time, so that two runs of one job can be compared byte by byte.
    """

    def __init__(
        self,
        folder: Path,
        tables: Mapping[str, Sequence[str]],
        resumed: Mapping[str, int] | None = None,
        step: int = 0,
    ) -> None:
        """Begins the files of `tables`, or goes on with them.

        Args:
            folder: where they are.
            tables: name → columns, after the step that every row begins with.
            resumed: what `state` returned; rows that were written after it are cut off.
            step: the last one that may have rows already.
        """
        self._files = {name: (folder / f"{name}.csv").open("a", newline="", encoding="utf-8") for name in tables}
        self._writers = {
            name: csv.DictWriter(self._files[name], ["step", *columns], lineterminator="\n")
            for name, columns in tables.items()
        }
        for name, file in self._files.items():
            if resumed and os.fstat(file.fileno()).st_size < resumed[name]:
                raise UsageError(
                    f"{file.name}: rows are missing that the checkpoint knows of: delete its folder, and the job "
                    "starts anew"
                )
            file.truncate(resumed[name] if resumed else 0)
            if not resumed:
                self._writers[name].writeheader()
                file.flush()
        # TensorBoard leaves out what an interrupted process wrote for later steps.
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if resumed else 0)

    def __enter__(self) -> Self:
        self._hook = threading.excepthook
        threading.excepthook = _without_full_disks(self._hook)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()
        self._board.close()
        threading.excepthook = self._hook

    def state(self) -> dict[str, int]:
        """Returns the length of each file, with all rows safely on disk."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        return {name: os.fstat(file.fileno()).st_size for name, file in self._files.items()}

    def row(self, table: str, step: int, values: Mapping[str, float]) -> None:
        """Adds a row; a column without a value stays empty."""
        self._writers[table].writerow({"step": step, **values})
        self._files[table].flush()
        for name, value in values.items():
            self._board.add_scalar(f"{table}/{name}", value, step)
