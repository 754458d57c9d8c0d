"""Metrics on disk: CSV files to compare and plot, and the same numbers for TensorBoard."""

import csv
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self


class MetricsWriter:
    """Appends rows to `<folder>/<table>.csv` and scalars to `<folder>/tensorboard/`. Use as a context manager.

    The CSV files hold no wall-clock time, so that two runs of one job can be compared byte by byte.
    """

    def __init__(self, folder: Path, tensorboard: bool = True) -> None:
        """Opens nothing yet but TensorBoard's event file."""
        self._folder = folder
        self._files: dict[str, IO[str]] = {}
        self._columns: dict[str, list[str]] = {}
        self._board = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"))  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()
        if self._board:
            self._board.close()  # type: ignore[no-untyped-call]

    def row(self, table: str, step: int, values: Mapping[str, float]) -> None:
        """Adds a row; the first row of a table decides its columns, and a value that is missing later stays empty."""
        row = {"step": step, **values}
        if table not in self._files:
            self._files[table] = (self._folder / f"{table}.csv").open("w", newline="", encoding="utf-8")
            self._columns[table] = list(row)
            csv.writer(self._files[table], lineterminator="\n").writerow(row)
        writer = csv.DictWriter(self._files[table], self._columns[table], lineterminator="\n")
        writer.writerow(row)
        self._files[table].flush()
        if self._board:
            for name, value in values.items():
                self._board.add_scalar(f"{table}/{name}", value, step)  # type: ignore[no-untyped-call]
