import math
from typing import Any

import pytest
import torch
from lightly.loss import BarlowTwinsLoss
from torch import Tensor

from bench_core import Batch, DataSpec
from bench_methods.barlow_twins import BarlowTwins, BarlowTwinsConfig, barlow_terms, effective_dimensions

DIGITS = DataSpec(shape=(1, 8, 8), splits={"train": 256}, num_classes=10, views="glyph")
NATURAL = DataSpec(shape=(1, 8, 8), splits={"train": 96}, num_classes=10)


def draw(rows: int, units: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, units, generator=torch.Generator().manual_seed(seed))


def whitened(rows: int, units: int) -> Tensor:
    """Return uncorrelated columns of mean 0 and variance 1."""
    z = draw(rows, units).double()
    orthogonal: Tensor = torch.linalg.qr(z - z.mean(0))[0]
    return (orthogonal * math.sqrt(rows)).float()


def train(method: BarlowTwins, images: Tensor, *, steps: int) -> list[Any]:
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    rng = torch.Generator().manual_seed(3)
    losses = []
    for _ in range(steps):
        losses.append(method.train()(method.make_views(Batch(images, torch.arange(len(images))), rng)))
        optimizer.zero_grad()
        losses[-1].total.backward()
        optimizer.step()
    return losses


def test_the_two_sums_are_those_of_the_cross_correlation() -> None:
    z1, z2 = draw(9, 4), draw(9, 4, seed=1)
    c = torch.zeros(4, 4)
    for i in range(4):
        for j in range(4):
            a, b = z1[:, i] - z1[:, i].mean(), z2[:, j] - z2[:, j].mean()
            c[i, j] = (a * b).sum() / (a.square().sum() * b.square().sum()).sqrt()
    invariance = sum((1 - c[i, i]) ** 2 for i in range(4))
    redundancy = sum(c[i, j] ** 2 for i in range(4) for j in range(4) if i != j)
    ours = barlow_terms(z1, z2)
    assert float(ours[0]) == pytest.approx(float(invariance), abs=1e-4)
    assert float(ours[1]) == pytest.approx(float(redundancy), abs=1e-4)


@pytest.mark.parametrize("weight", [0.0051, 0.0, 1.0])
def test_the_loss_equals_lightlys(weight: float) -> None:
    z1 = 3 * draw(12, 6) + 1
    z2 = z1 + 0.5 * draw(12, 6, seed=1)
    invariance, redundancy = barlow_terms(z1, z2)
    theirs = BarlowTwinsLoss(lambda_param=weight)(z1, z2)
    assert torch.allclose(invariance + weight * redundancy, theirs, rtol=1e-5)


def test_equal_whitened_views_have_no_loss_and_opposite_ones_four_per_unit() -> None:
    z = whitened(32, 6)
    for value, expected in zip((*barlow_terms(z, z), *barlow_terms(z, -z)), (0, 0, 24, 0), strict=True):
        assert float(value) == pytest.approx(expected, abs=2e-3)


def test_independent_views_have_a_loss_near_one_per_unit() -> None:
    invariance, redundancy = barlow_terms(draw(4096, 20), draw(4096, 20, seed=1))
    assert float(invariance) == pytest.approx(20, rel=0.05)
    assert float(redundancy) == pytest.approx(20 * 19 / 4096, rel=0.3)


def test_constant_views_have_a_loss_of_one_per_unit() -> None:
    assert [float(term) for term in barlow_terms(torch.ones(8, 5), torch.ones(8, 5))] == [5.0, 0.0]


def test_the_sums_ignore_scale_and_shift_of_units_and_the_order_of_views_and_images() -> None:
    z1, z2 = draw(16, 5), draw(16, 5, seed=1)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(2))
    scale = torch.linspace(0.5, 4, 5)
    for same in (barlow_terms(scale * z1 + 3, z2 - scale), barlow_terms(z2, z1), barlow_terms(z1[order], z2[order])):
        assert torch.allclose(torch.stack(same), torch.stack(barlow_terms(z1, z2)), rtol=1e-3)


def test_the_gradient_equals_finite_differences() -> None:
    def total(first: Tensor) -> Tensor:
        invariance, redundancy = barlow_terms(first, z2)
        return invariance + 0.5 * redundancy

    z1, z2 = draw(6, 3).requires_grad_(), draw(6, 3, seed=1)
    (gradient,) = torch.autograd.grad(total(z1), z1)
    for i, j in ((0, 0), (3, 2), (5, 1)):
        step = torch.zeros(6, 3)
        step[i, j] = 1e-2
        with torch.no_grad():
            slope = (total(z1 + step) - total(z1 - step)) / 2e-2
        assert float(slope) == pytest.approx(float(gradient[i, j]), abs=2e-3)


def test_the_sums_are_computed_in_float32_under_autocast() -> None:
    z1, z2 = draw(12, 6), draw(12, 6, seed=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = barlow_terms(z1, z2)
    assert torch.equal(torch.stack(inside), torch.stack(barlow_terms(z1, z2)))


def test_repeated_units_count_as_one_dimension() -> None:
    z = whitened(32, 6)
    assert float(effective_dimensions(z)) == pytest.approx(6, abs=1e-3)
    assert float(effective_dimensions(z[:, :1].repeat(1, 6))) == pytest.approx(1, abs=1e-3)
    assert float(effective_dimensions(torch.cat((z, z), 1)[:16])) <= 6
    assert float(effective_dimensions(torch.ones(8, 6))) == 0


def test_dimensions_are_the_same_from_either_gram_matrix() -> None:
    z = draw(7, 12)
    unit = (z - z.mean(0)) / z.std(0, correction=0)
    e = torch.linalg.eigvalsh(unit.T @ unit)
    assert float(effective_dimensions(z)) == pytest.approx(float(e.sum() ** 2 / e.square().sum()), rel=1e-4)
    assert float(effective_dimensions(z)) <= 6


@pytest.mark.parametrize(
    "values",
    [{"hidden_dim": 0}, {"output_dim": 0}, {"redundancy_weight": -1.0}, {"scale": 0.0}, {"solarize": 1.5}],
)
def test_values_out_of_range_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} must be"):
        BarlowTwinsConfig(**values)


def test_a_batch_of_one_image_is_refused() -> None:
    with pytest.raises(ValueError, match="needs at least 2 images in a batch, got 1"):
        barlow_terms(torch.zeros(1, 3), torch.zeros(1, 3))
    assert barlow_terms(torch.zeros(2, 3), torch.zeros(2, 3))[0].item() == 3


def test_variants_are_configs() -> None:
    assert [BarlowTwinsConfig(**v.settings).redundancy_weight for v in BarlowTwins.variants.values()] == [0.0]


def test_only_the_second_view_is_solarized_and_none_of_glyphs(make: Any, data: DataSpec) -> None:
    natural = make(BarlowTwins, NATURAL, output_dim=8)
    assert (natural.first.solarize_prob, natural.second.solarize_prob) == (0.0, 0.2)
    for still in (make(BarlowTwins, data, output_dim=8), make(BarlowTwins, NATURAL, augmentation="none")):
        assert still.second == still.first


def test_views_are_two_different_ones_of_each_image(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    views = make(BarlowTwins, data, output_dim=8).make_views(batch, rng)
    assert views.shape == (24, 1, 8, 8)
    assert not torch.equal(views[:12], views[12:])


def test_the_loss_is_scaled_and_each_view_has_its_own_batch_statistics(
    make: Any, data: DataSpec, batch: Batch, rng: Any
) -> None:
    method = make(BarlowTwins, data, hidden_dim=16, output_dim=8)
    views = method.make_views(batch, rng)
    loss = method(views)
    z1, z2 = (method.projector(method.encoder(view)) for view in (views[:12], views[12:]))
    assert torch.allclose(loss.total, 0.1 * BarlowTwinsLoss(0.0051)(z1, z2), rtol=1e-4)


def test_gradients_reach_the_encoder_and_the_projector(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    method = make(BarlowTwins, data, hidden_dim=16, output_dim=8)
    method(method.make_views(batch, rng)).total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_the_loss_falls_on_a_few_images(make: Any, digits: Tensor) -> None:
    losses = train(make(BarlowTwins, DIGITS, hidden_dim=64, output_dim=32), digits[:64], steps=60)
    first, last = (float(losses[k].total.detach()) for k in (0, -1))
    assert last < 0.4 * first


def test_without_the_redundancy_term_units_repeat_each_other_below_the_floor(make: Any, digits: Tensor) -> None:
    runs = {}
    for weight in (0.05, 0.0):
        method = make(BarlowTwins, DIGITS, hidden_dim=64, output_dim=32, redundancy_weight=weight)
        losses = train(method, digits[:256], steps=80)[-5:]
        runs[weight] = sum(float(loss.parts["dimensions"]) for loss in losses) / 5
        floor = losses[-1].floors["dimensions"]
    assert runs[0.0] < floor < 0.6 * runs[0.05]


def test_other_data_than_images_are_skipped() -> None:
    assert BarlowTwins.skip_reason(DataSpec(shape=(7,), splits={"train": 5}), BarlowTwinsConfig()) == "needs images"
