"""Rates of distributions whose rates are known, and of short lists counted by hand."""

import math
from statistics import NormalDist

import pytest
import torch
from scipy.stats import mannwhitneyu
from sklearn.metrics import precision_recall_curve
from torch import Tensor

from bench_evaluators.outliers.rates import Rate, aupr, auroc, false_positive_rate, mean_rate, rates

N = 20_000


def quantiles(mean: float, deviation: float) -> Tensor:
    """Return evenly spaced quantiles of a normal distribution, a sample without noise."""
    scores: Tensor = torch.special.ndtri((torch.arange(N, dtype=torch.float64) + 0.5) / N)
    return mean + deviation * scores


def test_two_conventions_of_fpr95_are_far_apart_on_the_same_scores() -> None:
    values = rates(-quantiles(1, 1), -quantiles(0, 2))  # confidences N(1, 1) inside, N(0, 4) outside
    assert values["fpr95_id_pos"].value == pytest.approx(0.6264, abs=2e-4)
    assert values["fpr95_ood_pos"].value == pytest.approx(0.9890, abs=2e-4)
    assert values["auroc"].value == pytest.approx(NormalDist().cdf(1 / math.sqrt(5)), abs=2e-4)
    assert values["auroc"].value == pytest.approx(0.673, abs=1e-3)


def test_equal_distributions_are_at_chance() -> None:
    values = rates(quantiles(0, 1), quantiles(0, 1))
    assert {name: rate.value for name, rate in values.items()} == pytest.approx(
        {name: rate.chance for name, rate in values.items()}, abs=1e-3
    )
    assert values["auroc"].value == pytest.approx(0.5)
    assert {name for name, rate in values.items() if not rate.higher_is_better} == {"fpr95_id_pos", "fpr95_ood_pos"}


def test_constant_scores_are_at_chance() -> None:
    values = rates(torch.zeros(60), torch.zeros(20))
    assert (values["auroc"].value, values["aupr_out"].value, values["aupr_in"].value) == (0.5, 0.25, 0.75)
    assert values["fpr95_id_pos"].value == 1


def test_auroc_is_counted_over_pairs_with_ties_as_half() -> None:
    inside, outside = torch.tensor([1.0, 2.0, 2.0]), torch.tensor([2.0, 3.0])
    pairs = [float(o > i) + 0.5 * float(o == i) for i in inside for o in outside]
    assert auroc(inside, outside) == pytest.approx(sum(pairs) / 6) == pytest.approx(5 / 6)


def test_auroc_equals_mann_whitney_u() -> None:
    rng = torch.Generator().manual_seed(0)
    inside, outside = torch.randn(70, generator=rng).round(decimals=1), torch.randn(50, generator=rng) + 0.5
    outside = outside.round(decimals=1)
    assert auroc(inside, outside) == pytest.approx(mannwhitneyu(outside, inside).statistic / (70 * 50))
    assert auroc(inside, outside) == pytest.approx(1 - auroc(outside, inside))
    assert auroc(inside.exp(), outside.exp()) == pytest.approx(auroc(inside, outside))


def test_average_precision_by_hand() -> None:
    assert aupr(torch.tensor([3.0, 1.0]), torch.tensor([2.0])) == pytest.approx((1 + 2 / 3) / 2)
    positive, negative = quantiles(1, 1)[::100], quantiles(0, 1)[::100]
    truth = torch.cat([torch.ones(200), torch.zeros(200)])
    precision, recall, _ = precision_recall_curve(truth, torch.cat([positive, negative]))
    assert aupr(positive, negative) == pytest.approx(-(precision[:-1] * (recall[1:] - recall[:-1])).sum())


def test_false_positives_are_counted_at_the_threshold_that_catches_enough() -> None:
    positive = torch.arange(1.0, 21)  # 19 of 20 are at or above 2
    assert false_positive_rate(positive, torch.tensor([0.0, 1.9, 2.0, 9.0])) == 0.5
    assert false_positive_rate(positive, torch.tensor([0.0, 0.9, 1.0, 9.0]), recall=1.0) == 0.5
    assert false_positive_rate(positive, torch.tensor([0.0, 19.9]), recall=0.05) == 0


def test_mean_rate_averages_values_and_chances() -> None:
    assert mean_rate([Rate(0.25, 0.5, False), Rate(0.5, 0.75, False)]) == Rate(0.375, 0.625, False)


def test_a_detector_that_errs_at_one_end_alone_has_other_rates_for_either_side() -> None:
    """Inliers 0 to 9; outliers half at -5, which look like the best inliers, and half at 20."""
    values = {name: rate.value for name, rate in rates(torch.arange(10.0), torch.tensor([-5.0, 20.0] * 5)).items()}
    assert values["auroc"] == 0.5
    assert values["aupr_in"] == pytest.approx(sum(k / (k + 5) for k in range(1, 11)) / 10)
    # Outliers, highest first: five at 20, then all inliers, then five at -5, which are tied.
    assert values["aupr_out"] == pytest.approx((5 * 1 + 5 * 10 / 20) / 10)
    assert values["fpr95_id_pos"] == 0.5  # the outliers at -5
    assert values["fpr95_ood_pos"] == 1.0  # all inliers, to catch the outliers at -5
