"""Finished runs as an RO-Crate that a validator accepts."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import requests
from rocrate_validator import services
from rocrate_validator.models import Severity, ValidationSettings
from rocrate_validator.utils.http import HttpRequester

from rlpt.errors import UsageError
from rlpt.manifest import Manifest, load_manifest
from rlpt.pipeline.jobs import plan
from rlpt.results.collection import collect_runs
from rlpt.results.crate import export_crate
from rlpt.runs.checksums import read_provenance

# What the terms of a crate stand for: the part of the two published JSON-LD contexts that our crates use, so that the
# validator needs no network.
_SCHEMA = "http://schema.org/"
_SCHEMA_TERMS = """CreateAction CreativeWork Dataset SoftwareApplication SoftwareSourceCode about actionStatus
contentSize datePublished description encodingFormat endTime hasPart instrument license mainEntity mentions name object
programmingLanguage result softwareVersion startTime url version"""
_TERMS = {term: _SCHEMA + term for term in _SCHEMA_TERMS.split()} | {
    "File": f"{_SCHEMA}MediaObject",
    "ComputerLanguage": f"{_SCHEMA}ComputerLanguage",
    "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
    "conformsTo": "http://purl.org/dc/terms/conformsTo",
}
_CONTEXTS = {
    "https://w3id.org/ro/crate/1.1/context": _TERMS,
    "https://w3id.org/ro/terms/workflow-run/context": {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"},
}


def serve_context(self: HttpRequester, url: str, **options: Any) -> requests.Response:
    response = requests.Response()
    response.status_code = 200 if url in _CONTEXTS else 404
    response.headers["Content-Type"] = "application/ld+json"
    response._content = json.dumps({"@context": _CONTEXTS.get(url, {})}).encode()
    return response


def violations(crate: Path) -> list[str]:
    """Returns what the validator finds wrong with a crate, as a Workflow Run Crate."""
    settings = ValidationSettings(
        rocrate_uri=str(crate), profile_identifier="workflow-run-crate", requirement_severity=Severity.REQUIRED
    )
    return [str(issue.message) for issue in services.validate(settings).get_issues()]


def test_a_validator_accepts_the_crate(
    finished_runs: tuple[Manifest, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, runs = finished_runs
    figure = tmp_path / "figure.png"
    figure.write_bytes(b"a picture")
    crate = tmp_path / "crate"
    assert export_crate(manifest, plan(manifest), [figure], runs, crate) == 4
    monkeypatch.setattr(HttpRequester, "get", serve_context, raising=False)
    assert violations(crate) == []
    metadata = crate / "ro-crate-metadata.json"
    whole = metadata.read_text()
    for broken in (whole.replace('"CreateAction"', '"Thing"'), whole.replace('"mainEntity"', '"name"')):
        metadata.write_text(broken)
        assert violations(crate) != []


def graph_of(crate: Path) -> dict[str, Any]:
    metadata = json.loads((crate / "ro-crate-metadata.json").read_text())
    return {entity["@id"]: entity for entity in metadata["@graph"]}


def test_a_crate_says_what_was_read_and_written(finished_runs: tuple[Manifest, Path], tmp_path: Path) -> None:
    manifest, runs = finished_runs
    export_crate(manifest, plan(manifest), [], runs, tmp_path / "crate")
    graph = graph_of(tmp_path / "crate")
    (encoder,) = (name for name in graph if name.endswith("encoder.safetensors"))
    users = [name for name, entity in graph.items() if entity.get("object") == [{"@id": encoder}]]
    makers = [name for name, entity in graph.items() if {"@id": encoder} in entity.get("result", [])]
    assert [name.partition("-s37")[0] for name in users] == ["#reacher-easy-from-ik-reacher-easy-t200"]
    assert [name[:5] for name in makers] == ["#ik-r", "#run"]
    assert all((tmp_path / "crate" / name).is_file() for name, entity in graph.items() if "File" in entity["@type"])
    for job in plan(manifest):
        for name, written in read_provenance(job.folder(runs).path)["outputs"].items():
            assert graph[f"{job.stage}/{job.id}/{name}"]["sha256"] == written["sha256"]


def test_actions_last_from_the_first_session_to_the_last(finished_runs: tuple[Manifest, Path], tmp_path: Path) -> None:
    manifest, runs = finished_runs[0], shutil.copytree(finished_runs[1], tmp_path / "runs")
    for day, job in enumerate(plan(manifest), 1):
        path = job.folder(runs).path / "provenance.json"
        record = json.loads(path.read_text())
        (session,) = record["sessions"]
        record["sessions"] = [
            session | {key: f"2026-01-0{day}T{time}+00:00" for key, time in (("started", started), ("ended", ended))}
            for started, ended in (("01:00:00", "01:30:00"), ("05:00:00", "05:30:00"))
        ]
        record["code"]["dirty"] = day == 1
        path.write_text(json.dumps(record))
    export_crate(manifest, plan(manifest), [], runs, tmp_path / "crate")
    graph = graph_of(tmp_path / "crate")
    first, *others = (graph[f"#{job.id}"] for job in plan(manifest))
    assert (first["startTime"], first["endTime"]) == ("2026-01-01T01:00:00+00:00", "2026-01-01T05:30:00+00:00")
    whole = graph["#run"]
    assert (whole["startTime"], whole["endTime"]) == ("2026-01-01T01:00:00+00:00", "2026-01-04T05:30:00+00:00")
    assert first["description"].endswith(", changed")
    assert not any(action["description"].endswith(", changed") for action in others)


def test_what_is_not_finished_or_damaged_is_not_exported(finished_runs: tuple[Manifest, Path], tmp_path: Path) -> None:
    manifest, runs = finished_runs[0], shutil.copytree(finished_runs[1], tmp_path / "runs")
    with pytest.raises(UsageError, match="nothing of it is finished"):
        export_crate(manifest, plan(manifest), [], tmp_path / "elsewhere", tmp_path / "crate")
    (tmp_path / "crate").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        export_crate(manifest, plan(manifest), [], runs, tmp_path / "crate")
    (table,) = runs.glob("train/*scratch*/episodes.csv")
    table.write_text(table.read_text() + "250,1,1000.0\n")
    with pytest.raises(UsageError, match=r"episodes\.csv: damaged: .* `rlpt verify "):
        export_crate(manifest, plan(manifest), [], runs, tmp_path / "another")
    assert not (tmp_path / "another").exists()


def test_a_collection_is_exported_without_what_it_left_out(
    finished_runs: tuple[Manifest, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, runs = finished_runs
    monkeypatch.setattr("rlpt.results.collection.LARGEST_FILE", 20_000)
    collect_runs(plan(manifest), runs, tmp_path / "collection")
    assert export_crate(manifest, plan(manifest), [], tmp_path / "collection", tmp_path / "crate") == 4
    assert not list((tmp_path / "crate").rglob("transitions.h5"))
    assert len(list((tmp_path / "crate").rglob("episodes.csv"))) == 2
    graph = graph_of(tmp_path / "crate")
    (dataset,) = (name for name in graph if name.endswith("transitions.h5"))
    (job,) = (each for each in plan(manifest) if each.stage == "generate")
    written = read_provenance(job.folder(runs).path)["outputs"]["transitions.h5"]
    assert graph[dataset]["sha256"] == written["sha256"]
    assert [{"@id": dataset}] in [entity.get("object") for entity in graph.values()]
    monkeypatch.setattr(HttpRequester, "get", serve_context, raising=False)
    assert violations(tmp_path / "crate") == []


def test_the_manifest_finds_its_profile_in_the_crate(finished_runs: tuple[Manifest, Path], tmp_path: Path) -> None:
    manifest, runs = finished_runs
    export_crate(manifest, plan(manifest), [], runs, tmp_path / "crate")
    again = load_manifest(tmp_path / "crate" / manifest.path.name, manifest.profile, manifest.overrides)
    assert [job.id for job in plan(again)] == [job.id for job in plan(manifest)]
