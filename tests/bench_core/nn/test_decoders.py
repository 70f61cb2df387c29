import pytest
import torch
from torch import nn

from bench_core import DataSpec
from bench_core.nn.decoders import conv_decoder, decoder_skip_reason


def convolutions(shape: tuple[int, ...], latents: int = 5, width: int = 2) -> list[nn.ConvTranspose2d]:
    return [m for m in conv_decoder(latents, shape, width) if isinstance(m, nn.ConvTranspose2d)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sides", [(8, 8), (16, 16), (28, 28), (32, 32), (64, 64), (9, 9), (27, 15), (32, 48)])
def test_decoded_images_have_the_size_of_the_data(channels: int, sides: tuple[int, int]) -> None:
    shape = (channels, *sides)
    assert conv_decoder(5, shape, width=2)(torch.randn(3, 5)).shape == (3, *shape)


def test_decoder_of_32_pixels_is_the_small_generator_of_dcgan() -> None:
    first, *rest = conv_decoder(128, (3, 32, 32))
    assert isinstance(first, nn.Unflatten)
    kinds = [nn.ConvTranspose2d, nn.BatchNorm2d, nn.ReLU] * 3 + [nn.ConvTranspose2d]
    assert [type(m) for m in rest] == kinds
    convolutions_of_decoder = [
        (m.in_channels, m.out_channels, m.kernel_size, m.stride, m.padding)
        for m in rest
        if isinstance(m, nn.ConvTranspose2d)
    ]
    assert convolutions_of_decoder == [
        (128, 256, (4, 4), (1, 1), (0, 0)),
        (256, 128, (4, 4), (2, 2), (1, 1)),
        (128, 64, (4, 4), (2, 2), (1, 1)),
        (64, 3, (4, 4), (2, 2), (1, 1)),
    ]
    assert all(m.bias is None for m in rest if isinstance(m, nn.ConvTranspose2d))
    assert [m.num_features for m in rest if isinstance(m, nn.BatchNorm2d)] == [256, 128, 64]


def test_decoder_of_64_pixels_has_one_more_stage_and_28_pixels_start_at_7() -> None:
    assert [m.out_channels for m in convolutions((3, 64, 64))] == [16, 8, 4, 2, 3]
    assert [m.kernel_size for m in convolutions((1, 28, 28))] == [(7, 7), (4, 4), (4, 4)]
    assert [m.kernel_size for m in convolutions((1, 8, 8))] == [(4, 4), (4, 4)]


def test_weights_are_normal_with_a_standard_deviation_of_two_hundredths() -> None:
    torch.manual_seed(0)
    decoder = conv_decoder(64, (3, 32, 32))
    for module in decoder:
        if isinstance(module, nn.ConvTranspose2d):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.05)
            assert abs(module.weight.mean().item()) < 0.001
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.mean().item() == pytest.approx(1.0, abs=0.01)
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.4)
            assert not module.bias.any()


def test_decoder_returns_values_outside_0_to_1() -> None:
    torch.manual_seed(0)
    values = conv_decoder(16, (3, 32, 32))(300 * torch.randn(8, 16))
    assert values.min() < 0
    assert conv_decoder(16, (3, 32, 32)).eval()(1e5 * torch.randn(8, 16)).abs().max() > 1


def test_shapes_that_it_cannot_produce_are_refused_with_the_reason() -> None:
    for shape in [(7,), (3, 7, 32)]:
        with pytest.raises(ValueError, match=r"shape must be \(C, H, W\) with sides >= 8, got \("):
            conv_decoder(4, shape)
        assert decoder_skip_reason(DataSpec(shape=shape, splits={"train": 5})) is not None
    assert decoder_skip_reason(DataSpec(shape=(1, 8, 9), splits={"train": 5})) is None
    with pytest.raises(ValueError, match="latent_dim and width must be >= 1, got 0 and 64"):
        conv_decoder(0, (1, 8, 8))


def test_one_latent_and_one_channel_are_enough() -> None:
    assert conv_decoder(1, (1, 8, 8), width=1)(torch.ones(2, 1)).shape == (2, 1, 8, 8)
