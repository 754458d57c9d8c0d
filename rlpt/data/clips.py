"""Which video clips there are: the published ones by number, and anyone's by path."""

import re
from dataclasses import dataclass
from pathlib import Path

from rlpt.data.synthetic_clip import provide_synthetic_clip
from rlpt.errors import UsageError
from rlpt.runs.checksums import file_sha256
from rlpt.settings import NAME


@dataclass(frozen=True)
class Clip:
    """A video file; its content identifies it, not its place."""

    name: str
    file: str
    sha256: str
    path: Path | None = None
    "Where a user's own clip is; None: a published one, in the data folder."

    def locate(self, data: Path) -> Path:
        """Returns the file's path, checked.

        Raises:
            UsageError: if a published clip is not in the data folder or is something else.
        """
        path = self.path or data / "videos" / self.file
        if self is SYNTHETIC_CLIP:
            return provide_synthetic_clip(path)
        if self.path is None and not path.is_file():
            raise UsageError(f"{path}: not there: `rlpt data videos` downloads the published clips")
        if file_sha256(path) != self.sha256:
            raise UsageError(f"{path}: not the clip that was planned with (its SHA-256 differs): restore it")
        return path


# By the number under which the paper's published runs name them: H.264, 352 × 352, 25 frames a second, 20 s.
PUBLISHED_CLIPS = {
    number: Clip(str(number), f"video{number}.mp4", sha256)
    for number, sha256 in {
        0: "661cb56b3bac3935c899de6ab0ed43d482e1f0ce0deec1010e567f1f7fca9573",
        1: "13464fa6dcf2e253798b0909df138622047fa325bf7761f75b6893b46c23f986",
        99: "ae03438585411a3b7691c8ac870cb813722c26feb4f82a0a590cfc7db3f5f0d4",
    }.items()
}


SYNTHETIC_CLIP = Clip("synthetic", "synthetic.mp4", "drawn by rlpt, version 1")
"A moving pattern that rlpt draws itself where it is missing: for the smoke profile, not one of the paper's."


def find_clip(video: int | str, base: Path) -> Clip:
    """Returns the published clip of a number, "synthetic", or the file at a path relative to `base`.

    Raises:
        UsageError: if there is no such clip.
    """
    if isinstance(video, int):
        if video not in PUBLISHED_CLIPS:
            known = ", ".join(map(str, PUBLISHED_CLIPS))
            raise UsageError(f"no published clip has the number {video}: there are {known}; or give a file's path")
        return PUBLISHED_CLIPS[video]
    if video == SYNTHETIC_CLIP.name:
        return SYNTHETIC_CLIP
    path = base / video
    if not re.fullmatch(NAME, path.stem):
        raise UsageError(
            f"{video}: a clip's name becomes part of its runs': rename the file to letters, digits, '.', '_' and '-'"
        )
    return Clip(path.stem, path.name, file_sha256(path), path)
