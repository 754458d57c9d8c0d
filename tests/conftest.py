"""Fixtures shared by all tests."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from hypothesis import settings as hypothesis_settings

import rlpt.envs.rendering  # noqa: F401 - chooses how to render, before anything imports dm_control
from rlpt.cli import main
from rlpt.manifest import Manifest, load_manifest
from rlpt.pipeline.execution import Execution, run_job
from rlpt.pipeline.jobs import Job, plan
from rlpt.runs.checksums import checksums
from rlpt.runs.files import write_json, write_text
from rlpt.runs.interruption import Checkpoints, Schedule
from rlpt.settings import Settings

# PyTorch looks once, at a process's first matrix product on a GPU, whether its library is to give the same bits.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

REPOSITORY = Path(__file__).parent.parent
# Recorded inputs and outputs of the authors' implementation, which are not distributed with the project.
REFERENCE = Path(os.environ.get("RLPT_REFERENCE", REPOSITORY.parent / "shared" / "reference"))

# An example may be slow: on a busy machine, or where it is the first to build a table.
hypothesis_settings.register_profile("untimed", deadline=None)
hypothesis_settings.load_profile("untimed")

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]

MINIMAL = """
title = "t"
environments = ["reacher-easy"]
seeds = [1]

[conditions.baseline]
label = "Baseline"

[conditions.ik]
label = "IK"
pretrain = "ik"
"""
"A manifest with a baseline and a pretrained condition, to which a test can add."


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what needs a GPU where there is none."""
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _git_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a hook, git's variables name the repository; tests that make repositories must not write to that one."""
    for name in os.environ:
        if name.startswith("GIT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)


@pytest.fixture(scope="session")
def tiny_settings() -> Settings:
    """Settings small enough for a whole run in a second or two, on real pixels."""
    return Settings.model_validate(
        {
            "environment": {"size": 24, "shadows": False, "reflections": False, "multisampling": 0},
            "encoder": {"crop": 20, "layers": 3, "filters": 6, "grouped_layers": 2},
            "generate": {"transitions": 60},
            "ik": {"epochs": 2, "batch_size": 16, "hidden": [16, 8]},
            "agent": {"features": 8, "hidden": 16},
            "train": {
                "steps": 40,
                "batch_size": 8,
                "random_steps": 20,
                "initial_updates": 5,
                "evaluate_every": 40,
                "evaluation_episodes": 1,
                "log_every": 10,
            },
        }
    )


@pytest.fixture
def write_manifest(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that writes a manifest and, beside it, the profile "small"."""

    def write(text: str, profile: str = "") -> Path:
        (tmp_path / "profiles").mkdir(exist_ok=True)
        (tmp_path / "profiles" / "small.toml").write_text(profile)
        path = tmp_path / "manifest.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def disk_events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is made safe on the disk ("sync") and what gets another name ("name"), by its path then, in order."""
    found: list[tuple[str, str]] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        found.append(("sync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        fsync(descriptor)

    def noted_replace(path: Path, target: Path) -> Path:
        found.append(("name", str(path)))
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    return found


def load_vectors(name: str) -> dict[str, np.ndarray]:
    """Loads recorded inputs and outputs of the authors' implementation; skips the test where there are none."""
    path = REFERENCE / "vectors" / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"reference vectors are not here: {path}")
    with np.load(path, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def published_names(own: str) -> str:
    """Translates a parameter's name in `rlpt.models` to the authors' modules."""
    for ours, theirs in (("projection.linear", "encoder.fc"), ("projection.norm", "encoder.ln")):
        own = own.replace(ours, theirs)
    for ours, theirs in (("policy", "trunk"), ("q1", "Q1.trunk"), ("q2", "Q2.trunk")):
        own = own.replace(f"{ours}.", f"{theirs}.")
    parts = own.split(".")
    if "convs" in parts or "norms" in parts:
        kind = {"convs": "0", "norms": "1"}
        at = next(index for index, part in enumerate(parts) if part in kind)
        parts = [*parts[:at], "convs", parts[at + 1], kind[parts[at]], *parts[at + 2 :]]
    return ".".join(parts)


def published_statistics(vectors: dict[str, np.ndarray], prefix: str) -> dict[str, torch.Tensor]:
    """Stacks the authors' running means and variances of all layers, [layers, filters]."""
    layers = sum(key.startswith(f"{prefix}convs.") and key.endswith(".1.running_mean") for key in vectors)
    return {
        ours: torch.from_numpy(np.stack([vectors[f"{prefix}convs.{layer}.1.{theirs}"] for layer in range(layers)]))
        for ours, theirs in (("mean", "running_mean"), ("variance", "running_var"))
    }


def run_rlpt(*arguments: object) -> Result:
    """Runs a command in this process."""
    return CliRunner().invoke(main, list(map(str, arguments)))


def no_checkpoints(folder: Path) -> Checkpoints:
    """Checkpoints that are never due."""
    return Checkpoints(folder / "checkpoint.safetensors", Schedule(minutes=1e9))


def silent(done: int, total: int, note: str) -> None:
    """A progress report that nobody reads."""


@pytest.fixture(scope="session")
def finished_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, Path]:
    """The demo at its smallest, once for all tests that only look at finished runs: manifest and runs folder."""
    runs = tmp_path_factory.mktemp("finished") / "runs"
    manifest = load_manifest(
        REPOSITORY / "experiments" / "demo.toml", "smoke", ("environment.size=32", "encoder.crop=28", "train.steps=105")
    )
    for job in plan(manifest):
        run_job(job, Execution(runs, runs / "data", "cpu", 1, quiet=True), manifest.describe())
    return manifest, runs


def write_finished_run(job: Job, runs: Path, returns: list[float]) -> None:
    """Writes a finished training run's folder, and those of its encoder, as the stages would leave them.

    Its numbers are made up, so that a test knows what has to come out of them.
    """
    for needed in job.inputs:
        folder = needed.folder(runs).path
        if not folder.exists():
            learned = {"test_mse_of_mean_action": 0.33, "train_mse": 0.1, "test_mse": 0.033, "test_r2": 0.9}
            classified = {"val_top1": 0.5 + 0.01 * needed.seed, "chance_top1": 0.01}
            write_json(folder / "summary.json", learned if needed.inputs else classified)
            _write_origin(folder, needed)
    folder = job.folder(runs).path
    rows = [f"{250 * number},{number},{value}" for number, value in enumerate(returns, 1)]
    write_text(folder / "episodes.csv", "\n".join(["step,episode,return", *rows, ""]))
    _write_origin(folder, job)


def _write_origin(folder: Path, job: Job) -> None:
    write_text(folder / "settings.yaml", yaml.safe_dump(job.identity(), sort_keys=False))
    code = {"rlpt": "0.1.0", "commit": "0123456789abcdef", "dirty": False}
    machine = {"host": "here", "gpu": None, "driver": None, "processor": "A processor", "cores": 2}
    packages = {"torch": "2.13.0"}
    session = {
        "started": "2026-01-01T00:00:00+00:00", "commit": code["commit"], "packages": packages,
        "machine": machine, "renderer": "llvmpipe", "threads": 2, "load": 0.5,
        "ended": "2026-01-01T01:00:00+00:00", "seconds": 1800.0, "end": "done",
    }  # fmt: skip
    record = {
        "job": {"id": job.id, "digest": job.digest},
        "code": code,
        "packages": packages,
        "inputs": [],
        "outputs": checksums(folder),
        "sessions": [session],
    }
    write_json(folder / "provenance.json", record)
