"""Writes paper_figures/published/*.csv, the digest of the authors' logs, anew.

    python paper_figures/digest_published.py LOGS [--out paper_figures/published]

LOGS is a folder with published_episodes.csv, published_runs.csv, published_ik_losses.csv and
published_imagenet_training.csv, extracted from the logs in the authors' repository (published/README.md says how).
"""

from collections.abc import Hashable
from pathlib import Path

import click
import pandas as pd

from rlpt.errors import UsageError
from rlpt.results.published import FOLDER, KEYS, read_table
from rlpt.runs.files import whole_file
from rlpt.stats import area_under_curve, early_score, final_score

SMOOTHING = 15
"Length of the moving average in the paper's figures, in episodes."
STRIDE = 10
"Every tenth point of a curve is kept."
SHOWN_STEPS = 80_000
"Agent steps that the paper shows of longer runs."
_TASKS = {"cheetah": "cheetah-run", "reacher": "reacher-easy", "walker": "walker-walk"}


def digest(logs: Path) -> dict[str, pd.DataFrame]:
    """Reads the authors' logs and returns the digest's tables by name.

    Args:
        logs: a folder with published_episodes.csv, published_runs.csv, published_ik_losses.csv and
            published_imagenet_training.csv.

    Raises:
        UsageError: if one of them is missing.
    """
    text: dict[Hashable, str] = {"video": "string", "pretrain_steps": "Int64"}
    episodes = _rename(read_table(logs / "published_episodes.csv", text))
    costs = _rename(read_table(logs / "published_runs.csv", text))[[*KEYS, "gpu_hours", "ms_per_step"]]
    shown = episodes[episodes["step"] <= SHOWN_STEPS]
    shared = shown.groupby(KEYS)["step"].max().groupby(["figure", "environment"]).min()
    runs, curves = [], []
    for _, run in shown.groupby(KEYS, sort=False):
        smoothed = run["reward"].rolling(SMOOTHING, min_periods=1).mean()
        first = run.iloc[0]
        is_t0 = (first["figure"], first["condition"]) == (8, "baseline")
        runs.append(
            {
                **first[[*KEYS, "pretrain", "pretrain_environment", "pretrain_steps"]],
                "episodes": len(run),
                "steps": run["step"].iloc[-1],
                "final": round(final_score(run["reward"].to_numpy()), 2),
                **_scores_until(shared[first["figure"], first["environment"]], run),
                **(_scores_until(shared[11, first["environment"]], run, "_t0") if is_t0 else {}),
            }
        )
        kept = run.assign(smoothed=smoothed.round(2))[STRIDE - 1 :: STRIDE]
        curves.append(kept[[*KEYS, "step", "reward", "smoothed"]].rename(columns={"reward": "return"}))
    table = (
        pd.DataFrame(runs)
        .astype({"shared_steps_t0": "Int64"})
        .merge(costs, on=KEYS, validate="one_to_one")
        .sort_values(KEYS)
    )
    losses = read_table(logs / "published_ik_losses.csv", text).rename(
        columns={"env": "environment", "test_r2_vs_zero": "test_r2"}
    )
    losses["environment"] = losses["environment"].map(_TASKS)
    imagenet = read_table(logs / "published_imagenet_training.csv", {})
    imagenet = imagenet.rename(columns=lambda name: name.replace("acc", "top"))
    return {
        "runs": table,
        "curves": pd.concat(curves).sort_values([*KEYS, "step"]),
        "ik_encoders": losses.fillna({"video": ""}),
        "imagenet": imagenet[imagenet["epoch"] % STRIDE == 0],
    }


def _scores_until(steps: int, run: pd.DataFrame, suffix: str = "") -> dict[str, float]:
    """Returns AUC and early score over the steps that all runs of a figure have on one task."""
    returns = run.loc[run["step"] <= steps, "reward"].to_numpy()
    scores = {"auc": round(area_under_curve(returns), 2), "early": round(early_score(returns), 2)}
    return {f"{name}{suffix}": value for name, value in ({"shared_steps": steps} | scores).items()}


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


@click.command(help="Write the digest of the authors' logs anew.")
@click.argument("logs", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=FOLDER)
def main(logs: Path, out: Path) -> None:
    """Writes the digest and prints where."""
    try:
        tables = digest(logs)
    except UsageError as error:
        click.echo(f"rlpt: {error}", err=True)
        raise SystemExit(2) from None
    for name, table in tables.items():
        with whole_file(out / f"{name}.csv") as aside:
            table.to_csv(aside, index=False, lineterminator="\n")
        click.echo(f"digest: {out / name}.csv")


if __name__ == "__main__":
    main()
