from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import Batch, DataSpec
from bench_methods.simclr import SimCLR, SimCLRConfig


@pytest.mark.parametrize("values", [{"temperature": 0.0}, {"output_dim": 0}])
def test_values_out_of_range_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} must be"):
        SimCLRConfig(**values)


def test_views_are_two_different_ones_of_each_image(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    views = make(SimCLR, data).make_views(batch, rng)
    assert views.shape == (24, 1, 8, 8)
    assert not torch.equal(views[:12], views[12:])


def test_gradients_reach_the_encoder_and_the_projector(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    method = make(SimCLR, data)
    method(method.make_views(batch, rng)).total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_the_code_is_the_sign_of_the_projection(make: Any, data: DataSpec, images: Tensor) -> None:
    method = make(SimCLR, data, output_dim=6).eval()
    embedded = method.embed(images)
    assert torch.equal(embedded["features"], method.encoder(images))
    assert torch.equal(embedded["code"], method.projector(method.encoder(images)) > 0)
    assert embedded["code"].shape == (96, 6)


def test_other_data_than_images_are_skipped() -> None:
    assert SimCLR.skip_reason(DataSpec(shape=(7,), splits={"train": 5}), SimCLRConfig()) == "needs images"


def test_an_unknown_augmentation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"augmentation must be one of 'simclr', .*, got 'zz'"):
        SimCLRConfig(augmentation="zz")
