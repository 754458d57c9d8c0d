"""The inverse-kinematics network against recorded outputs of the authors' implementation."""

import numpy as np
import pytest
import torch

from rlpt.data.crops import center_crop
from rlpt.models.inverse_kinematics import InverseKinematics, action_loss
from rlpt.settings import EncoderSettings, InverseKinematicsSettings
from tests.conftest import load_vectors, published_names

HEAD = {"1": "fc1", "2": "ln1", "5": "fc2", "6": "ln2", "9": "output"}


def published(own: str) -> str:
    if own.startswith("head."):
        _, layer, kind = own.split(".")
        return f"{HEAD[layer]}.{kind}"
    return published_names(own).removeprefix("encoder.")


def test_predictions_and_gradients_match_the_published_implementation() -> None:
    vectors = load_vectors("ik_a")
    settings = InverseKinematicsSettings(hidden=(8, 8), dropout=0.0)
    network = InverseKinematics(EncoderSettings(filters=3), frame_stack=3, actions=6, settings=settings)
    network.load_state_dict(
        {own: torch.from_numpy(vectors[f"init/{published(own)}"]) for own, _ in network.named_parameters()},
        strict=False,
    )
    pair = [torch.from_numpy(center_crop(vectors[key], 84)).float() for key in ("obs", "next_obs")]

    prediction = network(*pair)
    loss = action_loss(prediction, torch.from_numpy(vectors["action"]))
    loss.backward()
    np.testing.assert_allclose(prediction.detach(), vectors["train_prediction"], rtol=0, atol=1e-5)
    assert loss.item() == pytest.approx(float(vectors["train_loss"]), abs=1e-5)
    for own, parameter in network.encoder.named_parameters():
        assert parameter.grad is not None
        np.testing.assert_allclose(parameter.grad, vectors[f"grad/{published(own)}"], rtol=0, atol=1e-5, err_msg=own)

    network.eval()
    with torch.no_grad():
        np.testing.assert_allclose(network(*pair), vectors["eval_prediction"], rtol=0, atol=1e-5)


def test_dropout_is_what_is_set() -> None:
    encoder = EncoderSettings(filters=3, layers=3, grouped_layers=0, crop=20)
    network = InverseKinematics(encoder, 3, 2, InverseKinematicsSettings(hidden=(8, 8), dropout=0.25))
    assert [part.p for part in network.modules() if isinstance(part, torch.nn.Dropout)] == [0.25] * 3
