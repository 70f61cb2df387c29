"""Choice of the local map, and its locations as rows."""

import pytest
import torch
from torch import Tensor, nn

from bench_core import DataSpec, Encoder
from bench_core.conformance.toys import TinyEncoder
from bench_core.errors import ConfigError
from bench_methods.dim.local_maps import LocalMap, choose_map, draw_locations, flat, rows


class Pyramid(Encoder):
    """Encoder with maps of given sides; map k has k times as many channels."""

    def __init__(self, *sides: int) -> None:
        nn.Module.__init__(self)
        self.norm, self.sides = nn.BatchNorm2d(1), sides

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        x = self.norm(inputs)
        maps = {}
        for k, side in enumerate(self.sides, start=1):
            maps[f"map{k}"] = nn.functional.adaptive_avg_pool2d(x, side).repeat(1, k, 1, 1)
        return maps

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1)


def spec(side: int) -> DataSpec:
    return DataSpec(shape=(1, side, side), splits={"train": 8})


@pytest.mark.parametrize(
    ("side", "sides", "name"),
    [
        (32, (16, 8, 4), "map2"),  # Deep InfoMax on CIFAR
        (28, (14, 7), "map2"),  # on MNIST
        (64, (31, 15, 15, 15, 7), "map3"),  # on Tiny ImageNet
        (32, (32, 16, 8, 4), "map3"),
        (8, (4, 2, 2, 1), "map1"),  # 2 x 2 are too few to be parts
        (16, (3, 2, 1), "map1"),
        (32, (1,), "map1"),
    ],
)
def test_the_default_map_is_the_middle_one_with_about_4_pixels_for_each_location(
    side: int, sides: tuple[int, ...], name: str
) -> None:
    k = int(name[3:])
    assert choose_map(Pyramid(*sides), spec(side)) == LocalMap(name, k, sides[k - 1] ** 2)


def test_a_map_by_name_is_taken_and_an_unknown_one_refused() -> None:
    encoder = TinyEncoder(spec(8))
    assert choose_map(encoder, spec(8), "second") == LocalMap("second", 12, 16)
    with pytest.raises(ConfigError, match=r"no map named 'third'\. Its maps: first, second"):
        choose_map(encoder, spec(8), "third")


def test_choosing_a_map_changes_no_state() -> None:
    encoder = Pyramid(4, 2)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    choose_map(encoder, spec(8))
    assert encoder.training
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())


def test_rows_are_positions_with_their_channels() -> None:
    local_map = torch.arange(24.0).view(1, 4, 2, 3).repeat(2, 1, 1, 1)
    local_map[1] += 100
    assert rows(local_map).shape == (2, 6, 4)
    assert torch.equal(rows(local_map)[1, 5], local_map[1, :, 1, 2])
    chosen = torch.tensor([[5, 0], [1, 1]])
    picked = rows(local_map, chosen)
    assert torch.equal(picked[0], torch.stack((local_map[0, :, 1, 2], local_map[0, :, 0, 0])))
    assert torch.equal(picked[1, 0], local_map[1, :, 0, 1])


def test_drawn_locations_differ_within_an_image_and_between_images() -> None:
    rng = torch.Generator().manual_seed(0)
    drawn = draw_locations(200, 6, 4, rng)
    assert drawn is not None
    assert drawn.shape == (200, 4)
    assert all(len(set(row)) == 4 for row in drawn.tolist())
    assert drawn.flatten().bincount(minlength=6).float().div(200).sub(4 / 6).abs().max() < 0.15
    assert len({tuple(row) for row in drawn.tolist()}) > 50
    assert draw_locations(200, 6, None, rng) is None


def test_a_flattened_map_is_averaged_to_at_most_4_by_4() -> None:
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(flat(images[:, :, :2, :4]), images[:, :, :2, :4].flatten(1))
    assert flat(images).view(2, 3, 4, 4)[1, 2, 3, 0].item() == pytest.approx(images[1, 2, 6:, :2].mean().item())


def test_an_encoder_without_maps_over_positions_is_refused() -> None:
    class Vectors(Pyramid):
        def maps(self, inputs: Tensor) -> dict[str, Tensor]:
            return {name: values.flatten(2) for name, values in super().maps(inputs).items()}

    with pytest.raises(ConfigError, match=r"Vectors has no map over the positions of an image.*--encoders convnet"):
        choose_map(Vectors(4, 2), spec(8))
