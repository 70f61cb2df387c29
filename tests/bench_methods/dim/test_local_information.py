"""Local estimates compared with loops, hand-computed values and Gaussians of known information; B and L differ."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench_core.nn.mutual_information import info_nce, location_nce
from bench_methods.dim.local_information import estimate, local_dv, local_jsd, told_apart

Estimate = Callable[[Tensor], Tensor]
ALL: list[Estimate] = [local_jsd, local_dv, location_nce]


def draw(seed: int = 0, B: int = 5, L: int = 3) -> Tensor:
    return 3 * torch.randn(B, B, L, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_jsd_equals_the_formula_written_as_loops() -> None:
    T, total = draw().tolist(), 2 * math.log(2)
    for a in range(5):
        for b in range(5):
            for i in range(3):
                t = T[a][b][i]
                total -= softplus(-t) / (5 * 3) if a == b else softplus(t) / (5 * 4 * 3)
    assert local_jsd(draw()).item() == pytest.approx(total)


def test_dv_equals_the_formula_written_as_loops() -> None:
    T = draw().tolist()
    joint = [T[a][a][i] for a in range(5) for i in range(3)]
    product = [math.exp(T[a][b][i]) for a in range(5) for b in range(5) for i in range(3) if a != b]
    assert local_dv(draw()).item() == pytest.approx(sum(joint) / 15 - math.log(sum(product) / 60))


def test_nce_equals_the_formula_written_as_loops() -> None:
    T, total = draw().tolist(), math.log(1 + 4 * 3)
    for a in range(5):
        negatives = [math.exp(T[a][b][j]) for b in range(5) for j in range(3) if b != a]
        for i in range(3):
            total += (T[a][a][i] - math.log(math.exp(T[a][a][i]) + sum(negatives))) / 15
    assert location_nce(draw()).item() == pytest.approx(total)


def test_nce_of_one_location_equals_info_nce() -> None:
    scores = draw(L=1)
    assert location_nce(scores).item() == pytest.approx(info_nce(scores[..., 0]).item())


@pytest.mark.parametrize("of", ALL)
def test_estimates_of_zero_scores_are_zero(of: Estimate) -> None:
    assert of(torch.zeros(4, 4, 9)).item() == pytest.approx(0.0, abs=1e-6)


def test_estimates_come_with_an_upper_bound_that_they_can_reach() -> None:
    perfect = 200.0 * torch.eye(4)[:, :, None].expand(4, 4, 7) - 100
    for name, expected in (("jsd", 2 * math.log(2)), ("nce", math.log(1 + 3 * 7))):
        value, ceiling = estimate(name, perfect)
        assert value.item() == pytest.approx(expected, abs=1e-5)
        assert ceiling == pytest.approx(expected)
    value, ceiling = estimate("dv", perfect)
    assert value.item() == pytest.approx(200)
    assert ceiling == math.inf


def test_other_locations_of_an_image_are_no_candidates_of_nce() -> None:
    scores = draw().requires_grad_()
    (slope,) = torch.autograd.grad(location_nce(scores), scores)
    moved = draw()
    moved[2, 2, 1] += 100  # one positive: its own term alone changes, by at most its distance from 0
    gain = location_nce(moved) - location_nce(draw())
    term = draw()[2, 2, 1] - torch.logaddexp(draw()[2, 2, 1], draw()[2, [0, 1, 3, 4]].logsumexp((0, 1)))
    assert gain.item() == pytest.approx(-term.item() / 15, rel=1e-6)
    assert bool((slope.diagonal() > 0).all())  # a positive is only ever drawn up
    off_diagonal = ~torch.eye(5, dtype=torch.bool)
    assert bool((slope[off_diagonal] < 0).all())


@pytest.mark.parametrize("of", [local_dv, location_nce])
def test_an_image_is_no_negative_of_itself_however_low_all_scores_are(of: Estimate) -> None:
    scores = draw()
    assert of(scores - 1000).item() == pytest.approx(of(scores).item(), abs=1e-9)


@pytest.mark.parametrize("of", ALL)
def test_estimates_ignore_the_order_of_images_and_locations(of: Estimate) -> None:
    scores, images, places = draw(), torch.tensor([3, 0, 4, 1, 2]), torch.tensor([2, 0, 1])
    turned = scores[images][:, images][:, :, places]
    assert of(turned).item() == pytest.approx(of(scores).item())


@pytest.mark.parametrize("of", ALL)
def test_gradients_equal_finite_differences(of: Estimate) -> None:
    assert torch.autograd.gradcheck(of, draw(B=3, L=2).requires_grad_())


@pytest.mark.parametrize("of", ALL)
def test_estimates_of_half_precision_scores_are_computed_in_float32(of: Estimate) -> None:
    scores = draw().bfloat16()
    value = of(scores)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(of(scores.double()).item(), abs=1e-5)


@pytest.mark.parametrize("shape", [(4, 4), (4, 5, 2), (1, 1, 3), (4, 4, 0)])
@pytest.mark.parametrize("of", ALL)
def test_scores_of_too_few_or_unpaired_images_are_refused(of: Estimate, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"scores must be \(B, B, L\) with B >= 2 and L >= 1"):
        of(torch.zeros(shape))


def log_ratios(rho: float, B: int, L: int, seed: int = 0) -> Tensor:
    """Return log p(y, c) / (p(y) p(c)) of all pairs, where each c of an image has correlation rho with its y."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.randn(B, 1, generator=rng, dtype=torch.float64)
    c = rho * y + math.sqrt(1 - rho**2) * torch.randn(B, L, generator=rng, dtype=torch.float64)
    y, c = y[:, :, None], c[None]
    exponent = (rho**2 * (y**2 + c**2) - 2 * rho * y * c) / (2 * (1 - rho**2))
    return -exponent - 0.5 * math.log(1 - rho**2)


@pytest.mark.parametrize(("rho", "twice_jsd", "information"), [(0.5, 0.0738, 0.1438), (0.9, 0.4291, 0.8304)])
def test_known_gaussians_give_the_divergence_by_jsd_and_the_information_by_dv(
    rho: float, twice_jsd: float, information: float
) -> None:
    scores = log_ratios(rho, B=900, L=4)
    assert local_jsd(scores).item() == pytest.approx(twice_jsd, abs=0.03)
    assert local_dv(scores).item() == pytest.approx(information, abs=0.05)


def test_nce_of_known_gaussians_stays_below_the_information_and_its_ceiling() -> None:
    few = torch.stack([location_nce(log_ratios(0.99, B=3, L=2, seed=k)) for k in range(200)]).mean().item()
    many = torch.stack([location_nce(log_ratios(0.99, B=64, L=2, seed=k)) for k in range(20)]).mean().item()
    assert 0.5 < few < math.log(5)
    assert few < many < 1.9585


@pytest.mark.parametrize("name", ["jsd", "dv", "nce"])
def test_independent_pairs_give_no_information(name: str) -> None:
    scores = log_ratios(0.9, B=200, L=3).roll(1, 1)  # the critic of true pairs, on images permuted between the sides
    assert estimate(name, scores)[0].item() < 0.02


def test_a_duplicated_image_is_a_false_negative() -> None:
    scores, values = log_ratios(0.9, B=20, L=3), []
    for k in range(20):  # image k - 1 in the place of image k
        index = torch.arange(20)
        index[k] = (k - 1) % 20
        values.append(location_nce(scores[index][:, index]))
    assert torch.stack(values).mean() < location_nce(scores) - 0.01


@pytest.mark.parametrize("name", ["jsd", "dv"])
def test_a_constant_summary_has_no_estimate_above_zero(name: str) -> None:
    constant = draw()[:1].expand(5, 5, 3)  # every image has the same y
    assert estimate(name, constant)[0].item() <= 1e-9


def test_told_apart_counts_wins_against_the_same_location_of_other_images() -> None:
    T, wins = draw().round(), 0.0
    for a in range(5):
        for b in range(5):
            for i in range(3):
                if a != b:
                    positive, negative = T[a, a, i].item(), T[a, b, i].item()
                    wins += 1.0 if positive > negative else 0.5 if positive == negative else 0.0
    assert told_apart(T).item() == pytest.approx(wins / 60)


def test_told_apart_is_one_half_after_a_collapse_and_one_at_best() -> None:
    assert told_apart(draw()[:1].expand(5, 5, 3)).item() == pytest.approx(0.5)
    assert told_apart(draw()[:, :1].expand(5, 5, 3)).item() == pytest.approx(0.5)
    assert told_apart(torch.eye(4)[:, :, None].expand(4, 4, 7)).item() == pytest.approx(1)


@pytest.mark.parametrize("of", ALL)
def test_two_images_of_one_location_are_enough(of: Estimate) -> None:
    assert of(torch.zeros(2, 2, 1)).item() == pytest.approx(0, abs=1e-6)
