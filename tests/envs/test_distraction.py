"""Green scenes, the chroma key and the video behind them."""

import colorsys
import hashlib
import threading

import numpy as np
import pytest
from dm_control import suite
from dm_control.suite import common
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rlpt.envs.distraction import chroma_key, chroma_key_by_hsv, composite, green_scene, hsv
from rlpt.envs.pixels import PixelEnvironment
from rlpt.settings import EnvironmentSettings
from tests.conftest import load_vectors

SMALL = EnvironmentSettings(size=32, shadows=False, reflections=False, multisampling=0)
GREEN = (51, 204, 51)  # .2 .8 .2
GRADIENTS_GREEN = (50, 203, 50)  # what MuJoCo makes of a gradient between two such colours

byte = st.integers(0, 255)


def test_composites_match_the_authors_bit_for_bit() -> None:
    vectors = load_vectors("chroma_a")
    frames, backgrounds, composited = (
        vectors[key].transpose(0, 2, 3, 1) for key in ("frame", "background", "composited")
    )
    np.testing.assert_array_equal(composite(frames, backgrounds), composited)
    for frame, background, expected in zip(frames, backgrounds, composited, strict=True):
        np.testing.assert_array_equal(composite(frame, background), expected)


def test_the_table_holds_the_rule_for_every_colour() -> None:
    colours = np.empty((256, 256, 3), np.uint8)
    colours[..., 1], colours[..., 2] = np.indices((256, 256))
    keyed, bits = 0, hashlib.sha256()
    for red in range(256):
        colours[..., 0] = red
        plain = chroma_key_by_hsv(colours)
        np.testing.assert_array_equal(chroma_key(colours), plain)
        keyed += int(plain.sum())
        bits.update(np.packbits(plain).tobytes())
    # Computed with Python's colorsys, colour by colour.
    assert keyed == 3_500_265
    assert bits.hexdigest() == "19d1beccae38e70c0223df1a475c68c5a2ac4ff5b2866fc1f41a96b4067f4b31"


@given(st.tuples(byte, byte, byte))
@example((0, 0, 0))
@example((7, 7, 7))
@example((70, 255, 25))
@example((10, 65, 70))  # a hue of exactly 185°, which floating point puts above it
@example((255, 0, 1))  # a negative angle before it is wrapped
def test_hsv_is_pythons(colour: tuple[int, int, int]) -> None:
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255.0 for channel in colour))
    expected = (hue * 360, saturation * 255, value * 255)
    ours = [float(channel) for channel in hsv(np.array(colour, np.uint8))]
    if len(set(colour)) > 1:
        assert ours == list(expected)
    keyed = 100 <= expected[0] <= 185 and 80 <= expected[1] <= 255 and 70 <= expected[2] <= 255
    assert chroma_key(np.array([colour], np.uint8)).tolist() == [keyed]


@given(arrays(np.uint8, (2, 3, 4, 3)), arrays(np.uint8, (3, 4, 3)))
def test_a_pixel_is_the_frames_or_the_backgrounds(frames: np.ndarray, background: np.ndarray) -> None:
    frames[0, 0] = GREEN
    before = frames.copy()
    result = composite(frames, background)
    np.testing.assert_array_equal(result, np.where(chroma_key_by_hsv(frames)[..., None], background, frames))
    np.testing.assert_array_equal(result[0, 0], background[0])
    np.testing.assert_array_equal(frames, before)
    channels_first = np.ascontiguousarray(frames[1].transpose(2, 0, 1))
    np.testing.assert_array_equal(composite(channels_first.transpose(1, 2, 0), background), result[1])


TASKS = ["cheetah-run", "reacher-easy", "walker-walk", "cartpole-swingup", "finger-spin", "swimmer-swimmer6"]


@pytest.mark.parametrize("name", TASKS)
def test_a_green_scene_gives_way_to_the_video(name: str) -> None:
    plain = PixelEnvironment(name, SMALL, seed=1)
    with green_scene():
        green = PixelEnvironment(name, SMALL, seed=1)
    plain.reset()
    green.reset()
    np.testing.assert_array_equal(plain.physics.get_state(), green.physics.get_state())
    assert chroma_key(plain.frame).mean() < 0.05
    key = chroma_key(green.frame)
    assert 0.5 < key.mean() < 1  # the robot stays

    background = np.random.default_rng(0).integers(0, 256, green.frame.shape, np.uint8)
    shown = composite(green.frame, background)
    np.testing.assert_array_equal(shown[key], background[key])
    np.testing.assert_array_equal(shown[~key], green.frame[~key])
    plain.close()
    green.close()


@pytest.mark.parametrize(("domain", "task"), [("walker", "walk"), ("cartpole", "swingup"), ("lqr", "lqr_2_1")])
def test_sky_and_floor_are_painted_and_nothing_else(domain: str, task: str) -> None:
    with green_scene():
        model = suite.load(domain, task, task_kwargs={"random": 0}).physics.model
    plain = suite.load(domain, task, task_kwargs={"random": 0}).physics.model
    assert {model.id2name(number, "texture") for number in range(model.ntex)} == {"skybox", "grid"}
    colours = model.tex_data.reshape(-1, 3)
    green = (colours == GREEN).all(axis=1)
    assert np.logical_or(green, (colours == GRADIENTS_GREEN).all(axis=1)).all()
    assert green[model.tex_adr[model.name2id("grid", "texture")] // 3 :].all()
    for same in ("mat_rgba", "mat_reflectance", "geom_rgba", "tex_width", "tex_height", "body_mass"):
        np.testing.assert_array_equal(getattr(model, same), getattr(plain, same))


def test_the_installed_scene_comes_back() -> None:
    installed, contents = common.ASSETS, dict(common.ASSETS)
    with pytest.raises(ZeroDivisionError), green_scene(), green_scene():
        assert contents != common.ASSETS
        raise ZeroDivisionError
    assert common.ASSETS is installed
    assert installed == contents


def test_green_scenes_of_threads_wait_for_each_other() -> None:
    installed, inside = common.ASSETS, threading.Event()

    def other() -> None:
        with green_scene():
            inside.set()

    thread = threading.Thread(target=other)
    with green_scene():
        thread.start()
        assert not inside.wait(0.05)
    thread.join(10)
    assert inside.is_set()
    assert common.ASSETS is installed
