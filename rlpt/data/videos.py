"""Video clips as arrays of small frames, and the download of the published ones (Figures 9 and 10)."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from rlpt.data.clips import PUBLISHED_CLIPS
from rlpt.errors import UsageError
from rlpt.runs.checksums import file_sha256
from rlpt.runs.files import whole_file

_FRAMES_SCALED_AT_ONCE = 32

_REPOSITORY = "nicklashansen/dmcontrol-generalization-benchmark"
_FOLDER = "src/env/data/video_hard"
_DOWNLOADS = f"https://raw.githubusercontent.com/{_REPOSITORY}/main/{_FOLDER}"
_DOWNLOAD_TIMEOUT_SECONDS = 30.0

_GET_AGAIN = "get it again or encode it anew"


def load_video(path: Path, size: int) -> np.ndarray:
    """Returns all frames of a video, scaled: uint8 [frames, size, size, 3].

    Scaling is the published code's: bilinear, in 0...1, then · 255 and cut off to whole numbers.

    Raises:
        UsageError: if there is no such file or it is not a video that can be read to its end.
    """
    images = _decoded_images(path)
    blocks = []
    while block := list(islice(images, _FRAMES_SCALED_AT_ONCE)):
        blocks.append(_scale(np.stack(block), size))
    return np.concatenate(blocks)


def _decoded_images(path: Path) -> Iterator[np.ndarray]:
    """Yields a video's frames in order, uint8 [height, width, 3], at least one and all of one shape."""
    import av

    count = discarded = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UsageError(f"{path}: holds no video, only sound or other data; give a file with moving pictures")
            stream = container.streams.video[0]
            declared, shape = stream.frames, (stream.height, stream.width, 3)
            if min(shape[:2]) < 2:
                raise UsageError(f"{path}: frames are {shape[1]} × {shape[0]} pixels; give a video of at least 2 × 2")
            for packet in container.demux(stream):
                discarded += packet.is_discard  # cut off by an edit list, as when a clip is trimmed without encoding it
                for frame in packet.decode():
                    count += 1
                    image = frame.to_ndarray(format="rgb24")
                    if image.shape != shape:
                        raise UsageError(
                            f"{path}: the frames' size changes at frame {count}; encode it anew with one size"
                        )
                    yield image
    except (av.FFmpegError, OSError, ValueError) as error:  # metadata that is no text is a ValueError
        reason = getattr(error, "strerror", None) or type(error).__name__
        remedy = _GET_AGAIN if path.is_file() else "check the path"
        raise UsageError(f"{path}: not readable as a video ({reason}); {remedy}") from None
    if count == 0:
        raise UsageError(f"{path}: a video without frames; {_GET_AGAIN}")
    if count < declared - discarded:
        raise UsageError(f"{path}: damaged, {count} of its {declared - discarded} frames can be read; {_GET_AGAIN}")


def _scale(images: np.ndarray, size: int) -> np.ndarray:
    """Scales uint8 [n, height, width, 3] to [n, size, size, 3]."""
    import torch
    from torch.nn import functional

    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    scaled = functional.interpolate(pixels, size=(size, size), mode="bilinear", align_corners=False)
    return (scaled * 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def fetch_videos(folder: Path, numbers: Iterable[int] = tuple(PUBLISHED_CLIPS)) -> dict[int, Path]:
    """Makes sure that published clips lie whole in `folder`, downloads those that are missing, and returns their paths.

    Raises:
        UsageError: if a file of that name is something else, or a download fails.
    """
    paths = {number: folder / PUBLISHED_CLIPS[number].file for number in numbers}
    for number, path in paths.items():
        expected = PUBLISHED_CLIPS[number].sha256
        if path.exists():
            _check(path, expected, f"{path}: not the published clip", "delete it, and it is downloaded again")
        else:
            _download(path, expected)
    return paths


def _download(path: Path, expected: str) -> None:
    import pooch  # type: ignore[import-untyped]

    url = f"{_DOWNLOADS}/{path.name}"
    by_hand = f"put {path.name} from github.com/{_REPOSITORY} ({_FOLDER}) into {path.parent} by hand"
    try:
        with whole_file(path) as aside:
            pooch.HTTPDownloader(timeout=_DOWNLOAD_TIMEOUT_SECONDS)(url, str(aside), None)
            _check(aside, expected, f"{url}: not the published clip", by_hand)
    except OSError as error:  # all of requests' errors are ones
        reason = error.strerror or type(error).__name__
        raise UsageError(f"{path}: cannot be downloaded from {url} ({reason}); {by_hand}") from None


def _check(path: Path, expected: str, complaint: str, remedy: str) -> None:
    found = file_sha256(path)
    if found != expected:
        raise UsageError(f"{complaint} (SHA-256 {found[:12]}…, expected {expected[:12]}…); {remedy}")
