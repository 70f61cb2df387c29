"""CIBHash: its loss by loops, values by hand, the gradient of both directions, invariances, refusals."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import Batch, DataSpec, EpochContext
from bench_core.nn.contrast import nt_xent
from bench_methods.feature_hashing.cibhash import (
    CIBHash,
    CIBHashConfig,
    bit_divergence,
    straight_through_codes,
)


def draw(rows: int, columns: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def test_loss_is_contrast_of_signs_plus_the_weighted_divergence_of_probabilities(
    hasher: Callable[..., Any], data: DataSpec, batch: Batch, rng: torch.Generator
) -> None:
    method = hasher(CIBHash, data, code_dim=6, temperature=0.4, kl_weight=0.25)
    views = method.make_views(batch, rng)
    loss = method(views)
    with torch.no_grad():
        p = method.head(method.encoder(views)).double().sigmoid().tolist()
    n, bits = 12, 6
    codes = [[1.0 if value > 0.5 else -1.0 for value in row] for row in p]
    contrast = divergence = 0.0
    for i in range(2 * n):
        scores = [
            math.exp(sum(a * b for a, b in zip(codes[i], codes[k], strict=True)) / bits / 0.4) for k in range(2 * n)
        ]
        contrast -= math.log(scores[(i + n) % (2 * n)] / (sum(scores) - scores[i])) / (2 * n)
    for i in range(n):
        for a, b in zip(p[i], p[i + n], strict=True):
            for x, y in ((a, b), (b, a)):
                divergence += (x * math.log(x / y) + (1 - x) * math.log((1 - x) / (1 - y))) / 2 / n
    assert loss.parts["contrast"].item() == pytest.approx(contrast, rel=1e-5)
    assert loss.parts["divergence"].item() == pytest.approx(divergence, rel=1e-3)
    assert loss.total.item() == pytest.approx(contrast + 0.25 * divergence, rel=1e-5)
    equal = [a == b for i in range(n) for a, b in zip(codes[i], codes[i + n], strict=True)]
    assert loss.parts["agreement"].item() == pytest.approx(sum(equal) / len(equal))


def test_divergence_by_hand() -> None:
    first, second = torch.tensor([[math.log(3), 0.0]]), torch.zeros(1, 2)  # 3/4 and 1/2, against 1/2 and 1/2
    one_way = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    other_way = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert bit_divergence(first, second).item() == pytest.approx((one_way + other_way) / 2, rel=1e-5)
    assert bit_divergence(first, first).item() == 0


def test_divergence_of_certain_bits_is_finite_with_a_finite_gradient() -> None:
    first = torch.tensor([[200.0, -200.0]], requires_grad=True)
    divergence = bit_divergence(first, torch.tensor([[-200.0, -200.0]]))
    divergence.backward()  # type: ignore[no-untyped-call]  # torch's own has no types
    assert divergence.item() == pytest.approx(200)  # log(p + 1e-8) would end at 18
    assert first.grad is not None
    assert first.grad.isfinite().all()


def test_only_the_first_distribution_of_each_direction_moves() -> None:
    a, b = (draw(4, seed=seed).requires_grad_() for seed in (1, 2))
    of_a, of_b = torch.autograd.grad(bit_divergence(a, b), (a, b))
    p, q = a.sigmoid(), b.sigmoid()
    # d KL(p || q) / da = p (1 - p) (a - b) for a fixed q
    assert torch.allclose(of_a, p * (1 - p) * (a - b) / 2 / 4, atol=1e-6)
    assert torch.allclose(of_b, q * (1 - q) * (b - a) / 2 / 4, atol=1e-6)


def test_codes_are_signs_with_the_gradient_of_the_probabilities() -> None:
    logits = torch.tensor([[-2.0, -0.1, 0.0, 0.1, 3.0]], requires_grad=True)
    codes = straight_through_codes(logits)
    assert codes.tolist() == [[-1.0, -1.0, -1.0, 1.0, 1.0]]
    weights = torch.arange(5.0)
    (gradient,) = torch.autograd.grad((codes * weights).sum(), logits)
    assert torch.allclose(gradient, weights * logits.sigmoid() * (1 - logits.sigmoid()))


def test_loss_does_not_change_with_the_sign_of_a_bit_or_the_order_of_images() -> None:
    logits, order = draw(12), torch.tensor([3, 0, 5, 1, 4, 2])
    negated = logits * torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0])
    for same in (negated, logits[torch.cat([order, order + 6])], logits.roll(6, 0)):
        assert torch.allclose(nt_xent(straight_through_codes(same), 0.3), nt_xent(straight_through_codes(logits), 0.3))
        assert torch.allclose(bit_divergence(*same.chunk(2)), bit_divergence(*logits.chunk(2)), atol=1e-6)


def test_features_are_measured_before_the_first_epoch_alone(
    hasher: Callable[..., Any], data: DataSpec, images: Tensor, make_context: Callable[..., EpochContext]
) -> None:
    method = hasher(CIBHash, data)
    assert method.before_epoch(make_context(images, epoch=1)) == {}
    assert not method.head.mean.any()
    method.before_epoch(make_context(images, batch_size=40))
    with torch.no_grad():
        features = method.encoder(images)
    assert torch.allclose(method.head.mean, features.mean(0), atol=1e-6)
    assert method.head.deviation.item() == pytest.approx(features.var(0, correction=0).mean().sqrt().item(), rel=1e-4)


def test_without_weight_the_divergence_moves_nothing(
    hasher: Callable[..., Any], data: DataSpec, batch: Batch, rng: torch.Generator
) -> None:
    method = hasher(CIBHash, data, kl_weight=0.0)
    loss = method(method.make_views(batch, rng))
    assert torch.equal(loss.total, loss.parts["contrast"])


def test_views_are_two_different_ones_of_each_image(
    hasher: Callable[..., Any], data: DataSpec, batch: Batch, rng: torch.Generator
) -> None:
    views = hasher(CIBHash, data).make_views(batch, rng)
    assert views.shape == (24, 1, 8, 8)
    assert not torch.equal(views[:12], views[12:])


def test_other_data_than_images_are_skipped() -> None:
    assert CIBHash.skip_reason(DataSpec(shape=(7,), splits={"train": 5}), CIBHashConfig()) == "needs images"


@pytest.mark.parametrize("values", [{"temperature": 0.0}, {"code_dim": 0}, {"kl_weight": -1.0}, {"hidden_dim": 0}])
def test_values_out_of_range_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} must be"):
        CIBHashConfig(**values)
