"""The update as a CUDA graph against the same update, operation by operation."""

from dataclasses import fields
from functools import partial

import pytest
import torch

from rlpt.agents.captured import CapturedUpdate, Metrics
from rlpt.agents.sac import SAC, Batch
from rlpt.settings import Settings

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

UPDATES = 12
"Enough for every kind of update to be warmed up, captured and replayed."


def batches(settings: Settings, device: torch.device) -> list[Batch]:
    random = torch.Generator().manual_seed(0)
    shape = (8, 9, settings.encoder.crop, settings.encoder.crop)

    def batch() -> Batch:
        images = [torch.randint(0, 256, shape, generator=random, dtype=torch.uint8) for _ in range(2)]
        actions = torch.rand(8, 2, generator=random) * 2 - 1
        parts = (images[0], actions, torch.rand(8, 1, generator=random), torch.ones(8, 1), images[1])
        return Batch(*(part.to(device) for part in parts))

    return [batch() for _ in range(UPDATES)]


def learned(agent: SAC, given: list[Batch]) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """Makes one update a batch; returns their metrics and the weights after them."""
    rows: list[dict[str, float]] = []
    for step, batch in enumerate(given):
        rows.append({name: value.item() for name, value in agent.update(batch, step).items()})
    return rows, {**agent.critic.state_dict(), **agent.actor.state_dict(), "log_alpha": agent.log_alpha.detach()}


def test_replayed_updates_are_the_updates(tiny_settings: Settings) -> None:
    device = torch.device("cuda")
    captured, eager = (SAC(tiny_settings, 2, 0, device) for _ in range(2))
    eager._updates = {kind: partial(eager._update, kind) for kind in eager._updates}  # type: ignore[misc]
    given = batches(tiny_settings, device)
    rows, weights = learned(captured, given)
    expected_rows, expected_weights = learned(eager, given)
    assert sum(update._graph is not None for update in captured._updates.values()) == 2
    for row, expected in zip(rows, expected_rows, strict=True):
        assert row == pytest.approx(expected, rel=1e-4)
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, expected_weights[name], rtol=1e-4, atol=1e-4)


def test_a_captured_update_reads_the_batch_it_is_given(tiny_settings: Settings) -> None:
    def mean_reward(batch: Batch, noises: object) -> Metrics:
        return {"reward": batch.rewards.mean()}

    given = batches(tiny_settings, torch.device("cuda"))
    update = CapturedUpdate(mean_reward)
    for batch in given:
        assert update(batch, [])["reward"].item() == pytest.approx(batch.rewards.mean().item())
    assert update._graph is not None
    assert len(update._inputs) == len(fields(Batch))
