"""Mutated manifests and corrupted files: at most one line of complaint, no traceback, nothing written.

2,600 cases. Every complaint must be a UsageError, which the command line prints as one line with status 2.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rlpt.cli import main
from rlpt.data.videos import load_video
from rlpt.envs.pixels import PixelEnvironment
from rlpt.errors import UsageError
from rlpt.manifest import Manifest
from rlpt.models.encoder import ConvEncoder, RunningStatistics, load_encoder
from rlpt.pipeline.execution import OUTPUT_FILES
from rlpt.pipeline.jobs import STAGES, plan
from rlpt.runs.checkpoint import load_checkpoint, save_checkpoint
from rlpt.runs.checksums import damage, read_provenance, verified
from rlpt.settings import Settings
from tests.conftest import REPOSITORY
from tests.data.test_videos import FRAMES, write_video

EXPERIMENTS = REPOSITORY / "experiments"
MANIFESTS = sorted([*EXPERIMENTS.glob("*.toml"), *EXPERIMENTS.glob("extra/*.toml")])
FILES_DIFFER = [HealthCheck.function_scoped_fixture]

# Values that a key may be given by mistake or malice.
_WORDS = """0 -1 1e999 -inf nan true '' 'x' '../..' [] [[]] {} 9999999999999999999999 1979-05-27 0x10 0.5 100000 [1,2]
'\\u0000' "\\u0000" [nan,nan] {a=1} [ ] = # 1_000"""
VALUES = st.one_of(
    st.sampled_from(_WORDS.split()),
    st.integers().map(str),
    st.floats().map(str),
    st.text(max_size=8).map(repr),
)
KEYS = [
    f"{section}.{key}"
    for section, field in Settings.model_fields.items()
    for key in field.annotation.model_fields  # type: ignore[union-attr]
]


def mutate_text(text: str, data: st.DataObject) -> str:
    """Changes lines: drops, repeats, swaps, cuts or overwrites them, or gives a key another value."""
    lines = text.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(lines) - 1))
        kind = data.draw(st.sampled_from(["drop", "repeat", "swap", "cut", "value", "insert", "character"]))
        line = lines[place]
        if kind == "drop":
            lines[place] = ""
        elif kind == "repeat":
            lines.insert(place, line)
        elif kind == "swap":
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[place], lines[other] = lines[other], line
        elif kind == "cut":
            lines[place] = line[: data.draw(st.integers(0, len(line)))]
        elif kind == "value" and "=" in line:
            lines[place] = f"{line.partition('=')[0]}= {data.draw(VALUES)}"
        elif kind == "insert":
            lines.insert(
                place, f"{data.draw(st.sampled_from([*KEYS, 'budget', 'videos', 'seeds']))} = {data.draw(VALUES)}"
            )
        else:
            at = data.draw(st.integers(0, len(line)))
            lines[place] = line[:at] + data.draw(st.characters()) + line[at + 1 :]
    return "\n".join(lines)


def assert_planned_or_refused(*arguments: str) -> None:
    result = CliRunner().invoke(main, ["plan", "--json", *arguments])
    assert result.exit_code in (0, 2), result.output
    if result.exit_code == 2:
        assert result.stdout == ""
        complaint = result.stderr.rstrip("\n")
        assert complaint
        assert "\n" not in complaint or complaint.startswith("Usage: ")  # click's own, about options


@pytest.fixture(scope="module")
def experiments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experiments")
    shutil.copytree(EXPERIMENTS / "profiles", folder / "profiles")
    return folder


@settings(max_examples=900, suppress_health_check=FILES_DIFFER)
@given(data=st.data())
def test_mutated_manifests(experiments: Path, data: st.DataObject) -> None:
    path = experiments / "mutated.toml"
    text = mutate_text(data.draw(st.sampled_from(MANIFESTS)).read_text(), data)
    path.write_text(text, encoding="utf-8", errors="surrogateescape" if text.isascii() else "ignore")
    before = sorted(experiments.iterdir())
    assert_planned_or_refused(str(path), "--profile", data.draw(st.sampled_from(["paper", "lite", "smoke"])))
    assert sorted(experiments.iterdir()) == before


@settings(max_examples=100, suppress_health_check=FILES_DIFFER)
@given(contents=st.binary(max_size=400))
def test_files_that_are_no_manifests(experiments: Path, contents: bytes) -> None:
    path = experiments / "bytes.toml"
    path.write_bytes(contents)
    assert_planned_or_refused(str(path))


@settings(max_examples=400)
@given(key=st.one_of(st.sampled_from(KEYS), st.text(max_size=12)), value=VALUES)
@example(key='"a\\nb"', value="3")
def test_hostile_overrides(key: str, value: str) -> None:
    assert_planned_or_refused(str(EXPERIMENTS / "fig11_budget.toml"), f"--set={key}={value}")


def corrupt(contents: bytes, data: st.DataObject) -> bytes:
    """Flips a bit, cuts the end off, blanks a stretch, or moves bytes about."""
    kind = data.draw(st.sampled_from(["flip", "flip at the beginning", "cut", "blank", "splice", "foreign"]))
    place = data.draw(st.integers(0, len(contents) - 1))
    if kind.startswith("flip"):
        place = min(place, data.draw(st.integers(0, 300))) if kind != "flip" else place
        flipped = contents[place] ^ (1 << data.draw(st.integers(0, 7)))
        return contents[:place] + bytes([flipped]) + contents[place + 1 :]
    if kind == "cut":
        return contents[:place]
    if kind == "blank":
        length = data.draw(st.integers(1, 64))
        return contents[:place] + bytes(len(contents[place : place + length])) + contents[place + length :]
    if kind == "splice":
        return contents[place:] + contents[:place]
    return data.draw(st.binary(max_size=64))


def assert_whole_or_refused(path: Path, contents: bytes, read: Callable[[], object]) -> None:
    """Checks that `read` raises UsageError with one line, unless the file is unchanged; then puts it back."""
    changed = path.read_bytes() != contents
    try:
        read()
        refused = False
    except UsageError as error:
        assert str(path.parent) in str(error)
        assert "\n" not in str(error)
        refused = True
    finally:
        path.write_bytes(contents)
    assert refused == changed


@settings(max_examples=500, suppress_health_check=FILES_DIFFER)
@given(data=st.data())
def test_corrupted_datasets_and_encoders(finished_runs: tuple[Manifest, Path], data: st.DataObject) -> None:
    """What a job reads of another's folder is compared with its checksum before any library looks into it."""
    manifest, runs = finished_runs
    stage = data.draw(st.sampled_from(sorted(OUTPUT_FILES)))
    job = next(job for job in plan(manifest) if job.stage == stage)
    path = job.folder(runs).path / OUTPUT_FILES[job.stage]
    contents = path.read_bytes()
    path.write_bytes(corrupt(contents, data))
    assert_whole_or_refused(path, contents, lambda: verified(path.parent, path.name))


@settings(max_examples=200, suppress_health_check=FILES_DIFFER)
@given(data=st.data())
def test_corrupted_records(finished_runs: tuple[Manifest, Path], data: st.DataObject) -> None:
    manifest, runs = finished_runs
    folder = data.draw(st.sampled_from([job.folder(runs).path for job in plan(manifest)]))
    path = folder / "provenance.json"
    contents = path.read_bytes()
    path.write_bytes(corrupt(contents, data))
    try:
        for name, recorded in read_provenance(folder)["outputs"].items():
            damage(folder / name, recorded)
    except UsageError as error:
        assert str(folder) in str(error)
    finally:
        path.write_bytes(contents)


@settings(max_examples=300, suppress_health_check=FILES_DIFFER)
@given(data=st.data())
def test_corrupted_checkpoints(checkpoint: Path, data: st.DataObject) -> None:
    contents = checkpoint.read_bytes()
    checkpoint.write_bytes(corrupt(contents, data))
    assert_whole_or_refused(checkpoint, contents, lambda: load_checkpoint(checkpoint, "job"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "checkpoint.safetensors"
    env = PixelEnvironment("reacher-easy", Settings().environment.model_copy(update={"size": 32}))
    env.reset()
    save_checkpoint(path, {"environment": env.state(), "step": 3, "last_return": float("nan")}, "job")
    env.close()
    return path


@settings(max_examples=150, suppress_health_check=FILES_DIFFER)
@given(data=st.data())
def test_corrupted_encoders_without_a_record(
    finished_runs: tuple[Manifest, Path], tmp_path: Path, data: st.DataObject
) -> None:
    """An encoder by itself has no checksum: a changed weight goes unnoticed, but whatever else is wrong is said."""
    manifest, runs = finished_runs
    job = next(job for job in plan(manifest) if job.stage == "pretrain")
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(corrupt((job.folder(runs).path / path.name).read_bytes(), data))
    encoder = ConvEncoder(job.settings.encoder, 3)
    try:
        load_encoder(path, encoder, RunningStatistics(job.settings.encoder))
    except UsageError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)


@settings(max_examples=50, suppress_health_check=FILES_DIFFER)
@given(data=st.data())
def test_corrupted_videos(clip: bytes, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(corrupt(clip, data))
    try:
        frames = load_video(path, 20)
    except UsageError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
    else:
        assert frames.shape[1:] == (20, 20, 3)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", FRAMES[:8]).read_bytes()


def test_a_job_refuses_a_damaged_input(finished_runs: tuple[Manifest, Path], tmp_path: Path) -> None:
    """The same through the command line, for each kind of input."""
    manifest, finished = finished_runs
    for stage, job in {job.stage: job for job in plan(manifest) if job.inputs}.items():
        runs = tmp_path / stage
        shutil.copytree(finished, runs)
        shutil.rmtree(job.folder(runs).path)
        needed = job.inputs[0]
        file = needed.folder(runs).path / OUTPUT_FILES[needed.stage]
        contents = bytearray(file.read_bytes())
        contents[len(contents) // 2] ^= 1
        file.write_bytes(contents)
        options = [f"--profile={manifest.profile}", *(f"--set={text}" for text in manifest.overrides)]
        result = CliRunner().invoke(main, [stage, str(manifest.path), *options, f"--runs={runs}", "--quiet"])
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
        assert f"{file}: damaged: its checksum (SHA-256) differs: delete" in result.stderr
        assert not job.folder(runs).path.exists()
    assert set(OUTPUT_FILES) < set(STAGES)
