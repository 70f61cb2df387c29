"""Which layers of a network are read."""

import pytest
import torch
from torch import Tensor

from bench_core import DataSpec
from bench_core.errors import ConfigError
from bench_encoders.convnet import ConvNet
from bench_methods.mimkd.layers import Layers, choose_map, read, read_black_image


def layers(*shapes: tuple[int, ...]) -> Layers:
    return Layers(torch.zeros(1, 3), {f"map{k}": torch.zeros(shape) for k, shape in enumerate(shapes)})


@pytest.mark.parametrize(
    ("shapes", "name", "expected"),
    [
        ([(1, 2, 8, 8), (1, 2, 4, 4), (1, 2, 2, 2)], None, "map1"),
        ([(1, 2, 4, 4)], None, "map0"),
        ([(1, 2, 8, 8), (1, 2, 4, 4)], "map1", "map1"),
    ],
)
def test_map_is_the_named_one_or_the_last_but_one(
    shapes: list[tuple[int, ...]], name: str | None, expected: str
) -> None:
    assert choose_map(layers(*shapes), "student_map", name) == expected


@pytest.mark.parametrize(
    ("shapes", "name", "message"),
    [
        ([], None, "teacher_map: the encoder has no maps; set local_weight and maps_weight to 0"),
        ([(1, 2, 4, 4)], "conv9", "teacher_map: the encoder has no map 'conv9'. Its maps: map0."),
        ([(1, 2, 16)], None, r"teacher_map: map 'map0' has shape \(1, 2, 16\), expected \(images, channels, height"),
    ],
)
def test_map_that_cannot_be_read_is_refused(shapes: list[tuple[int, ...]], name: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_map(layers(*shapes), "teacher_map", name)


@pytest.mark.parametrize("with_maps", [True, False])
def test_features_and_maps_are_those_of_the_encoder(student: ConvNet, images: Tensor, with_maps: bool) -> None:
    student.eval()
    features, maps = read(student, images, with_maps)
    assert torch.equal(features, student(images))
    assert {name: value.shape[1:] for name, value in maps.items()} == (
        {"conv1": (4, 4, 4), "conv2": (5, 2, 2)} if with_maps else {}
    )


def test_reading_a_black_image_leaves_the_encoder_unchanged(student: ConvNet, data: DataSpec) -> None:
    before = {name: value.clone() for name, value in student.state_dict().items()}
    student.train()
    features, maps = read_black_image(student, data, with_maps=True)
    assert (features.shape, maps["conv2"].shape) == ((1, 5), (1, 5, 2, 2))
    assert student.training
    assert student.stages["conv1"].training
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())
