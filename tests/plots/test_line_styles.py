"""Looks that tell conditions apart, and that stay the same."""

from rlpt.manifest import load_manifest
from rlpt.plots.line_styles import COLOURS, line_style, slots
from tests.conftest import REPOSITORY


def test_31_slots_look_different() -> None:
    styles = [line_style(slot) for slot in range(31)]
    assert len({(style.colour, str(style.dashes)) for style in styles}) == 31
    assert len({(style.colour, style.marker) for style in styles}) == 31
    assert [style.colour == COLOURS[0] for style in styles] == [True] + 30 * [False]


def test_the_first_slot_is_for_training_from_scratch() -> None:
    figure_8 = load_manifest(REPOSITORY / "experiments" / "fig08_ik.toml")
    assert slots(figure_8) == {"Baseline": 0, "IK cheetah": 1, "IK reacher": 2, "IK walker": 3}
    pretrained = load_manifest(REPOSITORY / "experiments" / "extra" / "small_ik.toml")
    assert list(slots(pretrained).values()) == [1]
