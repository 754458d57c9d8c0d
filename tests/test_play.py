"""Trained policies at work."""

import csv
import json
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rlpt.data.clips import PUBLISHED_CLIPS, SYNTHETIC_CLIP
from rlpt.errors import UsageError
from rlpt.manifest import Manifest
from rlpt.play import background_of, load_policy, play_episode
from rlpt.runs.checksums import checksums
from rlpt.streams import integer_seed
from tests.conftest import run_rlpt


def trained(finished_runs: tuple[Manifest, Path], condition: str = "scratch") -> Path:
    return next((finished_runs[1] / "train").glob(f"reacher-easy-from-{condition}-*"))


def test_a_loaded_policy_plays_the_last_evaluation_again(finished_runs: tuple[Manifest, Path]) -> None:
    for condition in ("scratch", "ik"):
        run = trained(finished_runs, condition)
        with (run / "evaluations.csv").open() as file:
            last = list(csv.DictReader(file))[-1]
        agent, env = load_policy(run)
        env.seed(integer_seed(37, "evaluation", int(last["step"])))
        assert play_episode(agent, env) == float(last["return_1"])
        env.close()


def test_the_command_plays_and_writes_a_movie(finished_runs: tuple[Manifest, Path], tmp_path: Path) -> None:
    _, runs = finished_runs
    run, movie = trained(finished_runs), tmp_path / "a.mp4"
    agent, env = load_policy(run)
    env.seed(5)
    returns = [play_episode(agent, env) for _ in range(2)]
    env.close()
    result = run_rlpt("play", run.name, "--runs", runs, "--episodes", 2, "--seed", 5, "--movie", movie)
    expected = [f"episode {at}: return {value:.1f}" for at, value in enumerate(returns, 1)]
    expected += [f"mean: {sum(returns) / 2:.1f}", f"movie: {movie}"]
    assert (result.exit_code, result.stdout.splitlines()) == (0, expected), result.output
    with av.open(str(movie)) as container:
        assert container.streams.video[0].average_rate == Fraction(25, 2)
        assert sum(1 for _ in container.decode(video=0)) == 250


def test_a_background_changes_what_the_policy_sees(finished_runs: tuple[Manifest, Path], tmp_path: Path) -> None:
    run = trained(finished_runs)
    plain, pattern = (
        run_rlpt("play", run, "--background", clip, "--data", tmp_path).stdout for clip in ("none", "synthetic")
    )
    assert plain.startswith("episode 1: return") and plain != pattern
    _, env = load_policy(run, np.zeros((1, 32, 32, 3), np.uint8))
    assert env.reset().observation.shape == (9, 32, 32)
    env.close()


def with_video(run: Path, folder: Path, name: str, sha256: str) -> Path:
    """Copies a run, as if it had been trained with a video."""
    shutil.copytree(run, folder)
    record = json.loads((folder / "provenance.json").read_text())
    record["video"] = {"name": name, "sha256": sha256}
    (folder / "provenance.json").write_text(json.dumps(record))
    return folder


def test_the_background_is_the_one_of_training(finished_runs: tuple[Manifest, Path], tmp_path: Path) -> None:
    run = trained(finished_runs)
    assert background_of(run, None, tmp_path) is None
    drawn = background_of(with_video(run, tmp_path / "one", "synthetic", "x"), None, tmp_path)
    assert drawn == tmp_path / "videos" / SYNTHETIC_CLIP.file and drawn.is_file()
    own = with_video(run, tmp_path / "two", "mine", "x")
    with pytest.raises(UsageError, match="trained with a clip of your own, mine: --background names its file, or none"):
        background_of(own, None, tmp_path)
    assert background_of(own, "none", tmp_path) is None
    assert background_of(own, str(drawn), tmp_path) == drawn
    published = with_video(run, tmp_path / "three", "0", PUBLISHED_CLIPS[0].sha256)
    with pytest.raises(UsageError, match=r"video0\.mp4: not there: `rlpt data videos` downloads"):
        background_of(published, None, tmp_path)
    with pytest.raises(UsageError, match="no published clip has the number 7"):
        background_of(run, "7", tmp_path)


def test_what_has_no_policy_is_one_line(finished_runs: tuple[Manifest, Path], tmp_path: Path) -> None:
    data = next((finished_runs[1] / "generate").glob("reacher-*"))
    damaged = tmp_path / "damaged"
    shutil.copytree(trained(finished_runs), damaged)
    save_file({"log_alpha": torch.zeros(())}, damaged / "policy.safetensors")
    record = json.loads((damaged / "provenance.json").read_text())
    record["outputs"] = checksums(damaged)
    (damaged / "provenance.json").write_text(json.dumps(record))
    for run, complaint in (
        (data, "of the stage generate: only runs of the stage train have a policy"),
        (damaged, "policy.safetensors: not readable as this agent's weights"),
        (tmp_path / "none", "neither a run's folder nor the id of a run"),
    ):
        result = run_rlpt("play", run)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
        assert complaint in result.stderr
