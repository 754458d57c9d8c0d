"""Distracting backgrounds (Figures 9 and 10): sky and floor are painted green, and a video takes the green's place.

The rule is "video_hard" of the DMControl Generalization Benchmark (nicklashansen/dmcontrol-generalization-benchmark),
on which the paper's code builds.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from xml.etree import ElementTree

import numpy as np

# Hue in degrees, saturation and value in 0...255; bounds included.
_KEY_BOUNDS = ((100, 185), (80, 255), (70, 255))

_GREEN = ".2 .8 .2"
# The suite's shared files of a scene, and the texture in each that is painted.
_PAINTED_TEXTURES = {"./common/skybox.xml": "skybox", "./common/materials.xml": "grid"}
_assets_lock = threading.RLock()


def hsv(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Converts uint8 RGB [..., 3] to hue in degrees, saturation and value in 0...255, each float64 [...].

    The arithmetic is that of Python's `colorsys`, operation for operation. The hue of grey and the saturation of black
    are NaN.
    """
    red, green, blue = (images[..., channel] / 255.0 for channel in range(3))
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    with np.errstate(invalid="ignore"):  # grey
        saturation = chroma / value
        from_red, from_green, from_blue = ((value - colour) / chroma for colour in (red, green, blue))
        sixths = np.where(
            red == value,
            from_blue - from_green,
            np.where(green == value, 2.0 + from_red - from_blue, 4.0 + from_green - from_red),
        )
        hue = sixths / 6.0 % 1.0
    return hue * 360, saturation * 255, value * 255


def chroma_key_by_hsv(images: np.ndarray) -> np.ndarray:
    """Returns, as bool [...], which pixels of uint8 RGB [..., 3] are keyed out, by the published rule itself.

    These are the ones with hue 100...185°, saturation 80...255 and value 70...255, bounds included. The reference
    for `chroma_key`, which is faster.
    """
    keyed = np.ones(images.shape[:-1], np.bool_)
    for channel, (low, high) in zip(hsv(images), _KEY_BOUNDS, strict=True):
        keyed &= (channel >= low) & (channel <= high)
    return keyed


@cache
def _keyed_colours() -> np.ndarray:
    """The rule's answer for every colour: bool [2^24], at red · 2^16 + green · 2^8 + blue.

    An inequality in integers would differ: 4,711 colours whose hue is exactly 100° or 185° are not keyed, because
    floating point puts them just outside of the bounds.
    """
    table = np.empty((256, 256, 256), np.bool_)
    colours = np.empty((256, 256, 3), np.uint8)
    colours[..., 1], colours[..., 2] = np.indices((256, 256))
    for red in range(256):
        colours[..., 0] = red
        table[red] = chroma_key_by_hsv(colours)
    return table.reshape(-1)


def chroma_key(images: np.ndarray) -> np.ndarray:
    """Returns what `chroma_key_by_hsv` does, from a table of all colours (16 MiB, built at the first call)."""
    colour = images[..., 0].astype(np.uint32)
    for channel in (1, 2):
        colour <<= 8
        colour |= images[..., channel]
    return _keyed_colours().take(colour)


def composite(frames: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Returns a copy of `frames` whose keyed pixels are the background's.

    Both are uint8 RGB [..., height, width, 3]; the background's shape may be one that broadcasts.
    """
    result = np.array(frames, order="C")
    np.copyto(_whole_pixels(result), _whole_pixels(background), where=chroma_key(frames))
    return result


def _whole_pixels(images: np.ndarray) -> np.ndarray:
    """Views [..., 3] bytes as [...] elements of three bytes, which copy several times faster under a mask."""
    return np.ascontiguousarray(images).view("V3")[..., 0]


@contextmanager
def green_scene() -> Iterator[None]:
    """Within the block, suite tasks are loaded with a sky and a floor of colour (.2, .8, .2), including their marks.

    Wrap it around `suite.load`: textures are drawn when the model is compiled, so a scene keeps its colours after the
    block. It exchanges the files that the suite's models share, in memory. Blocks of several threads wait for each
    other, but a thread that loads a task outside of such a block while another is inside gets a green one as well.
    The fish's sky is its own and stays blue, as in the published code.
    """
    from dm_control.suite import common

    with _assets_lock:
        installed = common.ASSETS
        painted = {file: _paint(installed[file], texture) for file, texture in _PAINTED_TEXTURES.items()}
        common.ASSETS = {**installed, **painted}
        try:
            yield
        finally:
            common.ASSETS = installed


def _paint(model: bytes, texture: str) -> bytes:
    """Returns the MJCF `model` with all colours of `texture` green."""
    tree = ElementTree.fromstring(model)
    element = tree.find(f".//texture[@name='{texture}']")
    if element is None:
        raise LookupError(f"this version of dm_control has no shared texture {texture!r}")
    for attribute in ("rgb1", "rgb2", "markrgb"):
        element.set(attribute, _GREEN)
    return ElementTree.tostring(tree)
