"""Image folders for tests of what reads them."""

from pathlib import Path

import pytest

from rlpt.data.synthetic_images import write_synthetic_folder

CLASSES = ("n00000001", "n00000002", "n00000003")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of stripes: four images each to train on, two to validate on."""
    write_synthetic_folder(tmp_path / "images", CLASSES, train_images=4, val_images=2)
    return tmp_path / "images"
