"""A short video of our own for the smoke profile, where the published clips may be out of reach."""

from pathlib import Path

import numpy as np

_FRAMES, _SIZE = 50, 64


def provide_synthetic_clip(path: Path) -> Path:
    """Draws a moving colour pattern as H.264 at `path`, unless it is there; returns the path."""
    if not path.exists():
        from rlpt.data.movies import write_movie

        rows, columns = np.mgrid[:_SIZE, :_SIZE]
        waves = [np.stack([rows + 3 * n, columns - 2 * n, rows + columns + n], axis=-1) for n in range(_FRAMES)]
        write_movie(path, [(127 + 127 * np.sin(wave / 9)).astype(np.uint8) for wave in waves], rate=25)
    return path
