"""Decoding and scaling of videos; the published clips."""

import hashlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch.nn import functional

from rlpt.data import videos
from rlpt.data.clips import PUBLISHED_CLIPS, Clip
from rlpt.data.videos import fetch_videos, load_video
from rlpt.errors import UsageError
from tests.conftest import REFERENCE

FRAMES = np.random.default_rng(0).integers(0, 256, (40, 36, 48, 3), np.uint8)


def write_video(path: Path, frames: np.ndarray, codec: str = "libx264", pixels: str = "yuv420p") -> Path:
    """Writes uint8 [n, height, width, 3]; the file's suffix decides the container."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(25))
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        container.start_encoding()
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small H.264 video longer than the blocks in which frames are scaled."""
    return write_video(tmp_path_factory.mktemp("videos") / "clip.mp4", FRAMES)


def published_frames(path: Path, size: int) -> list[np.ndarray]:
    """Scales each frame by itself, as the published code does."""
    scaled = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            image = torch.from_numpy(np.moveaxis(frame.to_ndarray(format="rgb24"), -1, 0)).float().unsqueeze(0) / 255
            image = functional.interpolate(image, size=(size, size), mode="bilinear", align_corners=False)
            scaled.append(np.moveaxis((image * 255).byte().squeeze(0).numpy(), 0, -1))
    return scaled


@pytest.mark.parametrize("size", [1, 20, 50])
def test_frames_are_scaled_as_published(clip: Path, size: int) -> None:
    frames = load_video(clip, size)
    assert frames.shape == (40, size, size, 3)
    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(frames, published_frames(clip, size))


def test_pixels_keep_colour_and_place(tmp_path: Path) -> None:
    image = np.zeros((4, 8, 3), np.uint8)
    image[:2, :4], image[2:, 4:] = (255, 0, 0), (0, 0, 255)
    frames = load_video(write_video(tmp_path / "plain.mkv", np.stack([image] * 2), "ffv1", "bgr0"), 4)
    assert frames[1, 0, 0].tolist() == [255, 0, 0]
    assert frames[1, -1, -1].tolist() == [0, 0, 255]
    assert not frames[1, 0, -1].any()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.mp4: .*\(No such file or directory\); check the path"):
        load_video(tmp_path / "gone.mp4", 20)
    with pytest.raises(UsageError, match=r"\(Is a directory\); check the path"):
        load_video(tmp_path, 20)


def test_an_unreadable_file_is_refused(clip: Path, tmp_path: Path) -> None:
    contents = clip.read_bytes()
    zeros = bytes(len(contents) // 3)
    damaged = contents[: len(zeros)] + zeros + contents[2 * len(zeros) :]
    for broken in (b"", b"no video at all", contents[: len(contents) // 2], damaged):
        path = tmp_path / "broken.mp4"
        path.write_bytes(broken)
        with pytest.raises(UsageError, match=r"broken\.mp4: not readable as a video .*; get it again"):
            load_video(path, 20)


def test_a_video_that_ends_early_is_refused(tmp_path: Path) -> None:
    contents = write_video(tmp_path / "whole.avi", FRAMES, "mpeg4").read_bytes()
    path = tmp_path / "half.avi"
    path.write_bytes(contents[: contents.rindex(b"00dc", 0, len(contents) // 2)])  # where a frame begins
    with pytest.raises(UsageError, match=r"half\.avi: damaged, \d+ of its 40 frames can be read"):
        load_video(path, 20)


def test_a_clip_that_was_trimmed_without_encoding_it_is_whole(tmp_path: Path) -> None:
    """An edit list hides its first frames, which the file still counts."""
    whole, path = write_video(tmp_path / "whole.mp4", FRAMES, "libx264"), tmp_path / "trimmed.mp4"
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None and packet.pts is not None:
                assert packet.duration
                cut = 10 * packet.duration
                packet.pts, packet.dts, packet.stream = packet.pts - cut, packet.dts - cut, copy
                target.mux(packet)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == len(FRAMES)
    assert len(load_video(path, 20)) == len(FRAMES) - 10


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(UsageError, match=r"sound\.mp4: holds no video, only sound"):
        load_video(path, 20)


def test_a_video_without_frames_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "none.avi", FRAMES[:0], "rawvideo", "rgb24")
    with pytest.raises(UsageError, match=r"none\.avi: a video without frames"):
        load_video(path, 20)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 1), (1, 4)])
def test_the_smallest_video_has_two_pixels_a_side(tmp_path: Path, height: int, width: int) -> None:
    path = write_video(tmp_path / "tiny.mov", FRAMES[:3, :height, :width], "png", "rgb24")
    with pytest.raises(UsageError, match=rf"tiny\.mov: frames are {width} × {height} pixels; give .* at least 2 × 2"):
        load_video(path, 20)
    assert load_video(write_video(path, FRAMES[:3, :2, :2], "png", "rgb24"), 20).shape == (3, 20, 20, 3)


class FakeDownloader:
    """Stands in for pooch's; "downloads" the same bytes from everywhere."""

    urls: list[str] = []

    def __init__(self, timeout: float) -> None:
        assert timeout > 0

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        self.urls.append(url)
        Path(output_file).write_bytes(b"a clip")


@pytest.fixture
def two_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishes two clips, of which the second is what `FakeDownloader` brings."""
    for number, contents in enumerate((b"here already", b"a clip")):
        video = Clip(str(number), f"video{number}.mp4", hashlib.sha256(contents).hexdigest())
        monkeypatch.setitem(PUBLISHED_CLIPS, number, video)
    monkeypatch.setattr("pooch.HTTPDownloader", FakeDownloader)
    monkeypatch.setattr(FakeDownloader, "urls", [])


@pytest.mark.usefixtures("two_clips")
def test_only_missing_clips_are_downloaded(tmp_path: Path) -> None:
    (tmp_path / "video0.mp4").write_bytes(b"here already")
    for _ in range(2):
        paths = fetch_videos(tmp_path, (0, 1))
        assert paths == {0: tmp_path / "video0.mp4", 1: tmp_path / "video1.mp4"}
    assert paths[1].read_bytes() == b"a clip"
    assert FakeDownloader.urls == [
        "https://raw.githubusercontent.com/nicklashansen/dmcontrol-generalization-benchmark/main"
        "/src/env/data/video_hard/video1.mp4"
    ]


@pytest.mark.usefixtures("two_clips")
def test_what_is_not_the_published_clip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"https.*video0\.mp4: not the published clip .*by hand"):
        fetch_videos(tmp_path / "new", (0,))
    assert not list((tmp_path / "new").iterdir())
    (tmp_path / "video1.mp4").write_bytes(b"a clip, cut sh")
    with pytest.raises(UsageError, match=r"video1\.mp4: not the published clip \(SHA-256 .*\); delete it"):
        fetch_videos(tmp_path, (1,))
    assert (tmp_path / "video1.mp4").read_bytes() == b"a clip, cut sh"
    assert not FakeDownloader.urls[1:]


def test_without_a_network_the_place_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "_DOWNLOADS", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises(UsageError) as caught:
        fetch_videos(tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert f"cannot be downloaded from http://127.0.0.1:9/{PUBLISHED_CLIPS[0].file}" in message
    assert f"into {tmp_path} by hand" in message
    assert not list(tmp_path.iterdir())


def test_the_published_clips_are_what_the_checksums_say(tmp_path: Path) -> None:
    folder = REFERENCE / "videos"
    if not folder.is_dir():
        pytest.skip(f"the published clips are not here: {folder}")
    paths = fetch_videos(folder)
    assert list(paths) == [0, 1, 99]
    frames = load_video(paths[99], 20)
    assert frames.shape == (500, 20, 20, 3)
