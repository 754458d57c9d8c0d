"""Tables that are gone on with."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rlpt.errors import UsageError
from rlpt.runs.metrics import MetricsWriter

TABLES = {"updates": ("loss",)}


def test_rows_after_the_checkpoint_are_cut_off_and_missing_ones_refused(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, TABLES) as metrics:
        metrics.row("updates", 1, {"loss": 0.5})
        state = metrics.state()
        metrics.row("updates", 2, {"loss": 0.4})
    path = tmp_path / "updates.csv"
    with MetricsWriter(tmp_path, TABLES, state, 1) as metrics:
        metrics.row("updates", 2, {"loss": 0.3})
    assert path.read_text() == "step,loss\n1,0.5\n2,0.3\n"
    path.write_text("step,loss\n")
    with pytest.raises(UsageError, match=r"updates\.csv: rows are missing that the checkpoint knows of"):
        MetricsWriter(tmp_path, TABLES, state, 1)
    assert path.read_text() == "step,loss\n"


def test_tensorboard_forgets_what_an_interrupted_process_wrote_later(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, TABLES) as metrics:
        metrics.row("updates", 1, {"loss": 0.5})
        state = metrics.state()
        for step in (2, 3):
            metrics.row("updates", step, {"loss": 0.5})
    with MetricsWriter(tmp_path, TABLES, state, 1) as metrics:
        metrics.row("updates", 2, {"loss": 0.25})
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in board.Scalars("updates/loss")] == [(1, 0.5), (2, 0.25)]
