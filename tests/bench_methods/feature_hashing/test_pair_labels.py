"""Labels of pairs: SSDH's limits as its rule says in numpy, votes of neighbours by loops, values by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_methods.feature_hashing.pair_labels import (
    Limits,
    distances,
    distilled_labels,
    labels_by_limits,
    limits_by_half_gaussians,
    limits_by_share,
    similar_probability,
)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def limits_in_numpy(values: np.ndarray, alpha: float, beta: float) -> tuple[float, float]:
    """SSDH's rule in words: the fullest of 100 bins of .01, mirrored halves, mean and deviation of each."""
    counts = [np.count_nonzero((values > k / 100) & (values < (k + 1) / 100)) for k in range(100)]
    peak = int(np.argmax(counts)) / 100
    left, right = values[values <= peak], values[values > peak]
    left, right = np.concatenate([left, 2 * peak - left]), np.concatenate([right, 2 * peak - right])
    return left.mean() - alpha * left.std(), right.mean() + beta * right.std()


@pytest.mark.parametrize(("alpha", "beta"), [(2.0, 2.0), (0.5, 1.0)])
def test_limits_are_those_of_two_half_gaussians(alpha: float, beta: float) -> None:
    features = draw(80, 6).abs() + 0.3 * F.one_hot(torch.arange(80) % 6, 6)
    d = distances(features)
    expected = limits_in_numpy(d.double().numpy().ravel(), alpha, beta)
    limits = limits_by_half_gaussians(d, alpha, beta)
    assert [value.item() for value in limits] == pytest.approx(expected, rel=1e-4)


def test_half_gaussians_by_hand() -> None:
    d = torch.tensor([[0.0, 0.21, 0.553], [0.21, 0.0, 0.557], [0.553, 0.557, 0.0]])  # the fullest bin begins at .55
    left = math.sqrt((3 * 0.55**2 + 2 * 0.34**2) / 5)
    right = math.sqrt((0.003**2 + 0.007**2) / 2)
    limits = limits_by_half_gaussians(d, 1.0, 2.0)
    assert [value.item() for value in limits] == pytest.approx([0.55 - left, 0.55 + 2 * right], rel=1e-4)


def test_peak_of_features_with_negative_cosines_may_lie_above_1() -> None:
    below, above = limits_by_half_gaussians(torch.full((3, 3), 1.605), 1.0, 2.0)
    assert (below.item(), above.item()) == pytest.approx((1.6, 1.61), abs=1e-5)  # none on the left, .005 on the right


def test_equal_items_have_no_pair_beyond_a_limit() -> None:
    d = distances(torch.ones(5, 3))
    assert not labels_by_limits(d, limits_by_half_gaussians(d, 2.0, 2.0)).any()


def test_labels_by_limits_by_hand() -> None:
    d = torch.tensor([[0.0, 0.3, 0.7], [0.3, 0.0, 0.5], [0.7, 0.5, 0.0]])
    labels = labels_by_limits(d, Limits(torch.tensor(0.4), torch.tensor(0.6)))
    assert labels.tolist() == [[1, 1, -1], [1, 1, 0], [-1, 0, 1]]


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_the_given_share_of_pairs_lies_below_the_limit(share: float) -> None:
    d = distances(draw(60, 8))
    below, above = limits_by_share(d, share)
    assert torch.equal(below, above)
    off = d[~torch.eye(60, dtype=torch.bool)]
    assert (off < below).float().mean().item() == pytest.approx(share, abs=1e-3)


def test_probability_is_the_share_of_similar_pairs_between_one_and_what_is_around_the_other() -> None:
    features, around, limit = draw(5, 4), draw(5, 3, 4, seed=1), 0.8
    expected = torch.zeros(5, 5)
    for i in range(5):
        for j in range(5):
            votes = [float(F.cosine_similarity(features[i], around[j, k], dim=0)) > 1 - limit for k in range(3)]
            votes += [float(F.cosine_similarity(features[j], around[i, k], dim=0)) > 1 - limit for k in range(3)]
            expected[i, j] = sum(votes) / 6
    limits = Limits(torch.tensor(limit), torch.tensor(limit))
    assert torch.allclose(similar_probability(features, around, limits), expected)


def test_distilled_labels_by_hand() -> None:
    p = torch.tensor([[0.9, 0.75, 0.3], [0.75, 0.9, 0.25], [0.3, 0.25, 0.9]])
    assert distilled_labels(p, 0.5).tolist() == [[0, 1, 0], [1, 0, -1], [0, -1, 0]]
    assert distilled_labels(p, 0.0).tolist() == [[0, 1, -1], [1, 0, -1], [-1, -1, 0]]


def test_distilled_labels_are_those_without_noise_for_any_rates_up_to_the_margin() -> None:
    rates = [(a, b) for a in np.linspace(0, 0.5, 6) for b in np.linspace(0, 0.5, 6) if a + b < 0.999]
    for similar_flips, different_flips in rates:
        for true in np.linspace(0, 1, 21):
            noisy = (1 - similar_flips) * true + different_flips * (1 - true)
            label = distilled_labels(torch.full((2, 2), float(noisy)), 0.5)[0, 1].item()
            assert label * (true - 0.5) >= -1e-6


def test_labels_do_not_change_with_the_scale_of_features_or_the_order_of_items() -> None:
    features, around, order = draw(6, 4), draw(6, 3, 4, seed=1), torch.tensor([4, 2, 0, 5, 1, 3])
    limits = limits_by_share(distances(features), 0.3)
    labels = distilled_labels(similar_probability(features, around, limits), 0.3)
    scaled = distilled_labels(similar_probability(3 * features, 0.5 * around, limits), 0.3)
    permuted = distilled_labels(similar_probability(features[order], around[order], limits), 0.3)
    assert torch.equal(scaled, labels)
    assert torch.equal(permuted, labels[order][:, order])
    assert torch.equal(labels, labels.T)


def test_labels_are_computed_in_float32_under_autocast() -> None:
    features, around = draw(12, 8), draw(12, 3, 8, seed=1)
    limits = limits_by_share(distances(features), 0.3)
    expected = similar_probability(features, around, limits)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(distances(features), distances(features).float())
        inside, probability = distances(features), similar_probability(features, around, limits)
    assert torch.equal(inside, distances(features))
    assert torch.equal(probability, expected)
