import math

import pytest
import torch
import torch.nn.functional as F
from lightly.loss.hypersphere_loss import HypersphereLoss
from torch import Tensor

from bench_core.evaluation.spectrum import rankme, singular_values
from bench_evaluators.geometry.measures import (
    alignment,
    class_separation,
    effective_rank,
    mean_cosine,
    participation_ratio,
    uniformity,
    uniformity_floor,
    variance_fraction,
)


def normal(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(d: int) -> Tensor:
    turn: Tensor = torch.linalg.qr(normal(d, d, 99)).Q
    return turn


def test_alignment_runs_from_alike_to_opposite() -> None:
    x = normal(20, 5)
    assert alignment(x, 3 * x) == pytest.approx(0, abs=1e-12)
    assert alignment(x, -x) == pytest.approx(4)
    assert alignment(torch.eye(4), torch.eye(4).roll(1, 0)) == pytest.approx(2)


def test_alignment_and_uniformity_are_those_of_lightly() -> None:
    x, y = normal(50, 6), normal(50, 6, 1)
    value = alignment(x, y)
    assert value == pytest.approx(float(HypersphereLoss(t=2, lam=0)(x, y)), abs=1e-12)
    both = (uniformity(x) + uniformity(y)) / 2
    assert both == pytest.approx(float(HypersphereLoss(t=2, lam=1)(x, y)) - value, abs=1e-12)


def test_uniformity_by_hand() -> None:
    """Check three points, two of them equal: one pair at squared distance 0, two at 4."""
    x = torch.tensor([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0]])
    assert uniformity(x) == pytest.approx(math.log((1 + 2 * math.exp(-8)) / 3))
    assert uniformity(torch.ones(5, 3)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("dim", "floor"), [(2, -1.5750), (16, -3.5130), (64, -3.8752), (128, -3.9375), (512, -3.9844)])
def test_the_floor_of_uniformity_is_the_known_one(dim: int, floor: float) -> None:
    assert uniformity_floor(dim) == pytest.approx(floor, abs=6e-5)


def test_the_floor_holds_for_one_dimension_and_very_many() -> None:
    assert uniformity_floor(1) == pytest.approx(math.log(math.cosh(4)) - 4)  # two points, +1 and -1
    assert uniformity_floor(150_528) == pytest.approx(-4, abs=1e-4)


@pytest.mark.parametrize("dim", [2, 16, 64])
def test_normal_points_come_near_the_floor(dim: int) -> None:
    assert uniformity(normal(2000, dim)) == pytest.approx(uniformity_floor(dim), abs=0.01)


def test_mean_cosine_is_that_of_all_pairs() -> None:
    x = normal(30, 4) + 0.5
    cosine = F.normalize(x, dim=1) @ F.normalize(x, dim=1).T
    expected = (cosine.sum() - cosine.diagonal().sum()) / (30 * 29)
    assert mean_cosine(x) == pytest.approx(float(expected))
    assert mean_cosine(torch.ones(7, 3)) == pytest.approx(1)


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (5, 5), (9, 1)])
def test_singular_values_are_those_of_the_matrix(shape: tuple[int, int]) -> None:
    x = normal(*shape) + 3
    for centred, matrix in ((False, x), (True, x - x.mean(0))):
        expected = torch.linalg.svdvals(matrix)
        expected[expected < 1e-7 * x.norm()] = 0
        torch.testing.assert_close(singular_values(x, centred=centred), expected, rtol=1e-7, atol=1e-7)


def test_rounding_errors_give_no_singular_value() -> None:
    constant = torch.full((50, 8), 0.1)
    assert singular_values(constant, centred=True).tolist() == [0] * 8
    assert (singular_values(constant, centred=False) > 0).sum() == 1
    assert (singular_values(normal(50, 2) @ normal(2, 8), centred=True) > 0).sum() == 2


def test_rankme_of_orthonormal_columns_is_their_number() -> None:
    columns = torch.linalg.qr(normal(1000, 8)).Q
    assert rankme(singular_values(columns, centred=False)) == pytest.approx(8, abs=1e-4)


def test_rankme_of_normal_features_has_its_known_value() -> None:
    assert rankme(singular_values(normal(1000, 64), centred=False)) == pytest.approx(63.5, abs=0.1)


def test_rankme_is_that_of_the_formula() -> None:
    x = normal(60, 5) * torch.tensor([1, 2, 3, 4, 5]) + 1
    p = torch.linalg.svdvals(x)
    p = p / p.sum() + 1e-7
    assert rankme(singular_values(x, centred=False)) == pytest.approx(float((-p * p.log()).sum().exp()), rel=1e-9)


def test_ranks_by_hand() -> None:
    values = torch.tensor([3.0, 1.0, 0.0])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert effective_rank(values) == pytest.approx(math.exp(entropy))
    assert participation_ratio(values) == pytest.approx((9 + 1) ** 2 / (81 + 1))
    assert effective_rank(torch.ones(6)) == pytest.approx(6, abs=1e-5)
    assert participation_ratio(torch.ones(6)) == pytest.approx(6)


def test_participation_ratio_is_at_most_the_effective_rank() -> None:
    for seed in range(5):
        values = normal(1, 9, seed).abs().squeeze(0)
        assert participation_ratio(values) <= effective_rank(values)


def test_centring_removes_the_direction_of_the_mean() -> None:
    x = normal(500, 6) + 100
    assert rankme(singular_values(x, centred=False)) < 2
    assert effective_rank(singular_values(x, centred=True)) == pytest.approx(6, abs=0.05)


def test_a_rotation_and_a_scale_change_nothing() -> None:
    x, y, labels = normal(80, 6) + 1, normal(80, 6, 1), torch.arange(80) % 4
    turned, second = 3 * x @ rotation(6), 3 * y @ rotation(6)
    for centred in (False, True):
        torch.testing.assert_close(singular_values(turned, centred=centred), 3 * singular_values(x, centred=centred))
    assert rankme(singular_values(turned, centred=False)) == pytest.approx(rankme(singular_values(x, centred=False)))
    assert uniformity(turned) == pytest.approx(uniformity(x))
    assert alignment(turned, second) == pytest.approx(alignment(x, y))
    assert mean_cosine(turned) == pytest.approx(mean_cosine(x))
    assert class_separation(turned, labels) == pytest.approx(class_separation(x, labels))


def test_variance_fraction_is_the_part_of_the_length_that_is_variance() -> None:
    x = normal(200, 3) + torch.tensor([1.0, 2.0, 0.0])
    expected = float((x - x.mean(0)).square().sum() / x.square().sum())
    assert variance_fraction(singular_values(x, centred=False), singular_values(x, centred=True)) == pytest.approx(
        expected
    )


def slow_separation(x: Tensor, labels: Tensor) -> float:
    """Compare with the mean over all pairs of items; classes and pairs of classes weigh equally."""
    distance = 1 - F.normalize(x, dim=1) @ F.normalize(x, dim=1).T
    groups = [labels == c for c in labels.unique()]  # type: ignore[no-untyped-call]  # torch's
    table = torch.stack([torch.stack([distance[a][:, b].mean() for b in groups]) for a in groups])
    return float(1 - table.diagonal().mean() / table.mean())


def test_class_separation_is_that_of_all_pairs() -> None:
    x, labels = normal(40, 5) + 0.3, torch.tensor([0] * 5 + [2] * 25 + [7] * 10)
    x[labels == 2] += 1
    assert class_separation(x, labels) == pytest.approx(slow_separation(x, labels))


def test_class_separation_is_1_for_points_and_little_for_random_labels() -> None:
    labels = torch.arange(400) % 4
    assert class_separation(F.one_hot(labels) * (1 + labels[:, None]), labels) == pytest.approx(1)
    assert class_separation(normal(400, 20), labels) == pytest.approx(3 / 400, abs=0.004)


def test_equal_features_give_finite_values() -> None:
    for x in (torch.zeros(10, 3), torch.full((10, 3), 0.1)):
        raw, centred = (singular_values(x, centred=c) for c in (False, True))
        assert effective_rank(centred) == participation_ratio(centred) == variance_fraction(raw, centred) == 0
        assert rankme(raw) == pytest.approx(float(x.sum() > 0), abs=1e-4)
        assert class_separation(x, torch.arange(10) % 2) == 0
        assert uniformity(x) == pytest.approx(0, abs=1e-9)
        assert alignment(x, x) == 0


def test_pairs_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one shape \(N, D\), got \(4, 2\) and \(5, 2\)"):
        alignment(torch.zeros(4, 2), torch.zeros(5, 2))
