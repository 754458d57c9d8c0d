"""Reading what run folders hold: names of files, tables of episodes."""

from pathlib import Path

import numpy as np
import pandas as pd

from rlpt.errors import UsageError
from rlpt.pipeline.jobs import Curve, Job

EPISODES_FILE, EPOCHS_FILE, SUMMARY_FILE = "episodes.csv", "epochs.csv", "summary.json"


def episodes_folder(job: Job, runs: Path) -> Path | None:
    """Returns where a training run's episodes are, finished or not; None if it has not begun."""
    path = job.folder(runs).newest()
    return path if (path / EPISODES_FILE).is_file() else None


def read_returns(curve: Curve, folder: Path, smoothing: int) -> pd.DataFrame:
    """Reads a run's episodes.csv.

    Args:
        curve: which run.
        folder: its own folder, finished or not.
        smoothing: length of the moving average in episodes; at the start over as many as there are.

    Returns:
        Columns step, return, smoothed, environment, condition (its label) and seed; one row an episode.
    """
    path = folder / EPISODES_FILE
    try:
        table = pd.read_csv(path, usecols=["step", "return"], dtype={"step": np.int64, "return": np.float64})
        if not np.isfinite(table["return"]).all():
            raise ValueError("a return is not finite")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}): make it readable") from None
    except ValueError as error:
        raise UsageError(f"{path}: damaged ({error}): delete the run folder and run it again") from None
    smoothed = table["return"].rolling(smoothing, min_periods=1).mean()
    return table.assign(smoothed=smoothed, environment=curve.environment, condition=curve.label, seed=curve.seed)
