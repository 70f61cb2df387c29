import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core.contracts import DataSpec
from bench_encoders.convnet import ConvNet, ConvNetConfig, bench_encoders


def spec(*shape: int) -> DataSpec:
    return DataSpec(shape=shape, splits={"train": 1}, mean=(0.4,) * shape[0], std=(0.2,) * shape[0])


def build(*shape: int, widths: tuple[int, ...] = (32, 64, 128)) -> ConvNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ConvNet(spec(*shape), ConvNetConfig(widths=widths))


def images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 32, 32), (2, 33, 47), (1, 1, 1)])
def test_any_size_and_any_number_of_channels_gives_features(shape: tuple[int, ...]) -> None:
    encoder = build(*shape)
    assert encoder(images(4, *shape)).shape == (4, encoder.dim) == (4, 128)


def test_stages_halve_the_map_while_2_by_2_remain() -> None:
    def sides(net: ConvNet, side: int) -> list[int]:
        return [m.shape[-1] for m in net.maps(images(2, 1, side, side)).values()]

    assert sides(build(1, 8, 8), 8) == [4, 2, 2]
    assert sides(build(1, 28, 28), 28) == [14, 7, 4]
    assert sides(build(1, 9, 9), 9) == [5, 3, 3]
    assert sides(build(1, 32, 32, widths=(8, 8, 8, 8)), 32) == [16, 8, 4, 2]


def test_stages_equal_convolution_batch_norm_and_relu() -> None:
    encoder = build(1, 8, 8, widths=(3, 5)).eval()
    x = (images(4, 1, 8, 8) - 0.4) / 0.2
    for stage in encoder.stages.values():
        conv, norm = stage[0], stage[1]  # type: ignore[index]  # stages are sequences of layers
        nn.init.uniform_(norm.running_mean, generator=torch.Generator().manual_seed(1))
        x = F.conv2d(x, conv.weight, stride=2, padding=1)
        x = (x - norm.running_mean.view(-1, 1, 1)) / (1 + norm.eps) ** 0.5
        x = x.clamp(min=0)
    torch.testing.assert_close(encoder(images(4, 1, 8, 8)), x.mean((2, 3)))


def test_features_are_the_average_of_the_deepest_map() -> None:
    encoder = build(1, 8, 8).eval()
    maps = encoder.maps(images(4, 1, 8, 8))
    assert list(maps) == ["conv1", "conv2", "conv3"]
    torch.testing.assert_close(encoder(images(4, 1, 8, 8)), maps["conv3"].mean((2, 3)))


def test_stages_have_the_configured_widths() -> None:
    encoder = build(3, 32, 32, widths=(64, 128, 256, 512))
    assert encoder.dim == 512
    assert [m.shape[1] for m in encoder.maps(images(2, 3, 32, 32)).values()] == [64, 128, 256, 512]


def test_features_and_maps_come_from_one_pass() -> None:
    encoder = build(1, 8, 8)
    passes = []
    encoder.standardize.register_forward_hook(lambda *_: passes.append(1))
    features, maps = encoder.features_and_maps(images(4, 1, 8, 8))
    assert len(passes) == 1
    assert torch.equal(features, maps["conv3"].mean((2, 3)))


def test_views_of_other_sizes_are_read() -> None:
    assert build(3, 32, 32)(images(2, 3, 16, 24)).shape == (2, 128)


def test_gradients_reach_every_parameter() -> None:
    encoder = build(1, 8, 8)
    encoder(images(4, 1, 8, 8)).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in encoder.parameters())


def test_widths_must_be_positive_and_at_least_one() -> None:
    with pytest.raises(ValueError, match=r"widths must each be >= 1, got \(32, 0\)"):
        ConvNetConfig(widths=(32, 0))
    with pytest.raises(ValueError, match="widths must have at least one number"):
        ConvNetConfig(widths=())


def test_only_images_are_read() -> None:
    assert "reads images" in str(ConvNet.skip_reason(spec(16), ConvNetConfig()))
    assert ConvNet.skip_reason(spec(1, 8, 8), ConvNetConfig()) is None


def test_it_is_registered() -> None:
    assert bench_encoders() == {"convnet": ConvNet}
