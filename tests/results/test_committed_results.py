"""What is kept in results/ is what its jobs wrote, and what its pages and figures are made of."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

from rlpt.manifest import Manifest, load_manifest
from rlpt.pipeline.jobs import Job, Selection, plan
from rlpt.pipeline.verification import check_run, finished_folders
from rlpt.plots.encoder_curves import draw_pretraining_curves
from rlpt.plots.learning_curves import draw_learning_curves
from rlpt.report.collection_page import collection_page
from rlpt.results.collection import LARGEST_FILE
from rlpt.runs.checksums import read_provenance
from tests.conftest import REPOSITORY

COLLECTIONS = sorted(path.relative_to(REPOSITORY) for path in REPOSITORY.glob("results/*/*"))
LARGEST_COLLECTION = 4_000_000

pytestmark = [
    pytest.mark.parametrize("collection", COLLECTIONS, ids=str),
    pytest.mark.usefixtures("_in_the_repository"),
]


@pytest.fixture
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


def manifest_of(collection: Path) -> Manifest:
    """Returns the manifest of results/<profile>/<figure>, or …/<figure>_again: runs of it that were repeated."""
    _, profile, name = collection.parts
    figure = name.removesuffix("_again")
    (path,) = [*Path("experiments").glob(f"{figure}_*.toml"), *Path("experiments/extra").glob(f"{figure}.toml")]
    return load_manifest(path, profile)


def jobs_of(collection: Path) -> dict[Path, Job]:
    """Returns the jobs whose runs are kept, by their folders."""
    folders = {path.parent for path in collection.glob("*/*/settings.yaml")}
    jobs = {
        path: job
        for job in plan(manifest_of(collection))
        for path in (job.folder(collection).path, job.folder(collection).partial)
        if path in folders
    }
    assert set(jobs) == folders, "runs that the manifest no longer asks for"
    return jobs


def test_the_list_of_results_has_it(collection: Path) -> None:
    home = collection.parent.parent
    assert f"]({collection.relative_to(home)}/README.md)" in (home / "README.md").read_text(encoding="utf-8")


def test_every_file_is_what_its_job_wrote(collection: Path) -> None:
    for folder in finished_folders(collection):
        assert [check for check in check_run(folder) if check.problem and not check.unknown] == []
        record = read_provenance(folder)
        files = {path.name for path in folder.iterdir()} - {"provenance.json"}
        assert files == set(record["outputs"]) - set(record["left_out"])
        assert record["code"]["dirty"] is False
    sizes = [path.stat().st_size for path in collection.rglob("*") if path.is_file()]
    assert sum(sizes) < LARGEST_COLLECTION
    assert max(path.stat().st_size for path in collection.glob("*/*/*")) <= LARGEST_FILE


def test_settings_are_those_that_the_manifest_asks_for(collection: Path) -> None:
    for folder, job in jobs_of(collection).items():
        assert yaml.safe_load((folder / "settings.yaml").read_text(encoding="utf-8")) == job.identity()


def test_the_page_is_computed_from_the_files(collection: Path) -> None:
    page = collection_page(manifest_of(collection), collection)
    assert page == (collection / "README.md").read_text(encoding="utf-8"), "make it anew: rlpt collect"


@pytest.mark.parametrize(
    ("stage", "draw"),
    [("train", draw_learning_curves), ("pretrain", draw_pretraining_curves)],
    ids=["train", "pretrain"],
)
def test_the_figure_shows_the_runs_that_are_kept(
    collection: Path, stage: str, draw: Callable[[Manifest, Selection, Path], list[Path]], tmp_path: Path
) -> None:
    manifest = manifest_of(collection)
    kept = {job.id for job in jobs_of(collection).values() if job.stage == stage}
    if not kept:
        pytest.skip(f"holds no runs of {stage}")
    (tmp_path / stage).symlink_to(collection.resolve() / stage)
    png, _ = draw(manifest, Selection(), tmp_path)
    with Image.open(png) as drawn, Image.open(collection / "figures" / png.name) as committed:
        assert drawn.info["Description"] == committed.info["Description"]
        assert set(committed.info["Description"].split("; ")[1].split()) == kept
        assert committed.info["Software"].split()[0] == "rlpt"


def test_unfinished_runs_say_what_made_them(collection: Path) -> None:
    for folder in collection.glob("*/*.partial"):
        sessions = json.loads((folder / "sessions.json").read_text(encoding="utf-8"))
        assert all(session["commit"] for session in sessions)
