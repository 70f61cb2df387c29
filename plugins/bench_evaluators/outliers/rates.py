"""Rates of a score that separates outliers from inliers: AUROC, precision-recall areas, false-positive rates.

`AUROC = P(out > in) + P(out = in) / 2`. The false-positive rate at 95 % has two conventions that differ much: for
confidences N(1, 1) inside and N(0, 4) outside it is .6264 by one and .9890 by the other. Both are given, by name.

Source: areas are scikit-learn's. `fpr95_id_pos` is that of most papers (Sun, Ming, Zhu, Li, ICML 2022,
        https://arxiv.org/abs/2204.06507, section 5); `fpr95_ood_pos` that of OpenOOD v1.5 and pytorch-ood 0.4.

Shapes: N items inside, M outside.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

RECALL = 0.95  # part of the positive items that the false-positive rate fixes


def auroc(inside: Tensor, outside: Tensor) -> float:
    """Return the probability that an outlier scores higher than an inlier; ties count half.

    Args:
        inside: (N,) finite scores, higher is further out.
        outside: (M,).
    """
    from sklearn.metrics import roc_auc_score  # takes a second to load: only where it is used

    return float(roc_auc_score(*_positive(outside, inside)))


def aupr(positive: Tensor, negative: Tensor) -> float:
    """Return the average precision of the positive items, ranked from the highest score; ties are one step.

    Args:
        positive: (N,) finite scores; if the inliers are the positive ones, change the sign of both arguments.
        negative: (M,).
    """
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(*_positive(positive, negative)))


def false_positive_rate(positive: Tensor, negative: Tensor, recall: float = RECALL) -> float:
    """Return the part of negative items at or above the highest threshold that keeps this part of the positive ones.

    Args:
        positive: (N,) scores.
        negative: (M,).
        recall: In (0, 1].
    """
    caught = math.ceil(recall * len(positive) - 1e-9)  # .95 * 20 is 19: rounding must not make it 20
    threshold = positive.sort(descending=True).values[caught - 1]
    return float((negative >= threshold).double().mean())


@dataclass(frozen=True)
class Rate:
    """One rate.

    Attributes:
        value: In [0, 1].
        chance: The rate of random scores.
        higher_is_better: The direction.
    """

    value: float
    chance: float
    higher_is_better: bool = True


def rates(inside: Tensor, outside: Tensor) -> dict[str, Rate]:
    """Return all rates; precision-recall areas and false-positive rates with either side as the positive one.

    Args:
        inside: (N,) finite scores of inliers, higher is further out.
        outside: (M,) scores of outliers.
    """
    part = len(outside) / (len(inside) + len(outside))
    return {
        "auroc": Rate(auroc(inside, outside), 0.5),
        "aupr_in": Rate(aupr(-inside, -outside), 1 - part),
        "aupr_out": Rate(aupr(outside, inside), part),
        "fpr95_id_pos": Rate(false_positive_rate(-inside, -outside), RECALL, higher_is_better=False),
        "fpr95_ood_pos": Rate(false_positive_rate(outside, inside), RECALL, higher_is_better=False),
    }


def mean_rate(several: Sequence[Rate]) -> Rate:
    """Average the values and the chances of several rates."""
    value, chance = fmean(rate.value for rate in several), fmean(rate.chance for rate in several)
    return Rate(value, chance, several[0].higher_is_better)


def _positive(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Return the arguments of scikit-learn: 1 for each positive item and 0 for each negative one, and all scores."""
    truth = torch.cat([torch.ones(len(positive)), torch.zeros(len(negative))])
    return truth, torch.cat([positive, negative])
