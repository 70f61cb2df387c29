import math

import numpy as np
import pytest
import torch
from scipy.special import digamma
from sklearn.feature_selection import mutual_info_classif, mutual_info_regression
from torch import Tensor

from bench_core.evaluation.neighbour_information import class_information, pair_information


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussians(rho: float, items: int = 3000, dims: int = 1) -> tuple[Tensor, Tensor]:
    x = draw(items, dims)
    return x, rho * x + math.sqrt(1 - rho**2) * draw(items, dims, seed=1)


def clusters(items: int, distance: float, dims: int = 2, classes: int = 3) -> tuple[Tensor, Tensor]:
    labels = torch.arange(items) % classes
    return draw(items, dims) + distance * draw(classes, dims, seed=9)[labels], labels


@pytest.mark.parametrize("rho", [0.5, 0.9, 0.99])
def test_correlated_gaussians_have_the_information_of_the_formula(rho: float) -> None:
    assert pair_information(*gaussians(rho)) == pytest.approx(-0.5 * math.log(1 - rho**2), abs=0.04)


def test_two_dimensions_add_up() -> None:
    assert pair_information(*gaussians(0.8, dims=2)) == pytest.approx(-math.log(1 - 0.8**2), abs=0.06)


def test_independence_is_about_zero() -> None:
    assert pair_information(draw(2000, 2), draw(2000, 2, seed=1)) < 0.04
    assert class_information(draw(2000, 2), torch.arange(2000) % 4) < 0.04


def slow_pairs(x: Tensor, y: Tensor, k: int) -> float:
    """Return Kraskov's first estimate, by all distances."""
    dx, dy = ((v[:, None] - v).abs().amax(2).fill_diagonal_(math.inf) for v in (x, y))
    radius = torch.maximum(dx, dy).sort(1).values[:, k - 1 : k]
    counts = [(d < radius).sum(1).numpy() for d in (dx, dy)]
    return float(digamma(k) + digamma(len(x)) - np.mean(digamma(counts[0] + 1) + digamma(counts[1] + 1)))


def slow_classes(x: Tensor, labels: Tensor, k: int) -> float:
    """Return Ross's estimate, by all distances."""
    distance = torch.cdist(x, x).fill_diagonal_(math.inf)
    total = []
    for i, row in enumerate(distance):
        same_class = row[labels == labels[i]]  # the distance to itself is infinite
        radius = same_class.sort().values[min(k, len(same_class) - 1) - 1]
        near = int((row < radius).sum()) + 1
        total.append(digamma(min(k, len(same_class) - 1)) - digamma(len(same_class)) - digamma(near))
    return float(digamma(len(x)) + np.mean(total))


@pytest.mark.parametrize("k", [1, 3])
def test_both_estimates_equal_their_double_sums(k: int) -> None:
    x, y = gaussians(0.7, items=60, dims=2)
    assert pair_information(x, y, k) == pytest.approx(slow_pairs(x, y, k))
    x, labels = clusters(61, 2.0)
    assert class_information(x, labels, k) == pytest.approx(slow_classes(x, labels, k))


def test_one_dimension_equals_scikit_learn() -> None:
    x, labels = clusters(600, 1.0, dims=1)
    expected = mutual_info_classif(x.numpy(), labels.numpy(), n_neighbors=3, random_state=0)[0]
    assert class_information(x, labels) == pytest.approx(expected, abs=1e-6)
    x, y = gaussians(0.6, items=600)
    scaled = x / x.std(0, correction=0), y / y.std(0, correction=0)
    expected = mutual_info_regression(x.numpy(), y[:, 0].numpy(), n_neighbors=3, random_state=0)[0]
    assert pair_information(*scaled) == pytest.approx(expected, abs=1e-6)


def test_information_on_classes_does_not_exceed_their_entropy() -> None:
    far = class_information(*clusters(900, 100.0))
    assert far == pytest.approx(math.log(3), abs=0.01)
    assert class_information(*clusters(900, 0.5)) < class_information(*clusters(900, 2.0)) < far + 1e-9


def test_two_classes_on_a_line_have_the_information_of_the_integral() -> None:
    x, labels = draw(4000, 1), torch.arange(4000) % 2
    grid = torch.linspace(-9, 11, 20001, dtype=torch.float64)
    density = [(-(grid - m).square() / 2).exp() / math.sqrt(2 * math.pi) for m in (0.0, 2.0)]
    mixed = (density[0] + density[1]) / 2
    exact = sum(0.5 * float(torch.trapezoid(torch.xlogy(d, d / mixed), grid)) for d in density)
    assert class_information(x + 2.0 * labels[:, None], labels) == pytest.approx(exact, abs=0.04)


def test_scales_orders_and_names_of_classes_change_nothing() -> None:
    x, labels = clusters(300, 1.0)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    assert class_information(5 * x[order] + 3, 7 - 2 * labels[order]) == pytest.approx(class_information(x, labels))


def test_constants_and_classes_of_one_item_have_no_information() -> None:
    assert class_information(torch.zeros(50, 2), torch.arange(50) % 2) == pytest.approx(0, abs=1e-12)
    assert class_information(draw(50, 2), torch.arange(50)) == 0
    assert pair_information(torch.zeros(50, 1), draw(50, 1)) == 0


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="more than k = 3, got 3 and 3"):
        pair_information(draw(3, 1), draw(3, 1))
    with pytest.raises(ValueError, match="same number of rows, more than k = 3, got 9 and 8"):
        pair_information(draw(9, 1), draw(8, 1))


def test_equal_rows_keep_their_information() -> None:
    labels = torch.arange(600) % 6
    points = torch.eye(6, dtype=torch.float64)[labels]
    assert class_information(points, labels) == pytest.approx(math.log(6), abs=0.01)
    assert class_information(points[:, :1], labels) == pytest.approx(0.4506, abs=0.01)  # entropy of 1/6 and 5/6
    bits = (labels < 3).double()[:, None]
    assert pair_information(bits, bits) == pytest.approx(math.log(2), abs=0.01)
    assert pair_information(bits, torch.ones_like(bits)) == pytest.approx(0, abs=0.01)


def test_of_a_small_class_as_many_neighbours_count_as_it_has() -> None:
    """Three items of the first class: the distance to the third neighbour within it is that to the second."""
    x = torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0], [13.0], [14.0]])
    labels = torch.tensor([0] * 3 + [1] * 5)
    assert class_information(x, labels, 3) == pytest.approx(slow_classes(x, labels, 3))
