"""How well one number tells items that are out of a distribution from those in it.

`AUROC = P(out > in) + P(out = in) / 2`. The rate of false alarms at 95 % has two conventions that are far apart: for
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

RECALL = 0.95


def auroc(inside: Tensor, outside: Tensor) -> float:
    """Chance that an item outside scores higher than one inside; ties count half.

    Args:
        inside: (N,) finite scores, higher is further out.
        outside: (M,).
    """
    from sklearn.metrics import roc_auc_score  # costs a second: only where it is used

    return float(roc_auc_score(*_positive(outside, inside)))


def aupr(positive: Tensor, negative: Tensor) -> float:
    """Average precision of the positive items, ranked from the highest score; ties are one step.

    Args:
        positive: (N,) finite scores; for the items inside as the positive ones give both with their sign changed.
        negative: (M,).
    """
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(*_positive(positive, negative)))


def false_positive_rate(positive: Tensor, negative: Tensor, recall: float = RECALL) -> float:
    """Part of the negative items at or above the highest threshold that catches this part of the positive ones.

    Args:
        positive: (N,) scores.
        negative: (M,).
        recall: In (0, 1].
    """
    caught = math.ceil(recall * len(positive) - 1e-9)  # .95 * 20 is 19, and no rounding makes it 20
    threshold = positive.sort(descending=True).values[caught - 1]
    return float((negative >= threshold).double().mean())


@dataclass(frozen=True)
class Rate:
    """One of them.

    Attributes:
        value: In [0, 1].
        chance: Of scores that know nothing.
        higher_is_better: The direction.
    """

    value: float
    chance: float
    higher_is_better: bool = True


def rates(inside: Tensor, outside: Tensor) -> dict[str, Rate]:
    """All of them; areas under precision and recall and rates of false alarms with either side as the positive one.

    Args:
        inside: (N,) finite scores, higher is further out.
        outside: (M,).
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
    """Means of values and of chances."""
    value, chance = fmean(rate.value for rate in several), fmean(rate.chance for rate in several)
    return Rate(value, chance, several[0].higher_is_better)


def _positive(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """What scikit-learn asks for: whether each item is positive, and its score."""
    truth = torch.cat([torch.ones(len(positive)), torch.zeros(len(negative))])
    return truth, torch.cat([positive, negative])
