"""Budgets of environment steps: shared between pretraining and reinforcement learning."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rlpt.errors import UsageError
from rlpt.manifest import load_manifest
from tests.conftest import MINIMAL


def test_a_budget_is_shared_with_pretraining(write_manifest: Callable[..., Path]) -> None:
    path = write_manifest("budget = 80_000\n" + MINIMAL + "pretrain_steps = 5_000\n")
    baseline, ik = load_manifest(path).conditions
    assert baseline.settings.train.steps == 80_000
    assert ik.settings.train.steps == 75_000
    assert ik.settings.generate.transitions == 5_000


def test_images_cost_no_steps(write_manifest: Callable[..., Path]) -> None:
    manifest = load_manifest(write_manifest("budget = 80_000\n" + MINIMAL.replace('"ik"', '"imagenet"')))
    assert [each.settings.train.steps for each in manifest.conditions] == [80_000, 80_000]


def test_a_budget_is_charged_for_what_is_learned_from(write_manifest: Callable[..., Path]) -> None:
    path = write_manifest("budget = 80_000\n" + MINIMAL + "pretrain_steps = 5_000\n")
    with pytest.raises(UsageError, match=r"conditions\.ik: ik\.transitions = 20000 is not pretrain_steps = 5000"):
        load_manifest(path, overrides=("ik.transitions=20_000",))
    _, ik = load_manifest(path, overrides=("ik.transitions=5_000",)).conditions
    assert (ik.settings.train.steps, ik.settings.generate.transitions) == (75_000, 200_000)


def test_a_budget_without_a_t_of_its_own_is_charged_for_the_whole_dataset(write_manifest: Callable[..., Path]) -> None:
    """Of which only a part may be learned from: the environment's steps were made."""
    path = write_manifest("budget = 80_000\n" + MINIMAL)
    _, ik = load_manifest(path, overrides=("generate.transitions=20_000", "ik.transitions=5_000")).conditions
    assert ik.settings.train.steps == 60_000


def test_a_budget_and_the_steps_of_training_are_not_both_set(write_manifest: Callable[..., Path]) -> None:
    path = write_manifest("budget = 300_000\n" + MINIMAL)
    with pytest.raises(UsageError, match=r"--set: train\.steps: a budget is shared"):
        load_manifest(path, overrides=("seeds=[2]", "train.steps=500"))


@pytest.mark.parametrize("place", ["[train]\nsteps = 9000\n", "[profiles.paper.train]\nsteps = 9000\n", ""])
def test_steps_are_not_set_beside_a_budget(write_manifest: Callable[..., Path], place: str) -> None:
    text = "budget = 100_000\n" + MINIMAL + "pretrain_steps = 5000\n"
    text += place or "train = { steps = 9000 }\n"
    with pytest.raises(UsageError, match=r"train\.steps: a budget is shared"):
        load_manifest(write_manifest(text))


def test_a_budget_may_be_larger_than_the_steps_of_a_run_without_one(write_manifest: Callable[..., Path]) -> None:
    text = "budget = 400_000\n" + MINIMAL.replace('pretrain = "ik"', 'pretrain = "ik"\npretrain_steps = 200_000')
    manifest = load_manifest(write_manifest(text + "[train]\nrandom_steps = 90_000\n"))
    assert [each.settings.train.steps for each in manifest.conditions] == [400_000, 200_000]


def test_t_is_set_where_it_is_decided(write_manifest: Callable[..., Path]) -> None:
    path = write_manifest(MINIMAL + "pretrain_steps = 5000\n")
    with pytest.raises(UsageError, match=r"--set conditions\.ik\.pretrain_steps=\.\.\. instead"):
        load_manifest(path, None, ("generate.transitions=100",))
    with pytest.raises(UsageError, match=r"--set: conditions\.ik: .*transitions = 100: pretrain_steps = 5000 decides"):
        load_manifest(path, None, ("conditions.ik.generate.transitions=100",))
    (_, ik) = load_manifest(path, None, ("conditions.ik.pretrain_steps=100",)).conditions
    assert ik.settings.generate.transitions == 100
    (_, ik) = load_manifest(path, None, ("generate.transitions=900", "ik.transitions=100")).conditions
    assert ik.settings.generate.transitions == 900


@pytest.mark.parametrize("override", ["generate.transitions=2", "ik.transitions=2", "ik.test_fraction=0.999999"])
def test_too_few_transitions_to_learn_from_are_refused(write_manifest: Callable[..., Path], override: str) -> None:
    with pytest.raises(UsageError, match=r"conditions\.ik: of T = \d+ transitions, .* fewer than 2 to learn from"):
        load_manifest(write_manifest(MINIMAL), None, (override,))


def test_random_steps_alone_are_no_training(write_manifest: Callable[..., Path]) -> None:
    text = "budget = 6_000\n" + MINIMAL + "pretrain_steps = 5_000\n"
    with pytest.raises(UsageError, match="leave nothing to train on"):
        load_manifest(write_manifest(text))
