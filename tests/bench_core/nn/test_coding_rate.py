"""Values by hand and closed forms of rates; float64 to 1e-6, float32 to 1e-4."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core.nn.coding_rate import (
    class_set_distances,
    coding_rate,
    pair_distance,
    rate_ceiling,
    rate_floor,
    rate_reduction,
    set_distance,
)


def sphere(rows: int, dim: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    draws = torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(draws, dim=1).to(dtype)


def rotation(dim: int, seed: int = 9) -> Tensor:
    q, _ = torch.linalg.qr(sphere(dim, dim, seed))
    assert isinstance(q, Tensor)
    return q


def pair(cosine: float, dim: int = 128) -> tuple[Tensor, Tensor]:
    z, w = torch.zeros(2, 1, dim, dtype=torch.float64)
    z[0, 0], w[0, 0], w[0, 1] = 1, cosine, math.sqrt(1 - cosine**2)
    return z, w


def soft(rows: int, classes: int, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, classes, generator=generator, dtype=torch.float64).softmax(1)


def by_eigenvalues(z: Tensor, eps2: float) -> float:
    n, d = z.shape
    return 0.5 * float((d / (n * eps2) * torch.linalg.eigvalsh(z.T @ z).clamp_min(0)).log1p().sum())


@pytest.mark.parametrize(("rows", "dim"), [(40, 7), (7, 40), (12, 12)])
def test_rate_equals_that_of_the_eigenvalues_and_of_both_gram_matrices(rows: int, dim: int) -> None:
    z = sphere(rows, dim)
    rate, alpha = coding_rate(z, 0.2), dim / (rows * 0.2)
    small = 0.5 * torch.logdet(torch.eye(dim) + alpha * z.T @ z)
    large = 0.5 * torch.logdet(torch.eye(rows) + alpha * z @ z.T)
    for expected in (small, large, torch.tensor(by_eigenvalues(z, 0.2))):
        assert torch.allclose(rate, expected.double(), atol=1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
def test_rates_of_equal_rows_and_of_an_orthonormal_basis_are_known(dtype: torch.dtype, tolerance: float) -> None:
    same = sphere(1, 128, dtype=dtype).expand(50, 128)
    assert float(coding_rate(same, 0.2)) == pytest.approx(0.5 * math.log(1 + 640), abs=tolerance)
    basis = rotation(128).to(dtype)
    assert float(coding_rate(basis, 0.2)) == pytest.approx(64 * math.log(6), abs=tolerance)
    assert float(coding_rate(basis[:64], 0.2)) == pytest.approx(32 * math.log(11), abs=tolerance)


def test_ceilings_of_128_dimensions_are_known() -> None:
    assert rate_ceiling(1024, 128, 0.2) == rate_ceiling(128, 128, 0.2) == pytest.approx(114.6726, abs=1e-4)
    assert rate_ceiling(64, 128, 0.2) == pytest.approx(76.7326, abs=1e-4)
    assert 111.6 < float(coding_rate(sphere(1024, 128), 0.2)) < 112.1
    assert float(coding_rate(sphere(60, 128), 0.2)) < rate_ceiling(60, 128, 0.2)


def test_floor_is_above_collapsed_rows_and_below_spread_rows() -> None:
    for dim, eps2 in ((2, 0.2), (8, 0.2), (128, 0.2), (128, 0.5)):
        collapse = float(coding_rate(sphere(1, dim).expand(50, dim), eps2))
        assert collapse < rate_floor(4 * dim, dim, eps2) < float(coding_rate(sphere(4 * dim, dim), eps2))
    assert rate_floor(1024, 128, 0.2) == pytest.approx(0.8 * 3.2315 + 0.2 * 114.6726, abs=1e-3)
    tenth = rotation(128)[:13].repeat(10, 1)
    assert float(coding_rate(tenth, 0.2)) == pytest.approx(rate_floor(130, 128, 0.2), abs=0.2)


def test_rate_does_not_depend_on_rotation_order_signs_or_copies() -> None:
    z = sphere(30, 8)
    signs = torch.where(torch.arange(30) % 3 == 0, -1.0, 1.0).double()[:, None]
    for same in (z @ rotation(8), z.flip(0), signs * z, torch.cat([z, z])):
        assert torch.allclose(coding_rate(same, 0.5), coding_rate(z, 0.5), atol=1e-10)


def test_rates_of_orthogonal_row_spaces_add_up() -> None:
    z = torch.zeros(40, 10, dtype=torch.float64)
    z[:25, :4], z[25:, 4:] = sphere(25, 4), sphere(15, 6)
    alpha = 10 / (40 * 0.2)
    parts = [0.5 * torch.logdet(torch.eye(10) + alpha * part.T @ part) for part in (z[:25], z[25:])]
    assert torch.allclose(coding_rate(z, 0.2), parts[0] + parts[1], atol=1e-10)


def test_gradient_of_the_rate_is_the_ridge_inverse() -> None:
    for rows, dim in ((20, 6), (6, 20)):
        z = sphere(rows, dim).requires_grad_()
        (gradient,) = torch.autograd.grad(coding_rate(z, 0.3), z)
        alpha = dim / (rows * 0.3)
        inverse = torch.linalg.inv(torch.eye(dim) + alpha * z.detach().T @ z.detach())
        assert torch.allclose(gradient, alpha * z.detach() @ inverse, atol=1e-10)


def test_gradients_equal_finite_differences() -> None:
    z, w, weights = (x.clone().requires_grad_() for x in (sphere(9, 4), sphere(9, 4, 1), soft(9, 3)))
    wide, second = (sphere(3, 5, seed).requires_grad_() for seed in (4, 5))
    check = torch.autograd.gradcheck
    assert check(lambda a: coding_rate(a, 0.2), z)
    assert check(lambda a: coding_rate(a, 0.2), wide)
    assert check(lambda a, b: set_distance(a, b, 0.2), (z, w))
    assert check(lambda a, b: set_distance(a, b, 0.2), (wide, second))
    assert check(lambda a, b: pair_distance(a, b, 0.2), (z, w))
    assert check(lambda a, p: rate_reduction(a, p, 0.2), (z, weights))


@pytest.mark.parametrize(
    ("cosine", "distance", "slope"),
    [(1.0, 0.0, -159.75), (0.99, 0.71504, -37.8), (0.9, 1.72265, -4.6), (0.5, 2.39712, -0.66), (0.0, 2.53993, 0.0)],
)
def test_pair_distance_at_known_cosines_is_known(cosine: float, distance: float, slope: float) -> None:
    z, w = pair(cosine)
    assert float(pair_distance(z, w, 0.2)) == pytest.approx(distance, abs=1e-5)
    assert float(pair_distance(z.float(), w.float(), 0.2)) == pytest.approx(distance, abs=1e-4)
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)  # scales the cosine, so d/dscale = c d/dc
    (gradient,) = torch.autograd.grad(pair_distance(z, scale * w, 0.2).sum(), scale)
    assert float(gradient) == pytest.approx(cosine * slope, rel=0.02)


def test_closed_form_of_pairs_equals_the_determinant() -> None:
    z, w = sphere(20, 6), sphere(20, 6, 1)
    slow = torch.stack([set_distance(z[i : i + 1], w[i : i + 1], 0.2) for i in range(20)])
    assert torch.allclose(pair_distance(z, w, 0.2), slow, atol=1e-10)


def test_pair_distance_does_not_depend_on_the_sign() -> None:
    z = sphere(5, 8)
    assert torch.allclose(pair_distance(z, -z, 0.2), torch.zeros(5).double(), atol=1e-10)
    assert pair_distance(z.float(), z.float(), 0.2).isfinite().all()


def test_set_distance_of_two_halves_of_a_basis_is_known() -> None:
    basis = rotation(128)
    assert float(set_distance(basis[:64], basis[64:], 0.2)) == pytest.approx(37.93996, abs=1e-5)


@pytest.mark.parametrize(("rows", "dim"), [(50, 6), (10, 16), (10, 40)])
def test_set_distance_is_the_rate_of_the_union_minus_those_of_the_sets(rows: int, dim: int) -> None:
    z, w = sphere(rows, dim), sphere(rows, dim, 1)
    rates = [by_eigenvalues(x, 0.2) for x in (torch.cat([z, w]), z, w)]
    distance = float(set_distance(z, w, 0.2))
    assert distance == pytest.approx(rates[0] - rates[1] / 2 - rates[2] / 2, abs=1e-9)
    assert distance > 0


@pytest.mark.parametrize(("rows", "dim"), [(50, 6), (10, 16)])
def test_set_distance_of_a_set_to_itself_permuted_with_other_signs_is_zero(rows: int, dim: int) -> None:
    z = sphere(rows, dim)
    signs = torch.where(torch.arange(rows) % 2 == 0, -1.0, 1.0).double()[:, None]
    assert float(set_distance(z, signs * z.flip(0), 0.2)) == pytest.approx(0, abs=1e-10)


def test_rate_reduction_of_isotropic_orthogonal_classes_equals_its_closed_form() -> None:
    eye, labels = torch.eye(128, dtype=torch.float64), torch.arange(128) // 16
    by_hand = 64 * math.log(6) - 8 * math.log(41)  # K r / 2 = 64, D / (r eps2) = 40
    assert by_hand == pytest.approx(84.964, abs=1e-3)
    assert float(rate_reduction(eye, labels, 0.2)) == pytest.approx(by_hand, abs=1e-9)
    assert float(rate_reduction(eye.float(), labels, 0.2)) == pytest.approx(by_hand, abs=1e-4)


def test_rate_reduction_of_soft_memberships_equals_the_formula() -> None:
    z, weights = sphere(30, 5), soft(30, 3)
    total = 0.5 * torch.logdet(torch.eye(5) + 5 / (30 * 0.2) * z.T @ z)
    for k in range(3):
        part = weights[:, k].sum() / 30
        scaled = weights[:, k].sqrt()[:, None] * z  # sqrt: rows weighted by Pi would count it twice
        total = total - part / 2 * torch.logdet(torch.eye(5) + 5 / (30 * part * 0.2) * scaled.T @ scaled)
    assert torch.allclose(rate_reduction(z, weights, 0.2), total, atol=1e-10)


def test_rate_reduction_is_zero_for_equal_second_moments_and_ignores_empty_classes() -> None:
    z, labels = sphere(20, 6), torch.arange(40) // 20
    assert float(rate_reduction(torch.cat([z, -z]), labels, 0.2)) == pytest.approx(0, abs=1e-10)
    hard = F.one_hot(torch.arange(20) % 3, 5).double()  # two classes stay empty
    reduction = rate_reduction(z, hard, 0.2)
    assert torch.allclose(reduction, rate_reduction(z, torch.arange(20) % 3, 0.2), atol=1e-12)
    assert float(reduction) > 0
    weights = hard.float().requires_grad_()
    (gradient,) = torch.autograd.grad(rate_reduction(z.float(), weights, 0.2), weights)
    assert gradient.isfinite().all()


def test_class_set_distances_equal_set_distances_of_each_class() -> None:
    z, w, labels = sphere(24, 5), sphere(24, 5, 1), torch.arange(24) % 3
    distances = class_set_distances(z, w, F.one_hot(labels, 4), 0.5)
    slow = [set_distance(z[labels == k], w[labels == k], 0.5) for k in range(3)]
    assert torch.allclose(distances[:3], torch.stack(slow), atol=1e-10)
    assert float(distances[3]) == 0


def test_rates_are_computed_outside_autocast() -> None:
    near = F.normalize(sphere(1, 32) + 0.02 * sphere(64, 32, 1), dim=1).float()
    second, labels = sphere(64, 32, 2, torch.float32), torch.arange(64) % 4
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = [coding_rate(near, 0.2), set_distance(near, second, 0.2), rate_reduction(near, labels, 0.2)]
        pairs = pair_distance(near, second, 0.2)
        assert coding_rate(near.bfloat16(), 0.2).dtype == torch.float32
    outside = [coding_rate(near, 0.2), set_distance(near, second, 0.2), rate_reduction(near, labels, 0.2)]
    assert all(torch.equal(a, b) for a, b in zip(inside, outside, strict=True))
    assert torch.equal(pairs, pair_distance(near, second, 0.2))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_features_that_are_not_finite_give_nan(value: float) -> None:
    z = sphere(20, 6)
    z[3, 2] = value
    assert coding_rate(z, 0.2).isnan()
    assert set_distance(z, sphere(20, 6), 0.2).isnan()
    assert rate_reduction(z, torch.arange(20) % 2, 0.2).isnan()


def test_sets_and_memberships_of_different_sizes_are_refused() -> None:
    z = sphere(6, 4)
    for distance in (set_distance, pair_distance):
        with pytest.raises(ValueError, match=r"the same shape \(N, D\), got \(6, 4\) and \(5, 4\)"):
            distance(z, z[:5], 0.2)
    with pytest.raises(ValueError, match="a row for each of 6 items"):
        rate_reduction(z, torch.zeros(5, dtype=torch.long), 0.2)
