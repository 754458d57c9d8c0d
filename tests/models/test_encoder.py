"""The convolutional encoder: its grouped layers in several tensors, as a CPU computes them, and in one."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rlpt.errors import UsageError
from rlpt.models import encoder
from rlpt.models.encoder import ConvEncoder, RunningStatistics, architecture, load_encoder, open_encoder, save_encoder
from rlpt.settings import EncoderSettings


def an_encoder(filters: int, grouped_layers: int) -> ConvEncoder:
    torch.manual_seed(0)
    return ConvEncoder(settings(filters, grouped_layers), 3)


def settings(filters: int, grouped_layers: int) -> EncoderSettings:
    return EncoderSettings(filters=filters, layers=3, groups=3, grouped_layers=grouped_layers, crop=20)


def images() -> Tensor:
    return torch.rand(4, 9, 20, 20, generator=torch.Generator().manual_seed(1))


def outputs_and_gradients(net: ConvEncoder) -> list[Tensor]:
    feature_map, batch_statistics = net(images())
    weights = torch.randn(feature_map.shape, generator=torch.Generator().manual_seed(2))
    (feature_map * weights).sum().backward()
    # A convolution's bias has no effect before batch norm: its gradient is rounding.
    learned = [*(conv.weight for conv in net.convs), *net.norms.parameters()]
    return [feature_map.detach(), batch_statistics, *(parameter.grad for parameter in learned)]


@pytest.mark.parametrize("grouped_layers", [0, 1, 3])
def test_a_tensor_a_group_computes_the_same(grouped_layers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for lanes, parts in ((1, 3 if grouped_layers else 1), (1000, 1)):
        monkeypatch.setattr(encoder, "_VECTOR", lanes)
        net = an_encoder(48, grouped_layers)
        assert net._parts(images()) == parts
        results.append(outputs_and_gradients(net))
    for in_parts, whole in zip(*results, strict=True):
        torch.testing.assert_close(in_parts, whole, rtol=0, atol=1e-5 * float(whole.abs().max()))


def test_gradients_lie_as_their_weights_do() -> None:
    """As fused Adam needs it."""
    net = an_encoder(48, 2).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    outputs_and_gradients(net)
    for conv in net.convs:
        weight = conv.get_parameter("weight")
        assert weight.grad is not None
        assert weight.grad.stride() == weight.stride()


@pytest.mark.parametrize("filters", [45, 48])
def test_bfloat16_rounds_and_no_more(filters: int) -> None:
    net = an_encoder(filters, 2)
    exact, _ = net(images())
    net.precision = "bfloat16"
    rounded, _ = net(images())
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0, atol=0.1)


def test_evaluation_rounds_as_training_does() -> None:
    net = an_encoder(48, 2)
    exact = evaluated(net, images())
    net.precision = "bfloat16"
    assert not torch.equal(evaluated(net, images()), exact)


@pytest.mark.parametrize("filters", [45, 48])
def test_batch_statistics_are_means_and_unbiased_variances(filters: int) -> None:
    net = an_encoder(filters, 2)
    pair = images()[:2]
    _, (means, variances) = net(pair)
    convolved = net.convs[0](pair)
    torch.testing.assert_close(means[0], convolved.mean((0, 2, 3)))
    torch.testing.assert_close(variances[0], convolved.var((0, 2, 3)), rtol=1e-4, atol=0)


@pytest.mark.parametrize("missing", ["crop", "filters"])
def test_what_an_encoder_s_file_does_not_say_is_the_default(tmp_path: Path, missing: str) -> None:
    """As there was no setting for it when the file was written: here crop has its default, and filters have not."""
    chosen = EncoderSettings(filters=9, layers=3, groups=3, grouped_layers=2)
    net, statistics = ConvEncoder(chosen, 3), RunningStatistics(chosen)
    net.architecture = {key: value for key, value in architecture(chosen, 3).items() if key != missing}
    save_encoder(tmp_path / "encoder.safetensors", net, statistics)
    other = ConvEncoder(chosen, 3)
    refusal = pytest.raises(UsageError, match=r"another architecture: the file has .*filters 90")
    with refusal if missing == "filters" else nullcontext():
        load_encoder(tmp_path / "encoder.safetensors", other, statistics)
        assert all(map(torch.equal, other.parameters(), net.parameters()))


def test_an_encoder_of_another_crop_is_refused(tmp_path: Path) -> None:
    save_encoder(tmp_path / "encoder.safetensors", an_encoder(48, 2), RunningStatistics(settings(48, 2)))
    other = settings(48, 2).model_copy(update={"crop": 24})
    with pytest.raises(UsageError, match=r"another architecture: the file has .*crop 20.*ask for .*crop 24"):
        load_encoder(tmp_path / "encoder.safetensors", ConvEncoder(other, 3), RunningStatistics(other))


def test_an_encoder_s_file_opens_by_itself(tmp_path: Path) -> None:
    chosen = EncoderSettings(filters=9, layers=3, groups=3, grouped_layers=2, crop=40)
    net, statistics = ConvEncoder(chosen, 2), RunningStatistics(chosen)
    pixels = torch.rand(4, 6, 40, 40)
    statistics.update(net(pixels)[1])
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, net, statistics)
    opened, its_statistics = open_encoder(path)
    assert opened.architecture == net.architecture
    assert torch.equal(opened.evaluate(pixels, its_statistics), net.evaluate(pixels, statistics))
    for damage in ({"filters": "many"}, {"channels": None}, {"shape": 3}):
        net.architecture = architecture(chosen, 2) | damage
        save_encoder(path, net, statistics)
        with pytest.raises(UsageError, match=r"encoder\.safetensors: not readable as an encoder") as caught:
            open_encoder(path)
        assert "\n" not in str(caught.value)


def test_a_group_with_few_channels_is_left_with_the_others() -> None:
    assert an_encoder(filters=45, grouped_layers=2)._parts(images()) == 1
    assert an_encoder(filters=48, grouped_layers=2)._parts(images()) == 3
    assert an_encoder(filters=48, grouped_layers=2)._parts(images().to("meta")) == 1  # as the figures draw it


def test_one_group_sees_one_frame_only() -> None:
    """In the grouped layers, whatever the other frames show."""
    net = an_encoder(filters=48, grouped_layers=3)
    changed = images()
    changed[:, 3:] = 0
    for pair in ((net(images())[0], net(changed)[0]), (evaluated(net, images()), evaluated(net, changed))):
        same = [bool(torch.equal(*(x[:, part : part + 16] for x in pair))) for part in (0, 16, 32)]
        assert same == [True, False, False]


def evaluated(net: ConvEncoder, observations: Tensor) -> Tensor:
    return net.evaluate(observations, RunningStatistics(settings(48, 3)))
