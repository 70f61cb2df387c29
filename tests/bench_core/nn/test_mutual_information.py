import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core.nn.mutual_information import (
    donsker_varadhan,
    info_nce,
    jensen_shannon,
    joint_and_product,
    location_nce,
    location_nce_ceiling,
    lower_bound,
    mine,
    nwj,
)

NOTHING = torch.tensor(-torch.inf)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def log_ratio(x: Tensor, y: Tensor, rho: float) -> Tensor:
    """Return log p(y | x) / p(y) of unit Gaussians whose coordinates have correlation rho."""
    left = 1 - rho**2
    return ((y**2 - (y - rho * x) ** 2 / left - math.log(left)) / 2).sum(-1)


def gaussians(n: int, rho: float, dim: int = 1) -> tuple[Tensor, Tensor]:
    x = draw(n, dim)
    return x, rho * x + math.sqrt(1 - rho**2) * draw(n, dim, seed=1)


def test_info_nce_equals_its_formula_row_by_row() -> None:
    T = draw(5, 5)
    rows = [T[i, i] - sum(T[i, j].exp() for j in range(5)).log() for i in range(5)]  # type: ignore[union-attr]  # a tensor
    assert torch.allclose(info_nce(T), math.log(5) + torch.stack(rows).mean())
    assert torch.allclose(info_nce(T), math.log(5) - F.cross_entropy(T, torch.arange(5)))


def test_info_nce_ignores_a_constant_in_a_row_and_not_in_a_column() -> None:
    T = draw(6, 6)
    assert torch.allclose(info_nce(T + draw(6, 1, seed=1)), info_nce(T))
    assert not torch.allclose(info_nce(T + draw(1, 6, seed=1)), info_nce(T))


def test_info_nce_is_at_most_the_logarithm_of_the_number_of_pairs() -> None:
    assert info_nce(torch.eye(7) * 1000).item() == pytest.approx(math.log(7))
    assert info_nce(draw(7, 7) * 10).item() < math.log(7)
    assert info_nce(torch.full((7, 7), 3.0)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("rho", "truth"), [(0.5, 0.1438), (0.9, 0.8304), (0.99, 1.9585)])
def test_optimal_critic_of_correlated_gaussians_gives_their_information(rho: float, truth: float) -> None:
    x, y = gaussians(200_000, rho)
    joint, product = log_ratio(x, y, rho), log_ratio(x, y.roll(1, 0), rho)
    assert -math.log(1 - rho**2) / 2 == pytest.approx(truth, abs=1e-4)
    assert donsker_varadhan(joint, product).item() == pytest.approx(truth, abs=0.02)
    assert nwj(joint + 1, product + 1).item() == pytest.approx(truth, abs=0.02)


@pytest.mark.parametrize(
    ("dim", "sigma", "K", "expected"),
    [(1, 0.5, 512, 0.80), (2, 0.1, 128, 4.03), (2, 0.3, 512, 2.47), (8, 0.3, 128, 4.83), (8, 1.0, 512, 2.70)],
)
def test_info_nce_of_a_gaussian_channel_has_known_values(dim: int, sigma: float, K: int, expected: float) -> None:
    clean = draw(8, K, dim)
    received = clean + sigma * draw(8, K, dim, seed=1)
    values = [info_nce(-(torch.cdist(r, c) ** 2) / (2 * sigma**2)).item() for r, c in zip(received, clean, strict=True)]
    assert sum(values) / len(values) == pytest.approx(expected, abs=0.06)
    assert max(values) < math.log(K)


def test_independent_pairs_have_no_information() -> None:
    x, y = gaussians(512, 0.9)
    scores = log_ratio(x[:, None], y[torch.randperm(512, generator=torch.Generator().manual_seed(2))][None], 0.9)
    joint, product = joint_and_product(scores)
    for value in (
        info_nce(scores),
        donsker_varadhan(joint, product),
        nwj(joint, product),
        jensen_shannon(joint, product),
    ):
        assert value.item() < 0.02


def test_nwj_is_at_most_donsker_varadhan() -> None:
    for seed in range(20):
        joint, product = draw(30, seed=seed) * 2 + 1, draw(50, seed=seed + 100) * 2
        assert nwj(joint, product) <= donsker_varadhan(joint, product)


def test_donsker_varadhan_ignores_a_constant() -> None:
    joint, product = draw(9), draw(20, seed=1)
    assert torch.allclose(donsker_varadhan(joint + 7, product + 7), donsker_varadhan(joint, product))
    slow = joint.mean() - product.exp().mean().log()
    assert torch.allclose(donsker_varadhan(joint, product), slow)


def test_bounds_of_constant_scores_are_known() -> None:
    zero, one = torch.zeros(4), torch.ones(3, 2)
    assert donsker_varadhan(zero, one).item() == pytest.approx(-1)
    assert nwj(torch.ones(4), one).item() == pytest.approx(0, abs=1e-7)
    assert jensen_shannon(zero, torch.zeros(3)).item() == pytest.approx(0, abs=1e-6)
    assert jensen_shannon(zero + 99, zero - 99).item() == pytest.approx(2 * math.log(2))
    assert jensen_shannon(zero, one).item() == pytest.approx(math.log(2) - math.log(1 + math.e))


def test_moving_average_starts_with_the_first_batch_and_follows() -> None:
    first, second = draw(40), draw(40, seed=1) + 2
    _, average = mine(draw(5), first, NOTHING, rate=0.1)
    assert average.exp().item() == pytest.approx(first.exp().mean().item(), rel=1e-5)
    _, average = mine(draw(5), second, average, rate=0.1)
    assert average.exp().item() == pytest.approx(
        (0.9 * first.exp().mean() + 0.1 * second.exp().mean()).item(), rel=1e-5
    )


def test_mine_has_the_value_of_donsker_varadhan_and_with_the_batch_mean_its_gradient() -> None:
    gradients = []
    for averaged in (False, True):
        joint, product = draw(8).requires_grad_(), draw(12, seed=1).requires_grad_()
        value = mine(joint, product, NOTHING)[0] if averaged else donsker_varadhan(joint, product)
        assert torch.allclose(value, donsker_varadhan(joint, product))
        gradients.append(torch.autograd.grad(value, (joint, product)))
    assert all(torch.allclose(a, b) for a, b in zip(*gradients, strict=True))


def test_mine_divides_the_gradient_by_the_moving_average() -> None:
    product = draw(12).requires_grad_()
    value, average = mine(draw(8), product, torch.tensor(2.0, dtype=torch.float64), rate=0.25)
    mean = 0.75 * math.exp(2) + 0.25 * product.exp().mean()
    assert average.exp().item() == pytest.approx(mean.item())
    assert torch.allclose(torch.autograd.grad(value, product)[0], -product.exp() / 12 / mean)


def test_mine_is_finite_for_scores_far_beyond_the_range_of_exp() -> None:
    product = torch.full((4,), 500.0, requires_grad=True)
    value, average = mine(torch.full((4,), 500.0), product, torch.tensor(0.0), rate=0.01)
    assert value.item() == pytest.approx(0, abs=1e-3)
    assert average.item() == pytest.approx(500 + math.log(0.01), abs=1e-3)
    assert torch.autograd.grad(value, product)[0].sum().item() == pytest.approx(-100, rel=1e-3)  # 1 / rate at most


def test_gradients_equal_finite_differences() -> None:
    scores = draw(4, 4).requires_grad_()
    joint, product = draw(4).requires_grad_(), draw(5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(info_nce, scores)
    for estimate in (donsker_varadhan, nwj, jensen_shannon):
        assert torch.autograd.gradcheck(estimate, (joint, product))


def test_bounds_are_computed_in_float32_under_autocast() -> None:
    scores = draw(6, 6).float()
    joint, product = joint_and_product(scores)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = [info_nce(scores), donsker_varadhan(joint, product), mine(joint, product, NOTHING)[0]]
    assert inside[0].dtype == torch.float32
    assert torch.equal(torch.stack(inside[:2]), torch.stack([info_nce(scores), donsker_varadhan(joint, product)]))
    assert info_nce(scores.bfloat16()).dtype == torch.float32


def test_joint_and_product_split_the_diagonal_from_the_other_scores() -> None:
    joint, product = joint_and_product(torch.arange(9.0).view(3, 3))
    assert joint.tolist() == [0, 4, 8]
    assert product.tolist() == [1, 2, 3, 5, 6, 7]


def test_lower_bound_selects_a_bound_by_name() -> None:
    scores, average = draw(5, 5), torch.tensor(0.5, dtype=torch.float64)
    joint, product = joint_and_product(scores)
    assert lower_bound("infonce", scores, average) == (info_nce(scores), average)
    assert lower_bound("nwj", scores, average) == (nwj(joint + 1, product + 1), average)
    assert lower_bound("dv", scores, average) == mine(joint, product, average)


@pytest.mark.parametrize("shape", [(3, 4), (1, 1), (3,)])
def test_scores_that_are_not_square_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"scores must be \(K, K\) with K >= 2, got"):
        info_nce(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"scores must be \(K, K\) with K >= 2, got"):
        joint_and_product(torch.zeros(shape))


def location_nce_written_slowly(scores: Tensor) -> Tensor:
    B, _, L = scores.shape
    terms = []
    for a in range(B):
        negatives = sum(scores[a, b, j].exp() for b in range(B) if b != a for j in range(L))
        terms += [(scores[a, a, i].exp() / (scores[a, a, i].exp() + negatives)).log() for i in range(L)]
    return torch.stack(terms).mean() + math.log(1 + (B - 1) * L)


def test_location_nce_is_the_formula_written_slowly() -> None:
    scores = draw(3, 3, 4)
    torch.testing.assert_close(location_nce(scores), location_nce_written_slowly(scores))


def test_location_nce_of_equal_scores_is_0_and_of_perfect_ones_the_log_of_the_number_of_candidates() -> None:
    assert location_nce(torch.zeros(5, 5, 9)).item() == pytest.approx(0, abs=1e-6)
    perfect = torch.eye(5)[:, :, None].expand(5, 5, 9) * 1e3
    assert location_nce(perfect).item() == pytest.approx(math.log(37)) == location_nce_ceiling(5, 9)


def test_rows_of_one_image_do_not_compete() -> None:
    scores = draw(3, 3, 4)
    higher = scores.clone()
    higher[0, 0, 1] += 1.0
    negatives = scores[0, 1:].exp().sum()
    before, after = (s / (s + negatives) for s in (scores[0, 0, 1].exp(), higher[0, 0, 1].exp()))
    gain = 12 * (location_nce(higher) - location_nce(scores))  # a sum over 3 images of 4 locations
    torch.testing.assert_close(gain, after.log() - before.log())  # that location's term; those of the others stay


def test_location_nce_does_not_depend_on_the_order_of_locations_or_images() -> None:
    scores = draw(4, 4, 5)
    images, locations = torch.tensor([2, 0, 3, 1]), torch.tensor([4, 1, 0, 3, 2])
    for same in (scores[:, :, locations], scores[images][:, images], scores + 3.0):
        torch.testing.assert_close(location_nce(same), location_nce(scores))


def test_large_scores_of_locations_do_not_overflow() -> None:
    scores = torch.zeros(3, 3, 2)
    scores[0, 1], scores[1, 1] = 1e4, 2e4
    lost = (1e4 + math.log(2) + 0.0 + math.log(5)) / 3
    assert location_nce(scores).item() == pytest.approx(math.log(5) - lost, rel=1e-5)


def test_locations_of_one_image_have_nothing_to_be_compared_with() -> None:
    with pytest.raises(ValueError, match=r"scores must be \(B, B, L\) with B >= 2 and L >= 1, got \(1, 1, 4\)"):
        location_nce(torch.zeros(1, 1, 4))
