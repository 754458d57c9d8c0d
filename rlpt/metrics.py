"""Metrics on disk: CSV files to compare and plot, and the same numbers for TensorBoard."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from torch.utils.tensorboard import SummaryWriter


class MetricsWriter:
    """Appends rows to `<folder>/<table>.csv` and scalars to `<folder>/tensorboard/`. Use as a context manager.

    The CSV files hold no wall-clock time, so that two runs of one job can be compared byte by byte.
    """

    def __init__(self, folder: Path, tables: Mapping[str, Sequence[str]]) -> None:
        """Begins the files of `tables` (name → columns, after the step that every row begins with)."""
        self._files = {name: (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") for name in tables}
        self._writers = {
            name: csv.DictWriter(self._files[name], ["step", *columns], lineterminator="\n")
            for name, columns in tables.items()
        }
        for name, writer in self._writers.items():
            writer.writeheader()
            self._files[name].flush()
        self._board = SummaryWriter(str(folder / "tensorboard"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()
        self._board.close()

    def row(self, table: str, step: int, values: Mapping[str, float]) -> None:
        """Adds a row; a column without a value stays empty."""
        self._writers[table].writerow({"step": step, **values})
        self._files[table].flush()
        for name, value in values.items():
            self._board.add_scalar(f"{table}/{name}", value, step)
