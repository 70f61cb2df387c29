"""Points on a ring and on a grid of Gaussians, made by a formula."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import Split
from bench_core.data import digest_of
from bench_core.errors import RequestError
from bench_datasets.gaussian_ring import GaussianRing, GaussianRingConfig, centres


def dataset(**values: Any) -> GaussianRing:
    return GaussianRing(Path("nowhere"), GaussianRingConfig(**values))


def points(split: Split) -> tuple[Tensor, Tensor]:
    assert isinstance(split.inputs, Tensor)
    assert split.labels is not None
    return split.inputs, split.labels


@pytest.mark.parametrize(
    ("split", "digest"),
    [
        ("train", "sha256:47a8a1e441d7afeadfec02c5b44d8930479c44bad48e940fc75db3f546fd9fc6"),
        ("test", "sha256:dad33bf71ac6d89d2f2ae5bfaad73c6fd63ed5d443218b8d83844d1fe1744868"),
    ],
)
def test_points_are_the_same_on_every_machine(split: str, digest: str) -> None:
    assert digest_of(*points(dataset().load(split))) == digest


@pytest.mark.parametrize("layout", ["ring", "grid"])
def test_points_lie_around_their_centres_as_far_as_std_says(layout: Any) -> None:
    inputs, labels = points(dataset(layout=layout, std=0.03, modes=9).load("train"))
    offsets = inputs.double() - torch.from_numpy(centres(9, layout))[labels]
    assert torch.allclose(offsets.std(0), torch.full((2,), 0.03, dtype=torch.float64), rtol=0.03)
    assert float(offsets.mean(0).abs().max()) < 0.002
    assert float((offsets[:, 0] * offsets[:, 1]).mean().abs()) < 0.1 * 0.03**2


def test_centres_of_a_ring_and_of_a_grid_by_hand() -> None:
    ring, grid = torch.from_numpy(centres(4, "ring")), torch.from_numpy(centres(4, "grid"))
    assert torch.allclose(ring, torch.tensor([[1, 0], [0, 1], [-1, 0], [0, -1]]).double(), atol=1e-12)
    assert torch.equal(grid, torch.tensor([[-1, -1], [-1, 1], [1, -1], [1, 1]]).double())
    assert torch.pdist(torch.from_numpy(centres(25, "grid"))).min() == 0.5


def test_each_mode_has_as_many_points_to_one() -> None:
    made = dataset(modes=7, train_size=24, test_size=8)
    assert points(made.load("train"))[1].bincount().tolist() == [4, 4, 4, 3, 3, 3, 3]
    assert len(made.load("test")) == 8
    assert made.spec().splits == {"train": 24, "test": 8}


@pytest.mark.parametrize("layout", ["ring", "grid"])
def test_spec_has_the_mean_and_deviation_of_the_points(layout: Any) -> None:
    made = dataset(layout=layout, std=0.1)
    inputs, _ = points(made.load("train"))
    spec = made.spec()
    assert spec.kind == "vector"
    assert spec.num_classes == 25
    assert inputs.mean(0).tolist() == pytest.approx(spec.mean, abs=0.005)
    assert inputs.std(0).tolist() == pytest.approx(spec.std, rel=0.01)


def test_parts_have_points_of_their_own_and_parameters_change_the_digest() -> None:
    train, test = (points(dataset().load(name))[0] for name in ("train", "test"))
    assert not (train[:100] == test[:100]).any()
    digests = {dataset(**values).digest() for values in ({}, {"std": 0.02}, {"modes": 16}, {"layout": "grid"})}
    assert len(digests) == 4
    assert dataset(train_size=50).digest() == dataset().digest(), "sizes are parameters of the key anyway"


def test_fewer_points_are_the_first_ones() -> None:
    few, many = (points(dataset(train_size=size).load("train"))[0] for size in (50, 500))
    assert torch.equal(few, many[:50])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layout": "grid", "modes": 24}, r"modes must be a square number for a grid \(4, 9, 16, 25\), got 24"),
        ({"train_size": 24}, "train_size must be >= modes, got 24 and 25"),
        ({"std": 0}, "std must be > 0, got 0"),
    ],
)
def test_parameters_that_give_no_such_mixture_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GaussianRingConfig(**values)


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(RequestError, match="no split named 'validation'; there are: train, test"):
        dataset().load("validation")
