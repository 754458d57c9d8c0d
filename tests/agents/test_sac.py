"""Soft Actor-Critic against recorded updates of the authors' implementation."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.plain_sac import PlainSAC
from rlpt.agents.sac import SAC
from rlpt.data.batch import Batch
from rlpt.errors import UsageError
from rlpt.models.encoder import ConvEncoder, RunningStatistics, save_encoder
from rlpt.settings import ComputeSettings, Precision, Settings
from tests.conftest import load_vectors, published_names, published_statistics

LOSSES = {
    "batch_reward": "train/batch_reward",
    "critic_loss": "train_critic/loss",
    "actor_loss": "train_actor/loss",
    "alpha_loss": "train_alpha/loss",
    "alpha": "train_alpha/value",
}


def networks(agent: SAC) -> Iterator[tuple[str, nn.Module]]:
    yield from (("actor", agent.actor), ("critic", agent.critic), ("critic_target", agent.target))


def load_published(agent: SAC, vectors: dict[str, np.ndarray], when: str = "init") -> None:
    for name, network in networks(agent):
        parameters = {
            own: torch.from_numpy(vectors[f"{when}/{name}/{published_names(own)}"])
            for own, _ in network.named_parameters()
        }
        network.load_state_dict(parameters, strict=False)
        assert isinstance(network.statistics, RunningStatistics)
        network.statistics.load_state_dict(published_statistics(vectors, f"{when}/{name}/encoder."))
    agent.log_alpha.data.fill_(float(vectors[f"{when}/log_alpha"]))


def published_batch(vectors: dict[str, np.ndarray], step: int) -> Batch:
    keys = ("obs", "action", "reward", "not_done", "next_obs")
    return Batch(*(torch.from_numpy(vectors[f"batch{step}/{key}"]) for key in keys))


def nudge_to_recorded_side(agent: SAC) -> None:
    """Moves one batch norm's shift by 4e-6, below every tolerance here.

    In exact arithmetic one unit of layer 6 enters its ReLU at +1.2e-6 in the first batch; rounding put it at -5e-7 in
    the recording, so that its gradient was cut off. Which side it falls on here would be luck.
    """
    with torch.no_grad():
        norm = agent.critic.encoder.norms[6]
        assert isinstance(norm.bias, torch.Tensor)
        norm.bias[0] -= 4e-6


def is_rounding_noise(name: str) -> bool:
    """Says whether a parameter's gradient is zero in exact arithmetic.

    Batch norm takes a convolution's bias away again: its gradient is nothing but rounding, which Adam scales up to
    steps of the learning rate.
    """
    return ".convs." in name and name.endswith(".bias")


def test_four_updates_match_the_published_implementation() -> None:
    vectors = load_vectors("sac_update_a")
    settings = Settings.model_validate({"encoder": {"filters": 9}, "agent": {"features": 12, "hidden": 16}})
    agent = SAC(settings, actions=6, seed=0, device=torch.device("cpu"))
    load_published(agent, vectors)
    nudge_to_recorded_side(agent)

    for step in range(4):
        draws = iter([vectors[f"batch{step}/noise{i}"] for i in range(2 - step % 2)])
        agent.noise = lambda shape, draws=draws: torch.from_numpy(next(draws)).reshape(shape)  # type: ignore[misc]
        metrics = agent.update(published_batch(vectors, step), step)
        logged = {own: theirs for own, theirs in LOSSES.items() if f"log/{step}/{theirs}" in vectors}
        assert len(logged) == (5 if step % 2 == 0 else 2)
        for own, theirs in logged.items():
            assert metrics[own].item() == pytest.approx(float(vectors[f"log/{step}/{theirs}"]), rel=1e-4), (
                step,
                own,
            )

    compared = 0
    for name, network in networks(agent):
        for own, parameter in network.named_parameters():
            if is_rounding_noise(f".{own}"):
                continue
            expected = vectors[f"final/{name}/{published_names(own)}"]
            far = np.abs(parameter.detach().numpy() - expected) > 1e-5
            # A weight that reads a feature within rounding of zero has no gradient to speak of: one in 10,000 may.
            assert far.mean() <= 1e-4, (name, own, int(far.sum()))
            compared += 1
    assert compared == 108
    assert agent.log_alpha.item() == pytest.approx(float(vectors["final/log_alpha"]), abs=1e-5)


def test_mean_action_matches_the_published_implementation() -> None:
    vectors = load_vectors("sac_update_a")
    settings = Settings.model_validate({"encoder": {"filters": 9}, "agent": {"features": 12, "hidden": 16}})
    agent = SAC(settings, actions=6, seed=0, device=torch.device("cpu"))
    load_published(agent, vectors, "final")
    np.testing.assert_allclose(agent.act(vectors["act/obs"]), vectors["act/mean_action"], rtol=0, atol=1e-5)


def tiny_agent(settings: Settings, **agent: object) -> Settings:
    return settings.model_copy(update={"agent": settings.agent.model_copy(update=agent)})


def random_batch(settings: Settings, actions: int) -> Batch:
    random = torch.Generator().manual_seed(0)
    shape = (8, 9, settings.encoder.crop, settings.encoder.crop)
    images = [torch.randint(0, 256, shape, generator=random, dtype=torch.uint8) for _ in range(2)]
    action = torch.rand(8, actions, generator=random) * 2 - 1
    return Batch(images[0], action, torch.ones(8, 1), torch.ones(8, 1), images[1])


def saved_encoder(settings: Settings, path: Path) -> ConvEncoder:
    encoder, statistics = ConvEncoder(settings.encoder, 3), RunningStatistics(settings.encoder)
    statistics.mean.fill_(0.25)
    save_encoder(path, encoder, statistics)
    return encoder


def test_an_encoder_is_loaded_into_actor_critic_and_target(tiny_settings: Settings, tmp_path: Path) -> None:
    encoder = saved_encoder(tiny_settings, tmp_path / "encoder.safetensors")
    agent = SAC(tiny_settings, 2, 0, torch.device("cpu"), tmp_path / "encoder.safetensors")
    for loaded in (agent.critic.encoder, agent.target.encoder):
        for own, expected in zip(loaded.parameters(), encoder.parameters(), strict=True):
            assert torch.equal(own, expected)
    for _, network in networks(agent):
        assert torch.equal(network.get_buffer("statistics.mean"), torch.full((3, 6), 0.25))


@pytest.mark.parametrize(
    ("head_init", "pretrained", "orthogonal"),
    [
        ("published", False, True),
        ("published", True, False),
        ("orthogonal", True, True),
        ("default", False, False),
    ],
)
def test_heads_start_as_the_setting_says(
    tiny_settings: Settings, tmp_path: Path, head_init: str, pretrained: bool, orthogonal: bool
) -> None:
    path = tmp_path / "encoder.safetensors"
    encoder = saved_encoder(tiny_settings, path)
    settings = tiny_agent(tiny_settings, head_init=head_init)
    agent = SAC(settings, 2, 0, torch.device("cpu"), path if pretrained else None)
    linear = [
        (name, layer)
        for part, network in networks(agent)
        for name, layer in network.named_modules(prefix=part)
        if isinstance(layer, nn.Linear)
    ]
    assert len(linear) == 4 + 7 + 7
    for name, layer in linear:
        assert (is_orthogonal(layer.weight), bool((layer.bias == 0).all())) == (orthogonal, orthogonal), name
    for conv, saved in zip(agent.critic.encoder.convs, encoder.convs, strict=True):
        assert isinstance(conv, nn.Conv2d) and isinstance(saved, nn.Conv2d)
        assert torch.equal(conv.weight, saved.weight) == pretrained
        off_centre = conv.weight.detach().clone()
        off_centre[:, :, 1, 1] = 0
        assert bool((off_centre == 0).all()) == (orthogonal and not pretrained)


def is_orthogonal(weight: torch.Tensor) -> bool:
    gram = weight @ weight.T if len(weight) <= weight.shape[1] else weight.T @ weight
    return torch.allclose(gram, torch.eye(len(gram)), atol=1e-5)


def test_an_encoder_of_another_architecture_is_refused(tiny_settings: Settings, tmp_path: Path) -> None:
    other = tiny_settings.model_copy(update={"encoder": tiny_settings.encoder.model_copy(update={"filters": 9})})
    saved_encoder(other, tmp_path / "encoder.safetensors")
    with pytest.raises(UsageError, match=r"file has .*filters 9.*settings ask for .*filters 6"):
        SAC(tiny_settings, 2, 0, torch.device("cpu"), tmp_path / "encoder.safetensors")


def test_a_file_that_is_no_encoder_is_refused(tiny_settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(b"not safetensors")
    with pytest.raises(UsageError, match="not readable as an encoder"):
        SAC(tiny_settings, 2, 0, torch.device("cpu"), path)


def test_actor_alpha_and_target_move_only_when_due(tiny_settings: Settings) -> None:
    agent = SAC(tiny_settings, 2, 0, torch.device("cpu"))

    def moved(step: int) -> list[bool]:
        heads = (agent.critic.q1, agent.actor.policy, agent.target.q1)
        watched = [*(next(head.parameters()) for head in heads), agent.log_alpha]
        before = [parameter.detach().clone() for parameter in watched]
        agent.update(random_batch(tiny_settings, 2), step)
        return [not torch.equal(a, b) for a, b in zip(before, watched, strict=True)]

    assert moved(1) == [True, False, False, False]
    assert moved(2) == [True, True, True, True]


def test_each_optimiser_has_its_own_rate(tiny_settings: Settings) -> None:
    rates = {"actor_learning_rate": 1e-2, "critic_learning_rate": 3e-3, "alpha_learning_rate": 1e-3}
    settings = tiny_agent(tiny_settings, **rates, betas=(0.8, 0.99), alpha_betas=(0.6, 0.9))
    agent = SAC(settings, 2, 0, torch.device("cpu"))
    (actor,), (critic,), (alpha,) = (
        optimiser.param_groups for optimiser in (agent.actor_optimiser, agent.critic_optimiser, agent.alpha_optimiser)
    )
    assert [(group["lr"], group["betas"]) for group in (actor, critic, alpha)] == [
        (1e-2, (0.8, 0.99)),
        (3e-3, (0.8, 0.99)),
        (1e-3, (0.6, 0.9)),
    ]
    for group, parameters in ((actor, agent.actor.parameters()), (critic, agent.critic.parameters())):
        assert list(map(id, group["params"])) == list(map(id, parameters))
    assert alpha["params"] == [agent.log_alpha]


def test_the_target_moves_towards_the_critic_at_its_rates(tiny_settings: Settings) -> None:
    agent = SAC(tiny_agent(tiny_settings, tau=0.5, encoder_tau=0.25), 2, 0, torch.device("cpu"))
    before = [parameter.clone() for parameter in agent.target.parameters()]
    agent.update(random_batch(tiny_settings, 2), 0)
    for old, (name, new), (_, critic) in zip(
        before, agent.target.named_parameters(), agent.critic.named_parameters(), strict=True
    ):
        rate = 0.25 if name.startswith(("encoder.", "projection.")) else 0.5
        torch.testing.assert_close(new, old + rate * (critic.detach() - old), rtol=0, atol=1e-7)
        assert not torch.equal(new, old), name


def test_acting_is_normalised_by_the_actors_statistics(tiny_settings: Settings) -> None:
    agent = SAC(tiny_settings, 2, 0, torch.device("cpu"))
    for statistics, mean in ((agent.actor.statistics, 0.1), (agent.critic.statistics, -0.3)):
        statistics.mean.fill_(mean)
        statistics.variance.fill_(mean + 1)
    plain = PlainSAC(tiny_settings, 2, 0, torch.device("cpu"))
    plain.load(agent)
    observation = np.random.default_rng(0).integers(0, 256, (9, 24, 24), np.uint8)
    np.testing.assert_allclose(agent.explore(observation), plain.explore(observation), atol=1e-6)
    agent.noise = torch.zeros
    np.testing.assert_allclose(agent.act(observation), agent.explore(observation))


def test_bfloat16_rounds_convolutions_alone(tiny_settings: Settings) -> None:
    """Losses are near those of float32, but not the same; weights, statistics and what the heads see stay float32."""
    precisions: tuple[Precision, ...] = ("float32", "tf32", "bfloat16")
    losses = []
    for precision in precisions:
        settings = tiny_settings.model_copy(update={"compute": ComputeSettings(precision=precision)})
        agent = SAC(settings, 2, 0, torch.device("cpu"))
        losses.append(agent.update(random_batch(tiny_settings, 2), 0)["critic_loss"].item())
        observation = np.zeros((9, 24, 24), np.uint8)
        assert np.isfinite(agent.act(observation)).all()
        assert {tensor.dtype for _, network in networks(agent) for tensor in network.state_dict().values()} == {
            torch.float32
        }
        feature_map, _ = agent.target.encoder(torch.zeros(2, 9, 20, 20))
        assert feature_map.dtype == torch.float32
    assert losses[0] == losses[1]  # on a CPU
    assert losses[2] != losses[0]
    assert losses[2] == pytest.approx(losses[0], rel=0.05)


def test_the_actors_loss_leaves_the_encoder_alone(tiny_settings: Settings) -> None:
    agent = SAC(tiny_settings, 2, 0, torch.device("cpu"))
    before = [parameter.detach().clone() for parameter in agent.critic.encoder.parameters()]
    agent._update_actor_and_alpha(random_batch(tiny_settings, 2).observations.float() / 255, torch.zeros(8, 2))
    for old, new in zip(before, agent.critic.encoder.parameters(), strict=True):
        assert torch.equal(old, new)


def test_exploring_depends_on_the_seed_only(tiny_settings: Settings) -> None:
    observation = np.zeros((9, 24, 24), np.uint8)
    actions = [SAC(tiny_settings, 2, seed, torch.device("cpu")).explore(observation) for seed in (1, 1, 2)]
    assert np.array_equal(actions[0], actions[1])
    assert not np.array_equal(actions[0], actions[2])
    assert actions[0].dtype == np.float32
    assert np.abs(actions[0]).max() <= 1


def test_a_run_of_another_kind_of_device_is_refused(tiny_settings: Settings) -> None:
    """A GPU's generator has a state of 16 bytes, a CPU's one of 5,056."""
    agent = SAC(tiny_settings, 2, 0, torch.device("cpu"))
    state = agent.state() | {"noise": torch.zeros(16, dtype=torch.uint8)}
    with pytest.raises(UsageError, match="began on another kind of device than cpu"):
        agent.restore(state)
