"""Settings: which values go together."""

import pytest

from rlpt.settings import EncoderSettings, Settings


def test_groups_need_not_fit_where_no_layer_is_grouped() -> None:
    encoder = EncoderSettings(filters=10, groups=4, grouped_layers=0)
    assert encoder.groups_of(0) == 1
    assert Settings(encoder=encoder).encoder == encoder


def test_a_crop_leaves_something_after_all_layers() -> None:
    """Each of the eleven takes a pixel from every side, the first after halving."""
    assert EncoderSettings(crop=43).output_size == 1
    with pytest.raises(ValueError, match="leave nothing of a crop of 42"):
        EncoderSettings(crop=42)
