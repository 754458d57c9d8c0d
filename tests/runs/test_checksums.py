"""Checksums of what a run wrote."""

from pathlib import Path

from rlpt.runs.checksums import checksums
from rlpt.runs.files import write_text


def test_what_is_hidden_in_a_run_is_no_output_of_it(tmp_path: Path) -> None:
    """Such as what a kill has left, where it cannot be deleted."""
    for name in ("a.csv", ".hidden", "tensorboard/events", ".rlpt-a-0a1b2c3d/a.csv"):
        write_text(tmp_path / name, "x")
    assert set(checksums(tmp_path)) == {"a.csv", "tensorboard/events"}
