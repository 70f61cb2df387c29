from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import Batch, DataSpec
from bench_methods.simclr import SimCLR, SimCLRConfig, nt_xent


def draw(rows: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed))


def test_nt_xent_equals_equation_1() -> None:
    z, t, n = draw(8), 0.3, 4
    losses = []
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        s = [float(F.cosine_similarity(z[i], z[k], dim=0)) / t for k in range(2 * n)]
        candidates = sum(torch.tensor(s[k]).exp() for k in range(2 * n) if k != i)
        losses.append(-(torch.tensor(s[j]).exp() / candidates).log())
    assert torch.allclose(nt_xent(z, t), torch.stack(losses).mean(), atol=1e-6)


def test_nt_xent_of_identical_rows_is_log_of_the_number_of_others() -> None:
    assert nt_xent(torch.ones(16, 4), 0.5).item() == pytest.approx(torch.tensor(15.0).log().item())


def test_nt_xent_ignores_scale_and_the_order_of_views_and_images() -> None:
    z = draw(12)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    scales = torch.rand(12, 1, generator=torch.Generator().manual_seed(1)) + 0.1
    for same in (z * scales, z.roll(6, 0), z[torch.cat([order, order + 6])]):
        assert torch.allclose(nt_xent(same, 0.5), nt_xent(z, 0.5), atol=1e-6)


def test_nt_xent_is_computed_in_float32_under_autocast() -> None:
    z = draw(12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(nt_xent(z, 0.1), nt_xent(z, 0.1).float())
        inside = nt_xent(z, 0.1)
    assert torch.equal(inside, nt_xent(z, 0.1))


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
