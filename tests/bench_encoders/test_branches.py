from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import DataSpec
from bench_core.data import Pair
from bench_encoders.branches import Branches, BranchesConfig

SPLITS = {"train": 4}
IMAGE = DataSpec(shape=(1, 6, 8), splits=SPLITS, mean=(0.5,), std=(0.25,))
VECTOR = DataSpec(shape=(5,), splits=SPLITS)


def pairs_of(first: DataSpec, second: DataSpec) -> DataSpec:
    return DataSpec(shape=(), splits=SPLITS, kind="pairs", modalities={"one": first, "other": second})


def make(first: DataSpec, second: DataSpec, *widths: int) -> Branches:
    torch.manual_seed(0)
    return Branches(pairs_of(first, second), BranchesConfig(widths=widths)).eval()


@pytest.fixture
def pair() -> Pair:
    rng = torch.Generator().manual_seed(1)
    return Pair(torch.rand(3, 1, 6, 8, generator=rng), torch.rand(3, 5, generator=rng))


def test_features_are_those_of_the_first_branch_then_those_of_the_second(pair: Pair) -> None:
    encoder = make(IMAGE, VECTOR, 4, 7)
    features = encoder(pair)
    assert features.shape == (3, encoder.dim) == (3, 14)
    changed = encoder(Pair(pair.first, pair.second + 1))
    assert torch.equal(changed[:, :7], features[:, :7])
    assert not torch.allclose(changed[:, 7:], features[:, 7:])


def test_the_first_stage_of_images_is_convolution_norm_and_relu_written_slowly(pair: Pair) -> None:
    encoder = make(IMAGE, VECTOR, 2)
    stage: Any = encoder.first.stages[0]
    convolution, norm, _ = stage
    x = F.pad((pair.first - 0.5) / 0.25, (1, 1, 1, 1))
    expected = torch.zeros(3, 2, 3, 4)
    for n in range(3):
        for channel in range(2):
            for row in range(3):
                for column in range(4):
                    window = x[n, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
                    value = (window * convolution.weight[channel]).sum() / (1 + norm.eps) ** 0.5
                    expected[n, channel, row, column] = value.clamp(min=0)
    assert torch.allclose(encoder.maps(pair)["first1"], expected, atol=1e-5)
    assert torch.allclose(encoder(pair)[:, :2], expected.mean((2, 3)), atol=1e-5)


def test_maps_are_named_by_side_and_stage(pair: Pair) -> None:
    shapes = {name: tuple(value.shape[1:]) for name, value in make(IMAGE, VECTOR, 4, 7).maps(pair).items()}
    assert shapes == {"first1": (4, 3, 4), "second1": (4, 1), "first2": (7, 3, 4), "second2": (7, 1)}


def test_pairs_in_another_order_have_the_features_in_that_order(pair: Pair) -> None:
    encoder, order = make(IMAGE, VECTOR, 4), torch.tensor([2, 0, 1])
    assert torch.allclose(encoder(pair.select(order)), encoder(pair)[order], atol=1e-6)


def test_modalities_of_one_shape_do_not_share_weights() -> None:
    encoder = make(IMAGE, IMAGE, 4)
    image: Tensor = torch.rand(2, 1, 6, 8)
    features = encoder(Pair(image, image))
    assert not torch.allclose(features[:, :4], features[:, 4:])


def test_other_data_are_skipped_with_a_reason() -> None:
    graph = DataSpec(shape=(3,), splits=SPLITS, kind="graphs")
    assert Branches.skip_reason(IMAGE, BranchesConfig()) == "reads pairs; this data has the kind image"
    reason = Branches.skip_reason(pairs_of(IMAGE, graph), BranchesConfig())
    assert reason == "reads pairs of images or vectors; modality other has the kind graphs"
    assert Branches.skip_reason(pairs_of(IMAGE, VECTOR), BranchesConfig()) is None
    with pytest.raises(ValueError, match="widths must have at least one number"):
        BranchesConfig(widths=())
