from dataclasses import replace

import pytest
import torch

from bench_core import DataSpec
from bench_core.conformance.toys import TinyEncoder
from bench_encoders.convnet import ConvNet, ConvNetConfig
from bench_evaluators.linear_regions.breakpoints import breakpoints
from bench_methods.cross_view.encoder import ViewsEncoder
from bench_methods.cross_view.views import VIEWS


@pytest.fixture
def encoder(colours: DataSpec) -> ViewsEncoder:
    return ViewsEncoder(colours, VIEWS["l_ab"], lambda spec: ConvNet(spec, ConvNetConfig(widths=(4, 6)))).eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def test_features_of_all_views_lie_side_by_side(encoder: ViewsEncoder, images: torch.Tensor) -> None:
    views = VIEWS["l_ab"].split(images)
    features = encoder(images)
    assert encoder.dim == 12
    assert torch.equal(features[:, :6], encoder.encoders["l"](views["l"]))
    assert torch.equal(features[:, 6:], encoder.encoders["ab"](views["ab"]))
    assert torch.equal(encoder.all_features(images)[1]["ab"], features[:, 6:])


def test_maps_are_named_by_view_and_layer(encoder: ViewsEncoder, images: torch.Tensor) -> None:
    features, maps = encoder.features_and_maps(images)
    assert list(maps) == ["l_conv1", "ab_conv1", "l_conv2", "ab_conv2"]
    assert torch.equal(features, encoder(images))
    assert torch.equal(torch.cat([maps["l_conv2"], maps["ab_conv2"]], 1).mean((2, 3)), features)


def test_each_view_is_standardised_by_its_own_constants(encoder: ViewsEncoder) -> None:
    assert encoder.encoders["l"].get_buffer("standardize.std").flatten().tolist() == [0.25]
    assert encoder.encoders["ab"].get_buffer("standardize.std").flatten().tolist() == pytest.approx([0.05, 0.05])


def test_a_view_is_read_by_its_own_encoder_alone(encoder: ViewsEncoder) -> None:
    """Two colours of one lightness differ in the features of ab, not in those of l."""
    grey, other = torch.full((1, 3, 8, 8), 0.5), torch.full((1, 3, 8, 8), 0.5)
    other[:, 0] += 0.1
    low, high = 0.0, 0.5  # of the green channel, until both have one lightness
    target = VIEWS["l_ab"].split(grey)["l"]
    for _ in range(40):
        other[:, 1] = (low + high) / 2
        low, high = ((low + high) / 2, high) if VIEWS["l_ab"].split(other)["l"][0, 0, 0, 0] < target[0, 0, 0, 0] else (
            low, (low + high) / 2,
        )  # fmt: skip
    change = (encoder(grey) - encoder(other)).abs()[0]
    assert change[:6].max() < 1e-3
    assert change[6:].max() > 1e-2


def test_breakpoints_of_the_encoder_are_found_in_double_precision(encoder: ViewsEncoder, images: torch.Tensor) -> None:
    found = breakpoints(encoder.double(), images[0].double(), images[1].double())
    assert len(found.times) > 0
    assert len(found.by_layer) == 4


def test_an_encoder_of_any_size_of_image_is_built(colours: DataSpec) -> None:
    data = replace(colours, shape=(3, 12, 10))
    encoder = ViewsEncoder(data, VIEWS["r_g_b"], TinyEncoder)
    assert encoder(torch.rand(2, 3, 12, 10)).shape == (2, 36)
