"""Tables of run folders."""

from pathlib import Path

from rlpt.manifest import load_manifest
from rlpt.pipeline.jobs import curves
from rlpt.results.run_files import read_returns
from tests.conftest import REPOSITORY


def test_returns_are_smoothed_over_the_episodes_before(tmp_path: Path) -> None:
    """At the start over as many as there are."""
    rows = "".join(f"{250 * number},{number}\n" for number in range(1, 5))
    (tmp_path / "episodes.csv").write_text(f"step,return\n{rows}")
    curve = curves(load_manifest(REPOSITORY / "experiments" / "fig08_ik.toml"))[0]
    assert read_returns(curve, tmp_path, 2)["smoothed"].tolist() == [1, 1.5, 2.5, 3.5]
