"""Distances of two sets of features: closed forms, golden values, scipy and torchmetrics."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn

from bench_evaluators.generation.sample_quality import (
    frechet_distance,
    inception_score,
    kernel_distance,
    neighbourhoods,
)


def normal(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def whitened(n: int, d: int, seed: int = 0) -> Tensor:
    """Draw rows whose mean is 0 and whose covariance (by n - 1) is the identity, both exactly."""
    rows = normal(n, d, seed)
    q: Tensor = torch.linalg.qr(rows - rows.mean(0)).Q
    return q * math.sqrt(n - 1)


def rotation(d: int) -> Tensor:
    q: Tensor = torch.linalg.qr(normal(d, d, 9)).Q
    return q


def test_frechet_of_diagonal_gaussians_is_the_formula() -> None:
    a, b, shift = torch.tensor([1.0, 4.0, 0.25]), torch.tensor([9.0, 1.0, 0.0]), torch.tensor([1.0, -2.0, 0.5])
    x, y = whitened(50, 3, 1) * a.sqrt(), whitened(70, 3, 2) * b.sqrt() + shift
    by_hand = (1 + 4 + 0.25) + (1 - 3) ** 2 + (2 - 1) ** 2 + 0.5**2
    assert frechet_distance(x, y) == pytest.approx(by_hand, abs=1e-10)


def test_frechet_of_equal_sets_is_0_and_of_a_shifted_copy_the_squared_shift() -> None:
    x, shift = normal(200, 6), torch.tensor([0.5, 0, 0, -2.0, 0, 1.0])
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(x, x + shift) == pytest.approx(float(shift.square().sum()), abs=1e-10)


def test_frechet_is_unchanged_if_both_sets_are_rotated() -> None:
    x, y, turn = normal(100, 5), normal(80, 5, 1) * 2 + 1, rotation(5)
    assert frechet_distance(x @ turn, y @ turn) == pytest.approx(frechet_distance(x, y), abs=1e-9)
    assert frechet_distance(x @ turn, y) != pytest.approx(frechet_distance(x, y), abs=1e-3)


@pytest.mark.parametrize("n", [6, 300])  # fewer items than features: singular covariances
def test_frechet_equals_its_definition_with_scipys_matrix_root(n: int) -> None:
    x, y = normal(n, 8), normal(n + 1, 8, 1) @ normal(8, 8, 2) + 0.3
    s, t = np.cov(x.numpy(), rowvar=False), np.cov(y.numpy(), rowvar=False)
    root = np.trace(sqrtm(s @ t).real)
    slow = float((x.mean(0) - y.mean(0)).square().sum()) + np.trace(s) + np.trace(t) - 2 * root
    assert frechet_distance(x, y) == pytest.approx(slow, rel=1e-5)


@pytest.mark.parametrize(("n", "value"), [(100, 22.1), (500, 4.3), (2000, 1.15)])
def test_frechet_of_two_samples_of_one_distribution_has_the_known_bias(n: int, value: float) -> None:
    """Check the bias with 64 coordinates against measured values of about d^2 / 2n."""
    distance = frechet_distance(normal(n, 64, 3), normal(n, 64, 4))
    assert distance == pytest.approx(value, rel=0.12)


@pytest.mark.filterwarnings("ignore:Metric .* will save all extracted features")
def test_frechet_and_kernel_distance_are_those_of_torchmetrics() -> None:
    fid, kid = (pytest.importorskip(f"torchmetrics.image.{name}") for name in ("fid", "kid"))

    class Flat(nn.Module):
        num_features = 12

        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1).double() / 255

    rng = torch.Generator().manual_seed(0)
    real = torch.randint(0, 256, (60, 3, 2, 2), dtype=torch.uint8, generator=rng)
    generated = torch.randint(40, 200, (60, 3, 2, 2), dtype=torch.uint8, generator=rng)
    flat = Flat()
    reference = fid.FrechetInceptionDistance(feature=flat).set_dtype(torch.float64)
    kernel = kid.KernelInceptionDistance(feature=flat, subsets=1, subset_size=60)
    for metric in (reference, kernel):
        metric.update(real, real=True)
        metric.update(generated, real=False)
    assert frechet_distance(flat(real), flat(generated)) == pytest.approx(float(reference.compute()), rel=1e-6)
    assert kernel_distance(flat(real), flat(generated)) == pytest.approx(float(kernel.compute()[0]), rel=1e-5)


def test_the_kernel_distance_is_its_double_sum() -> None:
    x, y = normal(5, 3), normal(5, 3, 1)

    def k(a: Tensor, b: Tensor) -> float:
        return (float(a @ b) / 3 + 1) ** 3

    within = sum(k(s[i], s[j]) for s in (x, y) for i in range(5) for j in range(5) if i != j) / 20
    across = sum(k(a, b) for a in x for b in y) / 25
    assert kernel_distance(x, y) == pytest.approx(within - 2 * across)


def test_mean_kernel_distance_is_0_for_one_distribution_and_positive_for_two() -> None:
    same = torch.tensor([kernel_distance(normal(50, 8, 2 * s), normal(50, 8, 2 * s + 1)) for s in range(100)])
    assert abs(float(same.mean())) < 3 * float(same.std()) / 10
    assert float(same.min()) < 0
    assert kernel_distance(normal(50, 8), normal(50, 8, 1) + 1) > float(same.max())


def test_kernel_distance_is_a_mean_over_whole_blocks() -> None:
    x, y = normal(2500, 4), normal(2500, 4, 1) + 0.2
    parts = [kernel_distance(x[a : a + 1000], y[a : a + 1000]) for a in (0, 1000)]
    assert kernel_distance(x, y) == pytest.approx(sum(parts) / 2)


def test_the_kernel_distance_refuses_unequal_numbers() -> None:
    with pytest.raises(ValueError, match="equal numbers of items, 2 or more, got 4 and 5"):
        kernel_distance(normal(4, 2), normal(5, 2))


def test_neighbourhoods_by_hand() -> None:
    """Real 0, 1, 3 have radii 1, 1, 2; generated .5, 2.5, 9 have radii 2, 2, 6.5 (k = 1)."""
    real, generated = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.5], [2.5], [9.0]])
    measures = neighbourhoods(real, generated, k=1)
    assert measures["precision"] == pytest.approx(2 / 3)  # 9 lies in no ball
    assert measures["recall"] == pytest.approx(1.0)
    assert measures["density"] == pytest.approx((2 + 1) / 3)  # .5 lies in the balls of 0 and 1, 2.5 in that of 3
    assert measures["coverage"] == pytest.approx(1.0)


def test_neighbourhoods_of_one_distribution_have_their_known_means() -> None:
    measures = neighbourhoods(normal(1500, 8), normal(1500, 8, 1))
    assert measures["density"] == pytest.approx(1, abs=0.06)
    assert measures["coverage"] == pytest.approx(1 - 2**-3, abs=0.03)
    assert measures["precision"] == pytest.approx(measures["recall"], abs=0.04)


def test_missing_mode_lowers_recall_and_junk_lowers_precision() -> None:
    real = torch.cat([normal(300, 4), normal(300, 4, 1) + 20])
    lost = neighbourhoods(real, normal(600, 4, 2))
    junk = neighbourhoods(real, torch.cat([real + 0.01 * normal(600, 4, 3), normal(600, 4, 4) - 20]))
    assert lost["recall"] < 0.55 < 0.9 < lost["precision"]
    assert junk["precision"] < 0.55 < 0.9 < junk["recall"]
    assert lost["coverage"] < 0.55


def test_blocks_of_rows_change_nothing() -> None:
    """Compare with all distances at once, for 1,001 items, which are more than one block."""
    real, generated = normal(1001, 3).float(), normal(1001, 3, 1).float() * 1.2
    measures = neighbourhoods(real, generated)
    within, across = torch.cdist(real, real), torch.cdist(real, generated)
    radius = within.fill_diagonal_(torch.inf).sort(1).values[:, 2]
    assert measures["precision"] == pytest.approx(float((across <= radius[:, None]).any(0).double().mean()), abs=2e-3)
    assert measures["coverage"] == pytest.approx(float((across < radius[:, None]).any(1).double().mean()), abs=2e-3)


def prdc(real: Tensor, generated: Tensor, k: int) -> tuple[float, float]:
    """Compute density and coverage one pair at a time, as the package prdc does: inside is nearer than the k-th."""
    radii = [sorted(float((r - s).norm()) for s in real)[k] for r in real]  # the first is the item itself
    inside = [[float((r - g).norm()) < radius for g in generated] for r, radius in zip(real, radii, strict=True)]
    return sum(map(sum, inside)) / k / len(generated), sum(map(any, inside)) / len(real)


def test_density_and_coverage_are_those_of_prdc_and_precision_and_recall_count_the_edge() -> None:
    grid = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0))  # many points lie just on the edge of a ball
    generated = grid[::2] + torch.tensor([1.0, 0.0])
    measures = neighbourhoods(grid, generated, k=2)
    assert (measures["density"], measures["coverage"]) == pytest.approx(prdc(grid, generated, 2))
    assert measures["precision"] == 1  # (4, 0) is at distance 1 of (3, 0), whose second neighbour is, too
    rows = normal(40, 3)
    measures = neighbourhoods(rows, rows[:30] * 0.9, k=3)
    assert (measures["density"], measures["coverage"]) == pytest.approx(prdc(rows, rows[:30] * 0.9, 3))


def test_balls_of_radius_0_hold_nothing() -> None:
    measures = neighbourhoods(torch.zeros(20, 2), torch.zeros(20, 2))
    assert measures == {"precision": 1, "recall": 1, "density": 0, "coverage": 0}


def test_one_image_for_all_has_no_recall() -> None:
    measures = neighbourhoods(normal(50, 4), torch.zeros(50, 4))
    assert measures["recall"] == 0
    assert measures["coverage"] < 1


def test_neighbourhoods_refuse_too_many_neighbours() -> None:
    with pytest.raises(ValueError, match=r"k must be in \[1, 3\), got 3"):
        neighbourhoods(normal(3, 2), normal(9, 2))


def test_inception_score_is_the_number_of_sure_balanced_classes_and_1_for_unsure_ones() -> None:
    sure = torch.where(torch.eye(10).repeat(7, 1) > 0, 0.0, -torch.inf)
    assert inception_score(sure[:1].expand(70, -1)) == pytest.approx(1)
    assert inception_score(torch.cat([sure] * 10)) == pytest.approx(10)
    assert inception_score(torch.zeros(30, 10)) == pytest.approx(1)
    assert inception_score(torch.randn(1, 10).expand(20, -1)) == pytest.approx(1)


def slow_inception_score(chances: Tensor) -> float:
    mean = chances.mean(0)
    return math.exp(sum(float((p * (p / mean).log()).sum()) for p in chances) / len(chances))


def test_the_inception_score_is_the_mean_of_ten_splits() -> None:
    chances = normal(43, 5).softmax(1)  # splits of 4 and 5
    parts = [chances[i * 43 // 10 : (i + 1) * 43 // 10] for i in range(10)]
    slow = sum(map(slow_inception_score, parts)) / 10
    assert inception_score(chances.log()) == pytest.approx(slow)
    assert inception_score(chances.log() + 3) == pytest.approx(slow)
    assert slow < slow_inception_score(chances) - 0.05
    assert inception_score(chances[:7].log()) == pytest.approx(1)  # splits of one item


@pytest.mark.filterwarnings("ignore:Metric .* will save all extracted features")
def test_the_inception_score_is_that_of_torchmetrics(monkeypatch: pytest.MonkeyPatch) -> None:
    inception = pytest.importorskip("torchmetrics.image.inception")
    metric = inception.InceptionScore(feature=nn.Flatten(), splits=10)
    logits = 3 * normal(200, 5)
    metric.update(logits)
    monkeypatch.setattr(torch, "randperm", torch.arange)  # it shuffles by the global generator
    assert inception_score(logits) == pytest.approx(float(metric.compute()[0]), rel=1e-6)


def test_the_bias_of_ten_splits_is_the_known_one() -> None:
    """Sure and balanced classes get 9.57 with ten splits of 100 and 10 with one split."""
    classes = torch.arange(1000)[torch.randperm(1000, generator=torch.Generator().manual_seed(0))] % 10
    sure = torch.where(torch.eye(10)[classes] > 0, 0.0, -torch.inf)
    assert inception_score(sure) == pytest.approx(9.57, abs=0.1)
