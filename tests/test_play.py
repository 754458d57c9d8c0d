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
import yaml
from safetensors.torch import save_file

from rlpt.data.clips import PUBLISHED_CLIPS, SYNTHETIC_CLIP
from rlpt.errors import UsageError
from rlpt.manifest import Manifest
from rlpt.play import load_background, load_policy, play_episode
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
    expected = [expected[0], f"movie: {movie}", expected[1], f"mean: {sum(returns) / 2:.1f}"]
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


def with_video(run: Path, folder: Path, sha256: str) -> Path:
    """Copies a run, as if it had been trained with a video."""
    shutil.copytree(run, folder)
    told = yaml.safe_load((folder / "settings.yaml").read_text())
    (folder / "settings.yaml").write_text(yaml.safe_dump(told | {"video": sha256}))
    return recorded_anew(folder)


def recorded_anew(folder: Path) -> Path:
    record = json.loads((folder / "provenance.json").read_text())
    (folder / "provenance.json").write_text(json.dumps(record | {"outputs": checksums(folder)}))
    return folder


def test_the_background_is_the_one_of_training(finished_runs: tuple[Manifest, Path], tmp_path: Path) -> None:
    run = trained(finished_runs)
    assert load_background(run, None, tmp_path) is None
    video = load_background(with_video(run, tmp_path / "one", SYNTHETIC_CLIP.sha256), None, tmp_path)
    assert video is not None and video.shape[1:] == (32, 32, 3)
    own = with_video(run, tmp_path / "two", "x")
    with pytest.raises(UsageError, match="trained with a clip of your own: --background names its file, or none"):
        load_background(own, None, tmp_path)
    assert load_background(own, "none", tmp_path) is None
    file = (tmp_path / "videos" / SYNTHETIC_CLIP.file).rename(tmp_path / "a clip.mp4")
    again = load_background(own, str(file), tmp_path)
    np.testing.assert_array_equal(again, video)
    published = with_video(run, tmp_path / "three", PUBLISHED_CLIPS[0].sha256)
    with pytest.raises(UsageError, match=r"video0\.mp4: not there: `rlpt data videos` downloads"):
        load_background(published, None, tmp_path)


def test_what_cannot_be_played_is_one_line(finished_runs: tuple[Manifest, Path], tmp_path: Path) -> None:
    run = trained(finished_runs)
    damaged, unfinished = tmp_path / "damaged", tmp_path / "x.partial"
    for copy in (damaged, unfinished):
        shutil.copytree(run, copy)
    save_file({"log_alpha": torch.zeros(())}, damaged / "policy.safetensors")
    recorded_anew(damaged)
    for arguments, complaint in (
        ([next((finished_runs[1] / "generate").glob("reacher-*"))], "only runs of the stage train have a policy"),
        ([damaged], "policy.safetensors: not readable as this agent's weights"),
        ([unfinished], "not finished yet: the command that began it goes on with it"),
        ([tmp_path / "none"], "neither a run's folder nor the id of a run"),
        ([run, "--movie", tmp_path / "a.gif"], "a movie's name ends in .mp4, .mkv, .mov"),
        ([run, "--background", "7"], "7: not readable as a video"),
    ):
        result = run_rlpt("play", *arguments)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.output
        assert complaint in result.stderr


@pytest.mark.parametrize("name", ["policy.safetensors", "settings.yaml"])
def test_a_policy_or_settings_that_were_changed_are_refused(
    finished_runs: tuple[Manifest, Path], tmp_path: Path, name: str
) -> None:
    run = shutil.copytree(trained(finished_runs), tmp_path / "run")
    content = bytearray((run / name).read_bytes())
    content[-2] ^= 1
    (run / name).write_bytes(content)
    with pytest.raises(UsageError, match=rf"{name}: damaged: its checksum"):
        load_policy(run)
