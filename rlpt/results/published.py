"""The authors' own numbers: a digest of the logs in their public repository (ssss1029/DeepRL_Pretraining).

The digest is four CSV files, in paper_figures/published/; `paper_figures/digest_published.py` derives it from the logs.
"""

from collections.abc import Hashable, Mapping
from pathlib import Path

import pandas as pd

from rlpt.checkout import ROOT
from rlpt.errors import UsageError
from rlpt.results.records import Classifier, DataSet, Encoder, Run

FOLDER = ROOT / "paper_figures" / "published"
IMAGENET_EPOCH = 400
"Whose encoder the authors used; of 100 classes."
FLOOR = 1 / 3
"Mean squared error of predicting 0 for actions that are uniform in [-1, 1]."
_LABELS = {
    "baseline": "Baseline", "imagenet": "ImageNet", "ik": "IK",
    "ik-cheetah": "IK cheetah", "ik-reacher": "IK reacher", "ik-walker": "IK walker",
    "t0": "T = 0", "t5000": "T = 5,000", "t10000": "T = 10,000", "t20000": "T = 20,000",
}  # fmt: skip
KEYS = ["figure", "environment", "condition", "video", "seed"]
"Columns that name a run."
_FILES = ("runs", "curves", "ik_encoders", "imagenet")


def load_published(folder: Path = FOLDER) -> DataSet:
    """Reads the digest: every run of the authors, and their encoders.

    Figure 11's curves for T = 0 are Figure 8's baselines, as in the paper.

    Raises:
        UsageError: if a file of it is missing.
    """
    text: dict[Hashable, str] = {"video": "string", "pretrain_environment": "string", "pretrain_steps": "Int64"}
    tables = {name: read_table(folder / f"{name}.csv", text) for name in _FILES}
    encoders = [_encoder(row) for _, row in tables["ik_encoders"].fillna({"video": ""}).iterrows()]
    by_key = {(each.environment, each.transitions, each.video): each for each in encoders}
    points = dict(tuple(tables["curves"].fillna({"video": ""}).groupby(KEYS)))
    runs = []
    for _, row in tables["runs"].fillna({"video": "", "pretrain_environment": ""}).iterrows():
        curve = points[tuple(row[KEYS])].reset_index(drop=True)[["step", "return", "smoothed"]]
        encoder = None
        if row["pretrain"] == "ik":
            encoder = by_key[row["pretrain_environment"], int(row["pretrain_steps"]), row["video"]]
        for figure, condition in _places(int(row["figure"]), row["condition"]):
            runs.append(_run(row, figure, condition, curve, encoder))
    order = list(_LABELS)
    runs.sort(key=lambda run: (run.figure, run.environment, order.index(run.condition), run.seed, int(run.video or 0)))
    encoders.sort(key=lambda each: (each.environment, each.video, each.transitions))
    used = tables["imagenet"].set_index("epoch").loc[IMAGENET_EPOCH]
    classifier = Classifier("grouping", "grouped", 0, float(used["val_top1"]) / 100, 1 / 100)
    return DataSet("Authors' logs", "", tuple(runs), tuple(encoders), (classifier,), len(tables["runs"]))


def _places(figure: int, condition: str) -> list[tuple[int, str]]:
    own = (figure, condition)
    return [own, (11, "t0")] if own == (8, "baseline") else [own]


def _run(row: pd.Series, figure: int, condition: str, curve: pd.DataFrame, encoder: Encoder | None) -> Run:
    t0 = "_t0" if (figure, condition) == (11, "t0") else ""
    scores = {"final": float(row["final"])} | {name: float(row[f"{name}{t0}"]) for name in ("auc", "early")}
    return Run(
        figure=figure,
        manifest="",
        environment=row["environment"],
        condition=condition,
        label=_LABELS[condition],
        pretrained=row["pretrain"] != "none",
        seed=int(row["seed"]),
        video=row["video"],
        steps=int(row["steps"]),
        shared_steps=int(row[f"shared_steps{t0}"]),
        scores=scores,
        curve=curve,
        encoder=encoder,
        hours=float(row["gpu_hours"]),
        steps_per_second=1_000 / float(row["ms_per_step"]),
    )


def _encoder(row: pd.Series) -> Encoder:
    return Encoder(
        environment=row["environment"],
        transitions=int(row["pretrain_steps"]),
        video=row["video"],
        epochs=int(row["epoch"]),
        test_mse=float(row["test_mse"]),
        floor=FLOOR,
    )


def read_table(path: Path, types: Mapping[Hashable, str]) -> pd.DataFrame:
    """Reads a CSV file, its columns as `types` where they say so.

    Raises:
        UsageError: if it is missing.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file; paper_figures/published/README.md says what belongs there")
    return pd.read_csv(path, dtype=types)
