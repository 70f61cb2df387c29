import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core.contracts import DataSpec
from bench_encoders.dim_conv import DIMConv, DIMConvConfig, bench_encoders


def build(side: int, width: float = 1.0, fc: int | None = None, channels: int = 3) -> DIMConv:
    data = DataSpec(shape=(channels, side, side), splits={"train": 1})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DIMConv(data, DIMConvConfig(width=width, fc=fc)).eval()


def images(n: int, side: int, channels: int = 3) -> Tensor:
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("side", "channels", "expected"),
    [
        (28, 1, [(64, 14, 14), (128, 7, 7)]),
        (32, 3, [(64, 16, 16), (128, 8, 8), (256, 4, 4)]),
        (8, 1, [(64, 4, 4), (128, 2, 2)]),
        (48, 3, [(64, 24, 24), (128, 12, 12), (256, 6, 6)]),
    ],
)
def test_maps_are_those_of_the_reference(side: int, channels: int, expected: list[tuple[int, int, int]]) -> None:
    encoder = build(side, channels=channels)
    with torch.no_grad():
        maps = encoder.maps(images(2, side, channels))
        features = encoder(images(2, side, channels))
    assert [tuple(local_map.shape[1:]) for local_map in maps.values()] == expected
    assert features.shape == (2, encoder.dim) == (2, 1024)
    assert bool((features >= 0).all())


def test_images_of_64_pixels_get_the_alexnet() -> None:
    encoder = build(64, fc=32)
    with torch.no_grad():
        maps = encoder.maps(images(1, 64))
    assert {name: tuple(local_map.shape[1:]) for name, local_map in maps.items()} == {
        "conv1": (96, 31, 31),
        "conv2": (192, 15, 15),
        "conv3": (384, 15, 15),
        "conv4": (384, 15, 15),
        "conv5": (192, 7, 7),
    }
    weights = [p for name, p in encoder.fc.named_parameters() if p.ndim == 2]
    assert [tuple(w.shape) for w in weights] == [(32, 192 * 7 * 7), (32, 32)]


def test_from_64_pixels_on_there_are_4096_features() -> None:
    assert build(64, width=1 / 96).dim == 4096


def test_features_equal_the_reference_written_as_one_list() -> None:
    encoder, x = build(32), images(2, 32)
    state = encoder.state_dict()
    with torch.no_grad():
        for k in (1, 2, 3):
            x = F.conv2d(x, state[f"convs.conv{k}.0.weight"], stride=2, padding=1)
            x = (x / (1 + 1e-5) ** 0.5).relu()  # batch norm as it starts
        x = (x.flatten(1) @ state["fc.1.weight"].T / (1 + 1e-5) ** 0.5).relu()
        torch.testing.assert_close(encoder(images(2, 32)), x, rtol=1e-4, atol=1e-5)


def test_width_multiplies_the_channels_and_fc_sets_the_features() -> None:
    encoder = build(32, width=0.25, fc=100)
    with torch.no_grad():
        assert [local_map.shape[1] for local_map in encoder.maps(images(1, 32)).values()] == [16, 32, 64]
    assert encoder.dim == 100


def test_images_need_not_be_square() -> None:
    encoder = DIMConv(DataSpec(shape=(1, 28, 40), splits={"train": 1}), DIMConvConfig(width=0.1, fc=8)).eval()
    assert encoder(torch.rand(2, 1, 28, 40)).shape == (2, 8)


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="width must be > 0, got 0"):
        DIMConvConfig(width=0.0)
    with pytest.raises(ValueError, match="fc must be >= 1, got 0"):
        DIMConvConfig(fc=0)


def test_other_data_than_images_are_skipped() -> None:
    assert "reads images" in str(DIMConv.skip_reason(DataSpec(shape=(7,), splits={"train": 1}), DIMConvConfig()))


def test_it_is_registered() -> None:
    assert bench_encoders() == {"dim_conv": DIMConv}
