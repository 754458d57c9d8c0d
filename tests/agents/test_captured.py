"""The update as a CUDA graph against the same update, operation by operation."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from benchmarks.network_cases import random_draws
from benchmarks.workload import changed
from rlpt.agents.captured import CapturedUpdate, GraphPool, Metrics
from rlpt.agents.sac import SAC
from rlpt.data.batch import Batch, DrawnBatch
from rlpt.models import batch_norm, encoder
from rlpt.settings import Settings
from tests.agents.recorded_graph import Event, record_on_the_cpu
from tests.agents.test_sac import is_rounding_noise
from tests.conftest import DEVICES

UPDATES = 12
"Enough for every kind of update to be warmed up, captured and replayed."


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """The device to update on, with algorithms that leave nothing to chance.

    A CPU records graphs in Python, and uses a GPU's batch norm.
    """
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    if request.param == "cpu":
        record_on_the_cpu(monkeypatch)
        monkeypatch.setattr(encoder, "batch_norm_relu", batch_norm._by_the_framework)
        monkeypatch.setattr(
            encoder,
            "unbiased_variances",
            lambda spreads, counts: batch_norm.unbiased_variances(batch_norm._of_inverse_deviations(spreads), counts),
        )
    return torch.device(request.param)


def draws(settings: Settings, device: torch.device) -> list[DrawnBatch]:
    """Returns one batch an update, all from the same frames."""
    every = random_draws(settings, 8, 2, device)
    random = torch.Generator().manual_seed(0)
    orders = [torch.randperm(8, generator=random).to(device) for _ in range(UPDATES)]
    return [replace(every, places=every.places[:, order], outcomes=every.outcomes + order[0]) for order in orders]


def learned(
    agent: SAC, batches: Sequence[Batch | DrawnBatch]
) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """Makes one update a batch; returns their metrics and the weights after them."""
    rows: list[dict[str, float]] = []
    for step, batch in enumerate(batches):
        rows.append({name: value.item() for name, value in agent.update(batch, step).items()})
    return rows, {**agent.critic.state_dict(), **agent.actor.state_dict(), "log_alpha": agent.log_alpha.detach()}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_replayed_updates_are_the_updates(tiny_settings: Settings, precision: str, device: torch.device) -> None:
    """Whole batches are updated with operation by operation."""
    settings = changed(tiny_settings, "compute", precision=precision)
    captured, eager = (SAC(settings, 2, 0, device) for _ in range(2))
    drawn = draws(settings, device)
    rows, weights = learned(captured, drawn)
    expected_rows, expected_weights = learned(eager, [batch.cut() for batch in drawn])
    assert sum(update._graph is not None for update in captured._captured.values()) == 2
    assert not any(update._graph for update in eager._captured.values())
    tolerance = 0 if device.type == "cpu" else 1e-4
    for row, expected in zip(rows, expected_rows, strict=True):
        assert row == pytest.approx(expected, rel=tolerance, abs=0)
    for name, tensor in weights.items():
        if tolerance and is_rounding_noise(f".{name}"):
            continue
        torch.testing.assert_close(tensor, expected_weights[name], rtol=tolerance, atol=tolerance)


def test_a_captured_update_reads_the_batch_it_is_given(tiny_settings: Settings, device: torch.device) -> None:
    """Also after the frames have moved, which needs a new graph."""
    graphs = set()

    def brightness(batch: Batch, noises: Any) -> Metrics:
        return {"brightness": (batch.observations.float() + batch.rewards[..., None, None] + noises[0]).mean()}

    update = CapturedUpdate(brightness, GraphPool())
    given = draws(tiny_settings, device)
    moved = given[0].frames.clone()
    given += [replace(batch, frames=moved) for batch in given]
    moved //= 2
    for number, batch in enumerate(given):
        noise = torch.full((1,), float(number), device=device)
        found = update(batch, [noise])["brightness"].item()
        assert found == pytest.approx(brightness(batch.cut(), [noise])["brightness"].item())
        graphs.add(id(update._graph))
    assert len(graphs) == 3  # none, one, another


def test_the_host_is_one_update_ahead_and_no_more(tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU has the next update at hand, and a request to stop need not wait for a thousand."""
    record_on_the_cpu(monkeypatch)
    update = CapturedUpdate(lambda batch, noises: {"sum": batch.rewards.sum() + noises[0]}, GraphPool())
    for batch in draws(tiny_settings, torch.device("cpu")):
        update(batch, [torch.zeros(1)])
        assert len(Event.pending) <= 1
    assert Event.pending_at_waits == [2] * (UPDATES - 4)  # one runs, one is at hand


def test_a_captured_update_cannot_read_values(tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the other tests here rely on: on a GPU this would be an error, too."""
    record_on_the_cpu(monkeypatch)
    update = CapturedUpdate(lambda batch, _: {"reward": torch.tensor(batch.rewards.mean().item())}, GraphPool())
    given = draws(tiny_settings, torch.device("cpu"))
    for batch in given[:3]:
        update(batch, [])
    with pytest.raises(RuntimeError, match="the host waits"):
        update(given[3], [])
