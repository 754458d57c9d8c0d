"""Reading what run folders hold: tables of episodes, summaries, records."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rlpt.errors import UsageError
from rlpt.pipeline.jobs import Curve, Job
from rlpt.runs.checksums import PROVENANCE_FILE, damage, recorded_outputs

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


def require_whole(folder: Path, name: str) -> None:
    """Raises UsageError if a finished run's file is not what its job wrote."""
    recorded = recorded_outputs(folder).get(name)
    complaint = damage(folder / name, recorded) if recorded else "not among what this run wrote"
    if complaint:
        raise UsageError(f"{folder / name}: {complaint}: delete the run folder and run it again")


def read_json(path: Path) -> dict[str, Any]:
    """Returns a run folder's JSON file; empty if it is not there.

    Raises:
        UsageError: if it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}): make it readable") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: damaged ({error}): delete the run folder and run it again") from None
    return content if isinstance(content, dict) else {}


def session_seconds(path: Path) -> list[float]:
    """Returns how long each session of a finished run took; NaN where it was killed."""
    sessions = read_json(path / PROVENANCE_FILE).get("sessions", [])
    return [float(session.get("seconds", np.nan)) for session in sessions]
