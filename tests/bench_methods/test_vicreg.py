from typing import Any

import pytest
import torch
from lightly.loss import VICRegLoss
from torch import Tensor

from bench_core import Batch, DataSpec
from bench_methods.vicreg import VICReg, VICRegConfig, vicreg_terms

DIGITS = DataSpec(shape=(1, 8, 8), splits={"train": 256}, num_classes=10, views="glyph")
NATURAL = DataSpec(shape=(1, 8, 8), splits={"train": 96}, num_classes=10)


def draw(rows: int, units: int, seed: int = 0) -> Tensor:
    return 0.7 * torch.randn(rows, units, generator=torch.Generator().manual_seed(seed))


def train(method: VICReg, images: Tensor, *, steps: int) -> list[Any]:
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    rng = torch.Generator().manual_seed(3)
    losses = []
    for _ in range(steps):
        losses.append(method.train()(method.make_views(Batch(images, torch.arange(len(images))), rng)))
        optimizer.zero_grad()
        losses[-1].total.backward()
        optimizer.step()
    return losses


def test_the_terms_equal_the_code_written_as_loops() -> None:
    views, n, d = (draw(7, 3), draw(7, 3, seed=1)), 7, 3
    invariance = sum(float((views[0][k, j] - views[1][k, j]) ** 2) for k in range(n) for j in range(d)) / (n * d)
    variance = covariance = 0.0
    for z in views:
        mean = [float(z[:, j].sum()) / n for j in range(d)]
        c = [
            [sum(float((z[k, i] - mean[i]) * (z[k, j] - mean[j])) for k in range(n)) / (n - 1) for j in range(d)]
            for i in range(d)
        ]
        variance += sum(max(0.0, 1 - (c[j][j] + 1e-4) ** 0.5) for j in range(d)) / d / 2
        covariance += sum(c[i][j] ** 2 for i in range(d) for j in range(d) if i != j) / d
    assert [float(t) for t in vicreg_terms(*views)] == pytest.approx([invariance, variance, covariance], rel=1e-5)


def test_the_loss_equals_lightlys_with_the_weights_of_the_papers_code() -> None:
    z1, z2 = draw(12, 6), draw(12, 6, seed=1)
    t = vicreg_terms(z1, z2)
    assert torch.allclose(25 * t.invariance + 25 * t.variance + t.covariance, VICRegLoss()(z1, z2), rtol=1e-5)


def test_the_summed_variant_adds_the_views_variance_terms_as_the_paper_does() -> None:
    z1, z2 = draw(12, 6), draw(12, 6, seed=1)
    summed = sum((1 - (z.var(0) + 1e-4).sqrt()).clamp_min(0).mean() for z in (z1, z2))
    weight = VICReg.variants["summed"].settings["variance_weight"]
    assert float(weight * vicreg_terms(z1, z2).variance) == pytest.approx(25 * float(summed), rel=1e-5)


def test_collapsed_views_have_a_variance_term_near_one_and_no_other() -> None:
    assert [float(t) for t in vicreg_terms(torch.ones(8, 4), torch.ones(8, 4))] == pytest.approx([0, 0.99, 0])


def test_two_rows_have_the_unbiased_variance() -> None:
    z = torch.tensor([[0.5, 0.5], [-0.5, -0.5]])  # variance .5, covariance .5 in each view
    terms = vicreg_terms(z, -z)
    assert [float(t) for t in terms] == pytest.approx([1, 1 - 0.5001**0.5, 2 * 2 * 0.25 / 2])


def test_the_terms_ignore_a_common_shift_and_the_order_of_views_images_and_units() -> None:
    z1, z2, shift = draw(16, 5), draw(16, 5, seed=1), torch.linspace(-2, 2, 5)
    rows, units = torch.randperm(16, generator=torch.Generator().manual_seed(2)), torch.tensor([3, 0, 4, 1, 2])
    before = torch.stack(vicreg_terms(z1, z2))
    for a, b in ((z1 + shift, z2 + shift), (z2, z1), (z1[rows], z2[rows]), (z1[:, units], z2[:, units])):
        assert torch.allclose(torch.stack(vicreg_terms(a, b)), before, rtol=1e-4)


def test_the_gradient_equals_finite_differences() -> None:
    z1, z2 = draw(6, 3).requires_grad_(), draw(6, 3, seed=1)
    (gradient,) = torch.autograd.grad(torch.stack(vicreg_terms(z1, z2)).sum(), z1)
    for i, j in ((0, 0), (3, 2), (5, 1)):
        step = torch.zeros(6, 3)
        step[i, j] = 1e-2
        with torch.no_grad():
            up, down = (torch.stack(vicreg_terms(z1 + sign * step, z2)).sum() for sign in (1, -1))
        assert float(up - down) / 2e-2 == pytest.approx(float(gradient[i, j]), abs=1e-3)


def test_the_gradient_after_collapse_is_finite() -> None:
    z = torch.ones(8, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(vicreg_terms(z, z.detach()).variance, z)
    assert gradient.isfinite().all()


def test_the_terms_are_computed_in_float32_under_autocast() -> None:
    z1, z2 = draw(12, 6), draw(12, 6, seed=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = vicreg_terms(z1, z2)
    assert torch.equal(torch.stack(inside), torch.stack(vicreg_terms(z1, z2)))


@pytest.mark.parametrize(
    "values",
    [
        {"hidden_dim": 0},
        {"output_dim": 0},
        {"invariance_weight": -1.0},
        {"variance_weight": float("nan")},
        {"covariance_weight": -0.1},
        {"solarize": -0.1},
    ],
)
def test_values_out_of_range_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} must be"):
        VICRegConfig(**values)


def test_a_batch_of_one_image_is_refused() -> None:
    with pytest.raises(ValueError, match="needs at least 2 images in a batch, got 1"):
        vicreg_terms(torch.zeros(1, 3), torch.zeros(1, 3))


def test_variants_are_configs() -> None:
    built = {name: VICRegConfig(**v.settings).variance_weight for name, v in VICReg.variants.items()}
    assert built == {"summed": 50.0, "no_variance_term": 0.0}


def test_both_views_may_be_solarized_but_not_those_of_glyphs(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    assert make(VICReg, NATURAL, output_dim=8).augmentation.solarize_prob == 0.1
    assert make(VICReg, NATURAL, output_dim=8, augmentation="none").augmentation.solarize_prob == 0
    method = make(VICReg, data, output_dim=8)
    assert method.augmentation.solarize_prob == 0
    views = method.make_views(batch, rng)
    assert views.shape == (24, 1, 8, 8)
    assert not torch.equal(views[:12], views[12:])


def test_each_term_has_its_weight_and_each_view_its_batch_statistics(
    make: Any, data: DataSpec, batch: Batch, rng: Any
) -> None:
    method = make(
        VICReg, data, hidden_dim=16, output_dim=8, invariance_weight=3.0, variance_weight=5.0, covariance_weight=7.0
    )
    views = method.make_views(batch, rng)
    loss = method(views)
    z1, z2 = (method.projector(method.encoder(view)) for view in (views[:12], views[12:]))
    assert torch.allclose(loss.total, VICRegLoss(3.0, 5.0, 7.0)(z1, z2), rtol=1e-4)
    assert float(loss.parts["deviation"]) == pytest.approx(float(z1.detach().std(0).mean()), rel=1e-5)


def test_gradients_reach_the_encoder_and_the_projector(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    method = make(VICReg, data, hidden_dim=16, output_dim=8)
    method(method.make_views(batch, rng)).total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_the_loss_falls_on_a_few_images(make: Any, digits: Tensor) -> None:
    losses = train(make(VICReg, DIGITS, hidden_dim=64, output_dim=32), digits[:64], steps=60)
    first, last = (float(losses[k].total.detach()) for k in (0, -1))
    assert last < 0.8 * first


def test_without_the_variance_term_training_collapses_below_the_floor(make: Any, digits: Tensor) -> None:
    runs = {}
    for weight in (25.0, 0.0):
        method = make(VICReg, DIGITS, hidden_dim=64, output_dim=32, variance_weight=weight)
        losses = train(method, digits[:256], steps=80)[-5:]
        runs[weight] = sum(float(loss.parts["deviation"]) for loss in losses) / 5
        floor = losses[-1].floors["deviation"]
    assert runs[0.0] < floor < 0.4 * runs[25.0]


def test_other_data_than_images_are_skipped() -> None:
    assert VICReg.skip_reason(DataSpec(shape=(7,), splits={"train": 5}), VICRegConfig()) == "needs images"
