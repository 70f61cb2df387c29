"""How far each code (a coordinate of an embedding) is about one known factor, and each factor in one code.

Two matrices tell: the mutual information of code and factor, and how much a learner of the factor uses the code.

Papers: Chen, Li, Grosse, Duvenaud, NeurIPS 2018, https://arxiv.org/abs/1802.04942 (MIG); Eastwood and Williams, ICLR
        2018, https://openreview.net/forum?id=By-7dz-AZ (DCI); Kumar, Sattigeri, Balakrishnan, ICLR 2018,
        https://openreview.net/forum?id=H1kG7GZAW (SAP); Cao et al., NeurIPS 2022 (MED, top-k MED)
Code:   https://github.com/google-research/disentanglement_lib (86a644d)

Shapes: N items, D codes, F factors, V values of a factor.
"""

import math
import warnings

import numpy as np
import torch
from torch import Tensor

_AT_ONCE = 2**23  # entries of the codes that are counted at once


def binned(codes: Tensor, bins: int) -> Tensor:
    """Codes (N, D) -> (N, D) int64 in [0, bins): equal widths between a code's least and largest value."""
    low, high = codes.double().aminmax(dim=0)
    width = (high - low).clamp(min=torch.finfo(torch.float64).tiny)
    return ((codes.double() - low) * bins / width).long().clamp(max=bins - 1)


def mutual_information(codes: Tensor, factors: Tensor, bins: int = 20) -> Tensor:
    """Of each code, in bins of equal width, and each factor; a plug-in estimate.

    Where the two have nothing in common it is about (bins - 1) (V - 1) / (2 N) instead of 0.

    Args:
        codes: (N, D) floats.
        factors: (N, F) int64, >= 0.
        bins: Of each code.

    Returns:
        (D, F) float64, nats, >= 0.
    """
    step = max(1, _AT_ONCE // len(codes))
    return torch.cat([_information(binned(part, bins), factors, bins) for part in torch.split(codes, step, 1)])


def _information(cells: Tensor, factors: Tensor, bins: int) -> Tensor:
    n, dims = cells.shape
    found = []
    for values in factors.T:
        count = int(values.max()) + 1
        place = (torch.arange(dims) * bins + cells) * count + values[:, None]
        joint = torch.bincount(place.flatten(), minlength=dims * bins * count).view(dims, bins, count).double() / n
        apart = torch.special.entr(joint.sum(2)).sum(1) + torch.special.entr(joint.sum(1)).sum(1)
        found.append((apart - torch.special.entr(joint).sum((1, 2))).clamp(min=0))
    return torch.stack(found, 1)


def entropies(factors: Tensor) -> Tensor:
    """Entropy (F,) of each factor (N, F) in nats, of the values as they are drawn."""
    return torch.stack([torch.special.entr(v.bincount().double() / len(v)).sum() for v in factors.T])


def mean_gap(scores: Tensor) -> float:
    """Mean over factors of the best code's score less the second best's.

    Of I(code; factor) / H(factor) this is MIG; of accuracies from one code it is SAP.

    Args:
        scores: (D, F) of each code for each factor, in [0, 1]; D > 1.
    """
    best = scores.double().topk(2, dim=0).values
    return min(float((best[0] - best[1]).mean()), 1.0)


def disentanglement(importance: Tensor) -> float:
    """Sum_j rho_j (1 - H_j / log F), rho_j the part of all importance that code j has, H_j the entropy of its row.

    1 where every code serves one factor; of the transposed matrix it is the completeness: 1 where every factor is
    served by one code.

    Args:
        importance: (D, F), >= 0, F > 1; all zero gives 0.
    """
    total = importance.double().sum(1, keepdim=True)
    if not float(total.sum()) > 0:
        return 0.0
    part = importance.double() / total.clamp(min=torch.finfo(torch.float64).tiny)
    rows = 1 - torch.special.entr(part).sum(1) / math.log(importance.shape[1])
    return min(max(float((rows * total[:, 0]).sum() / total.sum()), 0.0), 1.0)


def med(information: Tensor, top: int | None = None) -> float:
    """MED: `disentanglement` of the mutual information, after each factor's information was made to sum to 1.

    Args:
        information: (D, F) nats; a factor of which no code knows anything counts nowhere.
        top: Of each factor only so many codes are kept, those that are most about it alone among those that know
            most of it; so wide embeddings and narrow ones compare. None keeps all.
    """
    parts = information / information.sum(0).clamp(min=torch.finfo(torch.float64).tiny)
    if top is None:
        return disentanglement(parts)
    rows = parts / parts.sum(1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    order = torch.special.entr(rows).sum(1).masked_fill(parts.sum(1) == 0, math.inf).argsort(stable=True)
    owner = parts[order].argmax(1)
    kept = torch.cat([order[owner == factor][:top] for factor in range(parts.shape[1])])
    return disentanglement(parts[kept])


def nearest_mean_accuracy(codes: Tensor, values: Tensor, test_codes: Tensor, test_values: Tensor) -> Tensor:
    """Accuracy of each single code at telling a factor's value: the value with the nearest mean is the answer.

    Args:
        codes: (N, D), from which the means are taken.
        values: (N,) int64.
        test_codes: (M, D).
        test_values: (M,).

    Returns:
        (D,) float64; where means coincide one of their values is the answer.
    """
    seen, index, counts = torch.unique(values, return_inverse=True, return_counts=True)
    sums = torch.zeros(len(seen), codes.shape[1], dtype=torch.float64).index_add_(0, index, codes.double())
    means, order = (sums / counts[:, None]).T.contiguous().sort(dim=1, stable=True)
    between = (means[:, 1:] + means[:, :-1]) / 2
    place = torch.searchsorted(between.contiguous(), test_codes.double().T.contiguous())
    right: Tensor = seen[order.gather(1, place)] == test_values
    return right.double().mean(1)


def svm_accuracy(codes: Tensor, values: Tensor, test_codes: Tensor, test_values: Tensor) -> Tensor:
    """As `nearest_mean_accuracy` by linear support vectors, C = .01, values balanced, as the code does; slow.

    Args:
        codes: (N, D).
        values: (N,) int64.
        test_codes: (M, D).
        test_values: (M,).
    """
    from sklearn.exceptions import ConvergenceWarning  # costs a second: only where it is used
    from sklearn.svm import LinearSVC

    found = []
    for column, test_column in zip(codes.T.numpy(), test_codes.T.numpy(), strict=True):
        svm = LinearSVC(C=0.01, class_weight="balanced", random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the code's settings, wherever they stop
            svm.fit(column[:, None], values.numpy())
        found.append(np.mean(svm.predict(test_column[:, None]) == test_values.numpy()))
    return torch.tensor(np.array(found), dtype=torch.float64)


def tree_importance(
    codes: Tensor, factors: Tensor, test_codes: Tensor, test_factors: Tensor, seed: int, boosting: bool = False
) -> tuple[Tensor, float]:
    """How much trees use each code to tell each factor's value, and how often they are right.

    By default 20 extremely randomised trees (Geurts, Ernst, Wehenkel, 2006), leaves of 5 items or more; every split
    looks at every code. A forest whose splits see few codes must use some that say nothing, and gave perfect codes
    a disentanglement of .5.

    Args:
        codes: (N, D) to learn from.
        factors: (N, F).
        test_codes: (M, D).
        test_factors: (M, F).
        seed: Of the trees.
        boosting: Gradient boosting instead, as the code has it; far slower.

    Returns:
        (D, F) float64, each column of sum 1 (or 0, where no split helps); and the mean accuracy on test.
    """
    from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier  # as above

    columns, right = [], []
    for values, test_values in zip(factors.T.numpy(), test_factors.T.numpy(), strict=True):
        trees = (
            GradientBoostingClassifier(random_state=seed)
            if boosting
            else ExtraTreesClassifier(20, min_samples_leaf=5, max_features=None, random_state=seed)
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The number of unique classes")  # of few items; they are classes still
            trees.fit(codes.numpy(), values)
        columns.append(torch.from_numpy(trees.feature_importances_))
        right.append(float(np.mean(trees.predict(test_codes.numpy()) == test_values)))
    return torch.stack(columns, 1).double(), sum(right) / len(right)
