"""The authors' own numbers: a digest of the logs in their public repository (ssss1029/DeepRL_Pretraining).

The digest is four CSV files, in paper_figures/published/; `paper_figures/digest_published.py` derives it from the logs.
"""

from collections.abc import Hashable, Mapping
from pathlib import Path

import pandas as pd

from rlpt.checkout import ROOT
from rlpt.errors import UsageError
from rlpt.results.records import Classifier, DataSet, Encoder, Run
from rlpt.runs.files import whole_file
from rlpt.stats import area_under_curve, early_score, final_score

FOLDER = ROOT / "paper_figures" / "published"
SMOOTHING = 15
"Length of the moving average in the paper's figures, in episodes."
STRIDE = 10
"Every tenth point of a curve is kept."
SHOWN_STEPS = 80_000
"Agent steps that the paper shows of longer runs."
SHARED_STEPS = 60_000
"""Agent steps that all conditions of Figure 11 train for, also T = 20,000: what their AUC and early score are over."""
IMAGENET_EPOCH = 400
"Whose encoder the authors used; of 100 classes."
FLOOR = 1 / 3
"Mean squared error of predicting 0 for actions that are uniform in [-1, 1]."
_TASKS = {"cheetah": "cheetah-run", "reacher": "reacher-easy", "walker": "walker-walk"}
_LABELS = {
    "baseline": "Baseline", "imagenet": "ImageNet", "ik": "IK",
    "ik-cheetah": "IK cheetah", "ik-reacher": "IK reacher", "ik-walker": "IK walker",
    "t0": "T = 0", "t5000": "T = 5,000", "t10000": "T = 10,000", "t20000": "T = 20,000",
}  # fmt: skip
_KEYS = ["figure", "environment", "condition", "video", "seed"]
_FILES = ("runs", "curves", "ik_encoders", "imagenet")


def digest(logs: Path) -> dict[str, pd.DataFrame]:
    """Reads the authors' logs and returns the digest's tables by name.

    Args:
        logs: a folder with published_episodes.csv, published_runs.csv, published_ik_losses.csv and
            published_imagenet_training.csv.

    Raises:
        UsageError: if one of them is missing.
    """
    text: dict[Hashable, str] = {"video": "string", "pretrain_steps": "Int64"}
    episodes = _rename(_read(logs / "published_episodes.csv", text))
    costs = _rename(_read(logs / "published_runs.csv", text))[[*_KEYS, "gpu_hours", "ms_per_step"]]
    runs, curves = [], []
    for _, run in episodes[episodes["step"] <= SHOWN_STEPS].groupby(_KEYS, sort=False):
        returns = run["reward"].to_numpy()
        smoothed = run["reward"].rolling(SMOOTHING, min_periods=1).mean()
        first = run.iloc[0]
        shared = run.loc[run["step"] <= SHARED_STEPS, "reward"].to_numpy()
        is_t0 = (first["figure"], first["condition"]) == (8, "baseline")
        scored = shared if first["figure"] == 11 else returns
        runs.append(
            {
                **first[[*_KEYS, "pretrain", "pretrain_environment", "pretrain_steps"]],
                "episodes": len(run),
                "steps": run["step"].iloc[-1],
                "final": round(final_score(returns), 2),
                "auc": round(area_under_curve(scored), 2),
                "early": round(early_score(scored), 2),
                "auc_t0": round(area_under_curve(shared), 2) if is_t0 else None,
                "early_t0": round(early_score(shared), 2) if is_t0 else None,
            }
        )
        kept = run.assign(smoothed=smoothed.round(2))[STRIDE - 1 :: STRIDE]
        curves.append(kept[[*_KEYS, "step", "reward", "smoothed"]].rename(columns={"reward": "return"}))
    table = pd.DataFrame(runs).merge(costs, on=_KEYS, validate="one_to_one").sort_values(_KEYS)
    losses = _read(logs / "published_ik_losses.csv", text).rename(
        columns={"env": "environment", "test_r2_vs_zero": "test_r2"}
    )
    losses["environment"] = losses["environment"].map(_TASKS)
    imagenet = _read(logs / "published_imagenet_training.csv", {})
    imagenet = imagenet.rename(columns=lambda name: name.replace("acc", "top"))
    return {
        "runs": table,
        "curves": pd.concat(curves).sort_values([*_KEYS, "step"]),
        "ik_encoders": losses.fillna({"video": ""}),
        "imagenet": imagenet[imagenet["epoch"] % STRIDE == 0],
    }


def write_digest(logs: Path, folder: Path = FOLDER) -> list[Path]:
    """Writes the digest of `logs` as CSV files into `folder` and returns their paths."""
    paths = []
    for name, table in digest(logs).items():
        paths.append(folder / f"{name}.csv")
        with whole_file(paths[-1]) as aside:
            table.to_csv(aside, index=False, lineterminator="\n")
    return paths


def load_published(folder: Path = FOLDER) -> DataSet:
    """Reads the digest: every run of the authors, and their encoders.

    Figure 11's curves for T = 0 are Figure 8's baselines, as in the paper.

    Raises:
        UsageError: if a file of it is missing.
    """
    text: dict[Hashable, str] = {"video": "string", "pretrain_environment": "string", "pretrain_steps": "Int64"}
    tables = {name: _read(folder / f"{name}.csv", text) for name in _FILES}
    encoders = [_encoder(row) for _, row in tables["ik_encoders"].fillna({"video": ""}).iterrows()]
    by_key = {(each.environment, each.transitions, each.video): each for each in encoders}
    points = dict(tuple(tables["curves"].fillna({"video": ""}).groupby(_KEYS)))
    runs = []
    for _, row in tables["runs"].fillna({"video": "", "pretrain_environment": ""}).iterrows():
        curve = points[tuple(row[_KEYS])].reset_index(drop=True)[["step", "return", "smoothed"]]
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
    column = "{}_t0" if (figure, condition) == (11, "t0") else "{}"
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
        scores={"final": float(row["final"])} | {name: float(row[column.format(name)]) for name in ("auc", "early")},
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
        train_mse=float(row["train_mse"]),
        test_mse=float(row["test_mse"]),
        floor=FLOOR,
    )


def _rename(table: pd.DataFrame) -> pd.DataFrame:
    """Translates the authors' columns to the manifests' names of environments and conditions."""
    table = table.assign(
        environment=table["env"].map(_TASKS),
        pretrain_environment=table["pretrain_env"].map(_TASKS),
        video=table["video"].fillna(""),
    )
    return table.assign(condition=[_condition(row) for _, row in table.iterrows()])


def _condition(row: pd.Series) -> str:
    if row["pretrain"] == "none":
        return "baseline"
    if row["pretrain"] == "imagenet":
        return "imagenet"
    return {8: f"ik-{row['pretrain_env']}", 10: "ik", 11: f"t{row['pretrain_steps']}"}[row["figure"]]


def _read(path: Path, types: Mapping[Hashable, str]) -> pd.DataFrame:
    if not path.is_file():
        raise UsageError(f"{path}: no such file; paper_figures/published/README.md says what belongs there")
    return pd.read_csv(path, dtype=types)
