"""The classifier of image stacks against recorded outputs of the authors' implementation."""

import numpy as np
import pytest
import torch

from rlpt.models.classifier import StackClassifier, classification_loss
from rlpt.settings import EncoderSettings
from tests.conftest import load_vectors, published_names, published_statistics

SMALL = EncoderSettings(crop=20, layers=3, filters=24, groups=3, grouped_layers=3)


def published(own: str) -> str:
    if own.startswith("heads."):
        _, image, layer, kind = own.split(".")
        return f"head{int(image) + 1}.{layer}.{kind}"
    return published_names(own)


def small_classifier(settings: EncoderSettings = SMALL) -> StackClassifier:
    torch.manual_seed(0)
    return StackClassifier(settings, frame_stack=3, classes=5, hidden=8)


def test_logits_and_loss_match_the_published_implementation() -> None:
    vectors = load_vectors("imagenet_a")
    encoder = EncoderSettings(filters=9, groups=3, grouped_layers=11)
    network = StackClassifier(encoder, frame_stack=3, classes=10, hidden=32)
    parameters = {own: torch.from_numpy(vectors[f"init/{published(own)}"]) for own, _ in network.named_parameters()}
    statistics = published_statistics(vectors, "init/encoder.")
    network.load_state_dict(parameters | {f"statistics.{own}": values for own, values in statistics.items()})

    logits = network(torch.from_numpy(vectors["images"]))
    loss = classification_loss(logits, torch.from_numpy(vectors["labels"]))
    np.testing.assert_allclose(logits.detach(), vectors["train_logits"], rtol=0, atol=1e-5)
    assert loss.item() == pytest.approx(float(vectors["train_loss"]), abs=1e-5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("groups", [3, 1])
def test_only_grouped_convolutions_keep_the_images_apart(groups: int, training: bool) -> None:
    """Two stacks: images 0, 2, 4 and 1, 3, 5. The second image of the first stack, number 2, is changed."""
    network = small_classifier(SMALL.model_copy(update={"groups": groups})).train(training)
    images = torch.rand(6, 3, 20, 20, generator=torch.Generator().manual_seed(1))
    changed = images.clone()
    changed[2] = 1 - changed[2]
    with torch.no_grad():
        differs = (network(images) != network(changed)).any(1).tolist()
    assert differs[2]
    assert any(differs[image] for image in (0, 1, 4, 5)) == (groups == 1)


def test_only_training_moves_the_running_statistics() -> None:
    network, images = small_classifier(), torch.rand(6, 3, 20, 20)
    network.eval()(images)
    assert network.statistics.mean.count_nonzero() == 0
    network.train()(images)
    assert network.statistics.mean.count_nonzero() > 0


def test_what_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="4 images do not fill stacks of 3"):
        small_classifier()(torch.rand(4, 3, 20, 20))
    with pytest.raises(ValueError, match="25 filters cannot be shared out among 3 images"):
        small_classifier(SMALL.model_copy(update={"filters": 25, "groups": 1}))
