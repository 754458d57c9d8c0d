"""The benchmark: what it reports, and that the plain implementation computes what rlpt does."""

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from benchmarks.agreement import LOSS_TOLERANCE, require_same_losses
from benchmarks.cases import BUILDERS
from benchmarks.convolution_forms import forms
from benchmarks.data_cases import filled_replays
from benchmarks.markdown import table
from benchmarks.measurement import Case
from benchmarks.network_cases import agents, ik_steps, imagenet_steps, random_draws
from benchmarks.plain_environment import composite_by_pixel
from benchmarks.rows import Row, as_json, as_table, chosen, measured
from benchmarks.workload import Workload, changed, paper_workload
from rlpt.envs.distraction import composite
from rlpt.errors import UsageError
from rlpt.settings import Settings
from tests.conftest import REPOSITORY, run_rlpt

CPU = torch.device("cpu")


@pytest.fixture
def workload(tiny_settings: Settings) -> Workload:
    loop = changed(tiny_settings, "train", steps=12, random_steps=6, initial_updates=1, evaluate_every=100)
    imagenet = changed(tiny_settings, "imagenet", batch_size=12, hidden=8)
    return Workload(
        tiny_settings,
        imagenet,
        tiny_settings,
        loop,
        environment="reacher-easy",
        steps=3,
        replay=40,
        dataset=30,
        generated=30,
    )


@pytest.fixture
def rows(workload: Workload) -> list[Row]:
    names = [name for name in BUILDERS if name != "startup"]  # its reference imports everything anew
    return [measured(name, "cpu", workload, rounds=1) for name in names]


def test_every_row_has_a_name_a_unit_and_positive_numbers(rows: list[Row], tmp_path: Path) -> None:
    assert [row.name for row in rows] == [name for name in BUILDERS if name != "startup"]
    assert [field.name for field in fields(Row)] == ["name", "unit", "ours", "reference", "ratio", "spread"]
    for row in rows:
        assert row.unit
        assert min(row.ours, row.reference, row.ratio) > 0
        assert row.spread == 0  # of one round

    by_name = {row.name: row for row in rows}
    speed, memory = by_name["train_loop"], by_name["replay_bytes"]
    assert speed.ratio == pytest.approx(speed.ours / speed.reference)
    assert memory.ratio == pytest.approx(memory.reference / memory.ours)
    assert memory.ratio > 5

    assert json.loads(as_json(rows))[0].keys() == {"name", "unit", "ours", "reference", "ratio", "spread"}
    (tmp_path / "rows.json").write_text(as_json(rows))
    assert sum(f"| `{name}` |" in table(tmp_path / "rows.json") for name in BUILDERS) == len(rows)
    console = Console(width=120, record=True)
    console.print(as_table(rows))
    assert "replay_bytes" in console.export_text()


def test_start_up_is_measured_in_a_process_of_its_own(workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr("subprocess.run", lambda command, **options: commands.append(command))
    row = measured("startup", "cpu", workload, rounds=2)
    assert row.name == "startup"
    assert [command[-1] == "--help" for command in commands] == [True, False, True, False]


def test_median_and_spread_are_those_of_the_rounds(workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0, 1, 0, 3, 0, 2, 0, 8, 0, 3, 0, 9])
    monkeypatch.setattr("subprocess.run", lambda command, **options: None)
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    row = measured("startup", "cpu", workload, rounds=3)
    assert (row.ours, row.reference, row.ratio) == (2000, 8000, 4)  # of 1, 2, 3 s and 3, 8, 9 s
    assert row.spread == pytest.approx((4 - 3) / 4)


def test_networks_compute_in_the_precision_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    tf32: list[bool] = []

    def building(workload: Workload, device: torch.device) -> AbstractContextManager[Case]:
        assert torch.backends.cudnn.allow_tf32

        def side() -> float:
            tf32.append(torch.backends.cudnn.allow_tf32)
            return 1.0

        every = workload.ik, workload.imagenet, workload.lite, workload.loop
        assert {settings.compute.precision for settings in every} == {"tf32"}
        return nullcontext(Case("ms", side, side))

    monkeypatch.setitem(BUILDERS, "ik_step", building)
    before = torch.backends.cudnn.allow_tf32
    measured("ik_step", "cpu", rounds=1, precision="tf32")
    assert tf32 == [True, False]  # the plain side is in float32
    assert torch.backends.cudnn.allow_tf32 == before


def test_bfloat16_is_near_enough_to_be_measured(workload: Workload) -> None:
    workload = replace(workload, ik=changed(workload.ik, "compute", precision="bfloat16"))
    names = ("sac_update_ik", "ik_step", "sac_update_lite")
    rows = [measured(name, "cpu", workload, rounds=1) for name in names]
    assert [row.unit.endswith(", bfloat16") for row in rows] == [True, True, False]


def test_unknown_rows_are_refused() -> None:
    with pytest.raises(UsageError, match="no such benchmark; there are sac_update_ik"):
        chosen(["sac_update_ik", "speed"])


def test_the_papers_sizes_are_those_of_the_manifests() -> None:
    workload = paper_workload(REPOSITORY / "experiments", torch.device("cuda"))
    assert (workload.ik.encoder.filters, workload.ik.train.batch_size) == (90, 128)
    assert (workload.imagenet.encoder.filters, workload.imagenet.train.batch_size) == (288, 128)
    assert workload.imagenet.imagenet.batch_size == 120
    assert workload.lite.encoder.filters == 18


def test_on_a_cpu_only_the_batches_of_288_filters_are_smaller() -> None:
    gpu, cpu = (paper_workload(REPOSITORY / "experiments", torch.device(name)) for name in ("cuda", "cpu"))
    assert (cpu.ik, cpu.lite) == (gpu.ik, gpu.lite)
    assert cpu.imagenet.train.batch_size < 128
    assert cpu.imagenet.encoder == gpu.imagenet.encoder


def test_a_gpu_is_measured_in_the_paper_s_training_loop() -> None:
    gpu, cpu = (paper_workload(REPOSITORY / "experiments", torch.device(name)) for name in ("cuda", "cpu"))
    assert (gpu.loop.encoder, gpu.loop.train.batch_size) == (gpu.ik.encoder, 128)
    assert cpu.loop.encoder == cpu.lite.encoder


def test_plain_sac_has_the_same_losses(tiny_settings: Settings) -> None:
    ours, plain = agents(tiny_settings, actions=2, device=CPU)
    batch = random_draws(tiny_settings, 8, 2, CPU).cut()
    for step in range(4):
        metrics = ours.update(batch, step), plain.update(batch, step)
        assert len(metrics[1]) == (6 if step % 2 == 0 else 2)
        require_same_losses(*metrics)


def test_plain_sac_moves_the_same_running_statistics(tiny_settings: Settings) -> None:
    ours, plain = agents(tiny_settings, actions=2, device=CPU)
    batch = random_draws(tiny_settings, 8, 2, CPU).cut()
    ours.update(batch, 0)
    plain.update(batch, 0)
    for owner, reference in ((ours.actor, plain.actor), (ours.critic, plain.critic), (ours.target, plain.target)):
        for layer, norm in enumerate(reference.encoder.norms):
            found = owner.statistics.mean[layer], owner.statistics.variance[layer]
            for values, name in zip(found, ("running_mean", "running_var"), strict=True):
                # A mean holds its convolution's bias, whose gradient is rounding: Adam's steps of it differ.
                torch.testing.assert_close(values, norm.get_buffer(name), rtol=1e-4, atol=5e-5)


def test_plain_sac_explores_alike(tiny_settings: Settings) -> None:
    ours, plain = agents(tiny_settings, actions=2, device=CPU)
    observation = np.random.default_rng(0).integers(0, 256, (9, 24, 24), np.uint8)
    for _ in range(2):
        np.testing.assert_allclose(ours.explore(observation), plain.explore(observation), rtol=0, atol=1e-5)


def test_plain_pretraining_has_the_same_losses(tiny_settings: Settings) -> None:
    for ours, plain in (ik_steps(tiny_settings, 8, CPU), imagenet_steps(tiny_settings, 12, CPU)):
        for _ in range(2):
            assert ours() == pytest.approx(plain(), rel=LOSS_TOLERANCE["float32"])


def test_plain_replay_draws_the_same_batches(tiny_settings: Settings) -> None:
    ours, plain = filled_replays(tiny_settings, 300)
    for _ in range(3):
        batches: list[Any] = [replay.sample(16, 20) for replay in (ours, plain)]
        for name in ("observations", "actions", "rewards", "discounts", "next_observations"):
            found, expected = (getattr(batch, name) for batch in batches)
            assert torch.equal(found, expected), name


def test_the_plain_chroma_key_keys_the_same_pixels() -> None:
    random = np.random.default_rng(0)
    frame, background = random.integers(0, 256, (2, 24, 24, 3), np.uint8)
    frame[:12] = (51, 204, 51)  # the green scene
    composited = composite_by_pixel(frame, background)
    assert np.array_equal(composited, composite(frame, background))
    assert np.array_equal(composited[:12], background[:12])


def test_the_forms_of_a_convolution_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.convolution_forms._BATCH", 2)
    monkeypatch.setattr("benchmarks.convolution_forms._PIXELS", 6)
    found = {
        name: torch.cat([convolution() for convolution in form], dim=1)
        for name, form in forms(CPU, torch.float32, torch.channels_last).items()
    }
    torch.testing.assert_close(found["apart"], found["grouped"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found["dense"], found["grouped"], rtol=1e-4, atol=1e-4)
    padded = found["padded to 32"].unflatten(1, (3, 32))
    torch.testing.assert_close(padded[:, :, :30].flatten(1, 2), found["grouped"], rtol=1e-4, atol=1e-4)
    assert not padded[:, :, 30:].any()


def test_different_losses_are_an_error() -> None:
    with pytest.raises(ArithmeticError, match=r"critic_loss is 1\.01"):
        require_same_losses({"critic_loss": 1.01}, {"critic_loss": 1.0})
    with pytest.raises(ArithmeticError, match="different losses"):
        require_same_losses({}, {"critic_loss": 1.0})


def test_a_row_that_cannot_be_measured_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(name: str, *_: Any, **__: Any) -> Row:
        if name == "replay_bytes":
            return Row(name, "bytes", 2.0, 3.0, 1.5, 0.0)
        raise {"render": RuntimeError, "env_step": ArithmeticError}[name](
            "no memory\nfor this" if name == "render" else ""
        )

    monkeypatch.setattr("benchmarks.rows.measured", measured)
    names = [f"--only={name}" for name in ("render", "replay_bytes", "env_step")]
    result = run_rlpt("bench", "--json", *names)
    assert result.exit_code == 1
    assert [row["name"] for row in json.loads(result.stdout)] == ["replay_bytes"]
    said = [line for line in result.stderr.splitlines() if not line.endswith("…")]
    assert said == [
        "rlpt: render: no memory: not measured",
        "replay_bytes: 1.50 (2 against 3 bytes)",
        "rlpt: env_step: ArithmeticError: not measured",
    ]
