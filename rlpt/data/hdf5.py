"""HDF5 files that appear whole or not at all, also when the disk fills up."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from rlpt.runs.files import whole_file


@contextmanager
def whole_hdf5(path: Path) -> Iterator[h5py.File]:
    """Yields a new file; when the block ends well it becomes `path`, else it vanishes.

    Raises:
        OSError: if it cannot be written, for example because the disk is full.
    """
    with whole_file(path) as aside, _ForgivingFile(aside, "r+") as file:
        with h5py.File(file, "w") as container:
            yield container
        if file.error:
            raise file.error


class _ForgivingFile(io.FileIO):
    """Keeps its first error for later: the HDF5 library crashes the whole process when it cannot write."""

    error: OSError | None = None

    def write(self, content: Any) -> int:
        """Writes everything, or pretends to."""
        left = memoryview(content).cast("B")
        try:
            while len(left) and not self.error:
                left = left[super().write(left) :]
        except OSError as error:
            self.error = error
        return len(content)

    def truncate(self, size: int | None = None) -> int:
        """Sets the file's length, or pretends to."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0
