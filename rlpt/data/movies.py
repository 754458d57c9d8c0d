"""Writing frames as a video file."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from rlpt.errors import UsageError
from rlpt.runs.files import whole_file

_ENDINGS = (".mp4", ".mkv", ".mov")
"Of containers that hold H.264."


def enlarged(frame: np.ndarray, times: int = 4) -> np.ndarray:
    """Repeats each pixel of uint8 [height, width, 3] in both directions."""
    return frame.repeat(times, axis=0).repeat(times, axis=1)


def require_movie_name(path: Path) -> None:
    """Raises UsageError if `write_movie` cannot write a file of that name."""
    if path.is_dir():
        raise UsageError(f"{path}: a folder: name a file in it")
    if path.suffix.lower() not in _ENDINGS:
        raise UsageError(f"{path}: a movie's name ends in {', '.join(_ENDINGS)}")


def write_movie(path: Path, frames: Sequence[np.ndarray], rate: Fraction | int) -> None:
    """Writes uint8 [height, width, 3] frames, of even height and width, as H.264 at `rate` frames a second."""
    import av

    with whole_file(path) as aside, av.open(str(aside), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width, _ = frames[0].shape
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # x264 encodes otherwise, and so writes other bytes, for every number
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
