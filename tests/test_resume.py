"""Jobs that are stopped or killed anywhere and started again write the same bytes as ones that are not."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlpt.data.image_cache import load_split
from rlpt.data.image_folder import SPLITS, class_names
from rlpt.data.synthetic_images import write_synthetic_folder
from rlpt.envs.pixels import PixelEnvironment
from rlpt.errors import UsageError
from rlpt.generate import RandomEpisodes, generate
from rlpt.pipeline.arithmetic import computing
from rlpt.pretrain_ik import InverseKinematicsTraining
from rlpt.pretrain_imagenet import ImageNetTraining
from rlpt.runs.checksums import read_provenance
from rlpt.runs.folder import TEMPORARY_FILES
from rlpt.runs.interruption import Checkpoints, Paused, Schedule
from rlpt.settings import EncoderSettings, ImageNetSettings, Settings
from rlpt.train import Training
from tests.conftest import REPOSITORY, no_checkpoints, silent

CPU = torch.device("cpu")
VIDEO = np.random.default_rng(0).integers(0, 256, (7, 24, 24, 3), dtype=np.uint8)

STOPPED_OR_KILLED = pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
ON_A_GPU = pytest.param(1, "cuda", marks=pytest.mark.gpu)

Stage = Callable[[Path, Checkpoints], object]


@pytest.fixture
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """The device of this name; a GPU gives the same bits only by algorithms that are chosen for it."""
    with computing("float32", deterministic=request.param == "cuda"):
        yield torch.device(request.param)


class StopAt(Checkpoints):
    """Stops at one poll, with or without a checkpoint having been saved some polls before."""

    def __init__(self, folder: Path, poll: int, killed: bool = False) -> None:
        super().__init__(folder / "checkpoint.safetensors", Schedule(minutes=1e9, steps=5 if killed else None))
        self._left, self._killed = poll, killed

    def poll(self, state: Any) -> None:
        if self._left == 0 and self._killed:
            raise Paused  # like a SIGKILL: what came after the last checkpoint is lost
        if self._left == 0:
            self.stop.make("test")
        self._left -= 1
        super().poll(state)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.iterdir() if path.is_file() and path.name not in TEMPORARY_FILES)
    return {path.name: path.read_bytes() for path in files}


def assert_resumes(stage: Stage, tmp_path: Path, polls: list[int], killed: bool) -> None:
    """Runs a stage whole, and again with a stop at each of `polls` (counted from where it last went on)."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    stage(whole, no_checkpoints(whole))
    stops = 0
    for poll in polls:
        try:
            stage(broken, StopAt(broken, poll, killed))
        except Paused:
            stops += 1
        else:
            break
    else:
        stage(broken, Checkpoints(broken / "checkpoint.safetensors", Schedule(minutes=1e9)))
    assert stops > 0
    expected = contents(whole)
    assert expected
    assert contents(broken) == expected


def stop_points(seed: int, most: int, count: int = 5) -> list[int]:
    return [int(poll) for poll in np.random.default_rng(seed).integers(0, most, count)]


@STOPPED_OR_KILLED
@pytest.mark.parametrize(("seed", "device"), [*((seed, "cpu") for seed in range(4)), ON_A_GPU], indirect=["device"])
def test_training(tiny_settings: Settings, tmp_path: Path, seed: int, killed: bool, device: torch.device) -> None:
    """Stops fall into random steps, the initial updates, evaluations and, with 270 steps, a second episode."""
    sizes = {"steps": 270, "evaluate_every": 120} if seed == 0 else {"steps": 40, "evaluate_every": 15}
    train = tiny_settings.train.model_copy(update=sizes)
    settings = tiny_settings.model_copy(update={"train": train})

    def stage(folder: Path, checkpoints: Checkpoints) -> None:
        Training("walker-walk", settings, 37, None, folder, device, VIDEO).run(checkpoints, silent)

    assert_resumes(stage, tmp_path, stop_points(seed, 250 if seed == 0 else 25), killed)


def test_training_between_two_episodes_of_an_evaluation(tiny_settings: Settings, tmp_path: Path) -> None:
    """Before the first step, polls are: the step's, the first episode's, the second's."""
    train = tiny_settings.train.model_copy(update={"steps": 21, "evaluation_episodes": 2})
    settings = tiny_settings.model_copy(update={"train": train})

    def stage(folder: Path, checkpoints: Checkpoints) -> None:
        Training("walker-walk", settings, 37, None, folder, CPU).run(checkpoints, silent)

    assert_resumes(stage, tmp_path, [2], killed=False)


@STOPPED_OR_KILLED
@pytest.mark.parametrize(("seed", "device"), [(0, "cpu"), (1, "cpu"), ON_A_GPU], indirect=["device"])
def test_inverse_kinematics(
    tiny_settings: Settings, tmp_path: Path, seed: int, killed: bool, device: torch.device
) -> None:
    dataset = tmp_path / "transitions.h5"
    episodes = RandomEpisodes("reacher-easy", tiny_settings.environment, tiny_settings.generate)
    generate(episodes, dataset, 1, no_checkpoints(tmp_path), silent)
    settings = tiny_settings.model_copy(update={"ik": tiny_settings.ik.model_copy(update={"epochs": 6})})

    def stage(folder: Path, checkpoints: Checkpoints) -> None:
        InverseKinematicsTraining(dataset, settings, folder, device).run(checkpoints, silent)

    assert_resumes(stage, tmp_path, stop_points(seed, 12), killed)


@STOPPED_OR_KILLED
@pytest.mark.parametrize(("seed", "device"), [(0, "cpu"), (1, "cpu"), ON_A_GPU], indirect=["device"])
def test_imagenet(tmp_path: Path, seed: int, killed: bool, device: torch.device) -> None:
    images = tmp_path / "images"
    write_synthetic_folder(images, ["a", "b"], 20, 6)
    names = class_names(images, "all")
    train, val = (load_split(images, split, names, 24, tmp_path / "cache", 1, silent) for split in SPLITS)
    settings = Settings(
        imagenet=ImageNetSettings(classes="all", epochs=4, schedule_epochs=5, batch_size=12, hidden=8),
        encoder=EncoderSettings(crop=20, layers=3, filters=6, grouped_layers=3),
    )

    def stage(folder: Path, checkpoints: Checkpoints) -> None:
        ImageNetTraining(train, val, settings, folder, device).run(checkpoints, silent)

    assert_resumes(stage, tmp_path, stop_points(seed, 8), killed)


def test_imagenet_goes_on_with_the_same_images_alone(tmp_path: Path) -> None:
    settings = Settings(
        imagenet=ImageNetSettings(classes="all", epochs=4, schedule_epochs=5, batch_size=12, hidden=8),
        encoder=EncoderSettings(crop=20, layers=3, filters=6, grouped_layers=3),
    )

    def training(seed: int, checkpoints: Checkpoints) -> object:
        images = tmp_path / str(seed)
        if not images.exists():
            write_synthetic_folder(images, ["a", "b"], 20, 6, seed)
        names = class_names(images, "all")
        train, val = (load_split(images, split, names, 24, tmp_path / f"cache{seed}", 1, silent) for split in SPLITS)
        return ImageNetTraining(train, val, settings, tmp_path, CPU).run(checkpoints, silent)

    with pytest.raises(Paused):
        training(0, StopAt(tmp_path, 5))
    with pytest.raises(UsageError, match="began with other images of dataset 'imagenet': restore them, or delete"):
        training(1, no_checkpoints(tmp_path))
    training(0, no_checkpoints(tmp_path))


@pytest.mark.parametrize("seed", range(2))
def test_generating(tiny_settings: Settings, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlpt.generate._PART", 1)
    wanted = tiny_settings.generate.model_copy(update={"transitions": 160})
    episodes = RandomEpisodes("reacher-easy", tiny_settings.environment, wanted)

    def stage(folder: Path, checkpoints: Checkpoints) -> None:
        generate(episodes, folder / "transitions.h5", 1, checkpoints, silent)

    assert_resumes(stage, tmp_path, stop_points(seed, 4), killed=True)


def test_finished_parts_of_a_dataset_are_not_played_again(
    tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlpt.generate._PART", 1)
    wanted = tiny_settings.generate.model_copy(update={"transitions": 160, "reset_every": 160})  # 4 episodes
    episodes = RandomEpisodes("reacher-easy", tiny_settings.environment, wanted)
    played: list[int] = []
    play = RandomEpisodes.play

    def noted(self: RandomEpisodes, episode: int, environment: PixelEnvironment) -> tuple[np.ndarray, np.ndarray]:
        played.append(episode)
        return play(self, episode, environment)

    monkeypatch.setattr(RandomEpisodes, "play", noted)
    with pytest.raises(Paused):
        generate(episodes, tmp_path / "transitions.h5", 1, StopAt(tmp_path, 2), silent)
    generate(episodes, tmp_path / "transitions.h5", 1, no_checkpoints(tmp_path), silent)
    assert played == [0, 1, 2, 2, 3]
    assert [path.name for path in tmp_path.iterdir()] == ["transitions.h5"]


@pytest.mark.parametrize("task", ["reacher-easy", "walker-walk", "finger-turn_easy", "ball_in_cup-catch"])
def test_an_environment_comes_back_in_the_middle_of_an_episode(tiny_settings: Settings, task: str) -> None:
    env, again = (PixelEnvironment(task, tiny_settings.environment, 3, VIDEO) for _ in range(2))
    actions = np.random.default_rng(0).uniform(-1, 1, (30, env.action_spec().shape[0])).astype(np.float32)
    env.reset()
    env.reset()
    for action in actions[:10]:
        env.step(action)
    restored = again.restore(env.state())
    np.testing.assert_array_equal(restored.observation[-3:], env.frame.transpose(2, 0, 1))
    for action in actions[10:]:
        one, other = env.step(action), again.step(action)
        assert one.reward == other.reward
        np.testing.assert_array_equal(one.observation, other.observation)
    np.testing.assert_array_equal(env.reset().observation, again.reset().observation)
    env.close()
    again.close()


def saved_since(folder: Path, moment: float) -> bool:
    with suppress(FileNotFoundError):  # renamed meanwhile
        return any(file.stat().st_mtime > moment for file in folder.glob("*.partial/checkpoint.safetensors"))
    return False


def test_killing_and_signalling_a_real_process(tiny_settings: Settings, tmp_path: Path) -> None:
    """SIGKILL and SIGTERM at seeded moments, with a checkpoint at every poll; `rlpt train` goes on each time."""
    sizes = ["environment.size=32", "encoder.crop=28", "train.steps=150", "train.evaluate_every=50"]
    command = [sys.executable, "-m", "rlpt", "train", str(REPOSITORY / "experiments" / "demo.toml"), "--quiet"]
    command += ["--profile=smoke", "--condition=baseline", "--threads=1", "--device=cpu", "--checkpoint-minutes=0"]
    command += [f"--set={value}" for value in sizes]
    subprocess.run([*command, f"--runs={tmp_path / 'whole'}"], check=True, capture_output=True)
    broken = [*command, f"--runs={tmp_path / 'broken'}"]
    train = tmp_path / "broken" / "train"
    random = np.random.default_rng(1)
    for kind in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        started = time.time()
        process = subprocess.Popen(broken, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        while process.poll() is None and not saved_since(train, started):
            time.sleep(0.02)
        time.sleep(random.uniform(0, 0.5))
        process.send_signal(kind)
        output, _ = process.communicate()
        if kind == signal.SIGTERM and not list(train.glob("*[0-9a-f]")):
            assert (process.returncode, output[:7]) == (0, "paused:")
    subprocess.run(broken, check=True, capture_output=True)
    (one,), (other,) = (list((tmp_path / name / "train").glob("reacher*")) for name in ("whole", "broken"))
    sessions = read_provenance(other)["sessions"]
    assert [session["end"] for session in sessions].count("killed") >= 1, "no kill came before the end"
    changing = ("provenance.json",)
    assert {k: v for k, v in contents(one).items() if k not in changing} == {
        k: v for k, v in contents(other).items() if k not in changing
    }


def test_a_time_limit_pauses_with_status_0(tmp_path: Path) -> None:
    options = ["--profile=smoke", "--condition=baseline", f"--runs={tmp_path}", "--set=train.steps=100_000"]
    rlpt, manifest = [sys.executable, "-m", "rlpt"], str(REPOSITORY / "experiments" / "demo.toml")
    command = [*rlpt, "run", manifest, *options, "--quiet", "--threads=1", "--time-limit=3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "1 paused" in done.stdout
    status = subprocess.run([*rlpt, "status", manifest, *options], capture_output=True, text=True, check=True)
    assert "1 paused" in status.stdout


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_a_whole_run_pauses_its_jobs(tmp_path: Path, kind: signal.Signals) -> None:
    """A Ctrl-C goes to the whole process group, a SIGTERM to `rlpt run` alone."""
    command = [sys.executable, "-m", "rlpt", "run", str(REPOSITORY / "experiments" / "demo.toml"), "--quiet"]
    command += ["--profile=smoke", "--condition=baseline", f"--runs={tmp_path}", "--set=train.steps=100_000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0)
    while process.poll() is None and not list(tmp_path.glob("train/*.partial/updates.csv")):
        time.sleep(0.05)
    time.sleep(1)
    os.killpg(process.pid, kind) if kind == signal.SIGINT else process.terminate()
    output, _ = process.communicate(timeout=200)
    assert (process.returncode, "1 paused" in output) == (0, True)
    assert list(tmp_path.glob("train/*.partial/checkpoint.safetensors"))
