"""MIG, MED, SAP and DCI: measure whether each code follows one known factor, and each factor is in one code.

A code is one coordinate of an embedding. The scores summarise a matrix with one number for each code and factor: their
mutual information, the accuracy of telling the factor from the code, or how much a learner of the factor uses the code.

Papers: Chen, Li, Grosse, Duvenaud, NeurIPS 2018, https://arxiv.org/abs/1802.04942 (MIG); Eastwood and Williams, ICLR
        2018, https://openreview.net/forum?id=By-7dz-AZ (DCI); Kumar, Sattigeri, Balakrishnan, ICLR 2018,
        https://openreview.net/forum?id=H1kG7GZAW (SAP); Cao et al., NeurIPS 2022 (MED, top-k MED)
Code:   https://github.com/google-research/disentanglement_lib (86a644d)

A factor of -1 is unknown: the item is left out wherever this factor is read.

Shapes: N items, D codes, F factors, V values of a factor.
"""

import math
import warnings

import numpy as np
import torch
from torch import Tensor

_CHUNK = 2**23  # values of codes that are counted at once


def binned(codes: Tensor, bins: int) -> Tensor:
    """Put codes (N, D) into bins, (N, D) int64 in [0, bins): equal widths between a code's least and largest value."""
    low, high = codes.double().aminmax(dim=0)
    width = (high - low).clamp(min=torch.finfo(torch.float64).tiny)
    return ((codes.double() - low) * bins / width).long().clamp(max=bins - 1)


def mutual_information(codes: Tensor, factors: Tensor, bins: int = 20) -> Tensor:
    """Estimate the mutual information of each code, in bins of equal width, and each factor, by counting (plug-in).

    For a code that knows nothing of the factor it is about (bins - 1) (V - 1) / (2 N) instead of 0.

    Args:
        codes: (N, D) floats.
        factors: (N, F) int64; -1 is unknown.
        bins: Number of bins of each code.

    Returns:
        (D, F) float64, nats, >= 0.
    """
    step = max(1, _CHUNK // len(codes))
    return torch.cat([_information(binned(part, bins), factors, bins) for part in torch.split(codes, step, 1)])


def _information(cells: Tensor, factors: Tensor, bins: int) -> Tensor:
    """Return the mutual information (D, F) of binned codes (N, D) and factors (N, F)."""
    dims = cells.shape[1]
    by_factor = []
    for column in factors.T:
        values, places = known(column, cells)
        n, count = len(values), int(values.max()) + 1
        pair = (torch.arange(dims) * bins + places) * count + values[:, None]  # numbers each code, bin and value
        joint = torch.bincount(pair.flatten(), minlength=dims * bins * count).view(dims, bins, count).double() / n
        marginals = torch.special.entr(joint.sum(2)).sum(1) + torch.special.entr(joint.sum(1)).sum(1)
        by_factor.append((marginals - torch.special.entr(joint).sum((1, 2))).clamp(min=0))
    return torch.stack(by_factor, 1)


def entropies(factors: Tensor) -> Tensor:
    """Return the entropy (F,) of each factor (N, F) in nats, from the frequencies of its values."""
    columns = [known(values)[0] for values in factors.T]
    return torch.stack([torch.special.entr(values.bincount().double() / len(values)).sum() for values in columns])


def known(values: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Return the values (N,) of a factor that are known, and other tensors (N, ...) of the same items."""
    chosen = values >= 0
    return values[chosen], *(other[chosen] for other in others)


def mean_gap(scores: Tensor) -> float:
    """Return the mean over factors of the best code's score minus the second best code's.

    For I(code; factor) / H(factor) this is MIG; for accuracies from a single code it is SAP.

    Args:
        scores: (D, F) of each code for each factor, in [0, 1]; D > 1.
    """
    best = scores.double().topk(2, dim=0).values
    return min(float((best[0] - best[1]).mean()), 1.0)


def disentanglement(importance: Tensor) -> float:
    """Return sum_j rho_j (1 - H_j / log F); rho_j is code j's part of all importance, H_j the entropy of its row.

    It is 1 if each code serves one factor. For the transposed matrix it is the completeness: 1 if each factor is served
    by one code.

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
    """Return MED: `disentanglement` of the mutual information, whose sum over codes is scaled to 1 for each factor.

    Args:
        information: (D, F) nats; a factor that no code knows has no influence.
        top: Number of codes that are kept for each factor, so that wide and narrow embeddings compare. A code belongs
            to the factor that it knows best; the codes of least entropy over factors are kept. None keeps all codes.
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
    """Return the accuracy of each single code at telling a factor's value: the answer is the value of nearest mean.

    Args:
        codes: (N, D), which give the means.
        values: (N,) int64.
        test_codes: (M, D).
        test_values: (M,).

    Returns:
        (D,) float64. Of values with equal means, one is the answer.
    """
    seen, index, counts = torch.unique(values, return_inverse=True, return_counts=True)
    sums = torch.zeros(len(seen), codes.shape[1], dtype=torch.float64).index_add_(0, index, codes.double())
    means, order = (sums / counts[:, None]).T.contiguous().sort(dim=1, stable=True)
    between = (means[:, 1:] + means[:, :-1]) / 2
    nearest = torch.searchsorted(between.contiguous(), test_codes.double().T.contiguous())
    right: Tensor = seen[order.gather(1, nearest)] == test_values
    return right.double().mean(1)


def svm_accuracy(codes: Tensor, values: Tensor, test_codes: Tensor, test_values: Tensor) -> Tensor:
    """Return the same accuracies by linear support vectors, C = .01, values balanced, as the published code; slow.

    Args:
        codes: (N, D), which the classifiers learn from.
        values: (N,) int64.
        test_codes: (M, D).
        test_values: (M,).
    """
    from sklearn.exceptions import ConvergenceWarning  # takes a second to load: only where it is used
    from sklearn.svm import LinearSVC

    accuracies = []
    for column, test_column in zip(codes.T.numpy(), test_codes.T.numpy(), strict=True):
        svm = LinearSVC(C=0.01, class_weight="balanced", random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the published settings, even if they stop early
            svm.fit(column[:, None], values.numpy())
        accuracies.append(np.mean(svm.predict(test_column[:, None]) == test_values.numpy()))
    return torch.tensor(np.array(accuracies), dtype=torch.float64)


def tree_importance(
    codes: Tensor, factors: Tensor, test_codes: Tensor, test_factors: Tensor, seed: int, boosting: bool = False
) -> tuple[Tensor, float]:
    """Train trees to tell each factor's value from the codes; return how much they use each code, and their accuracy.

    By default these are 20 extremely randomised trees (Geurts, Ernst, Wehenkel, 2006) with leaves of 5 items or more;
    every split reads every code. Trees whose splits read few codes must use some that know nothing, and gave perfect
    codes a disentanglement of .5.

    Args:
        codes: (N, D) to learn from.
        factors: (N, F); -1 is unknown.
        test_codes: (M, D).
        test_factors: (M, F); -1 is unknown.
        seed: Seed of the trees.
        boosting: True uses gradient boosting instead, as the published code does; far slower.

    Returns:
        Importance (D, F) float64, each column of sum 1 (or 0, if no split helps); and the mean accuracy on test.
    """
    from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier  # takes a second to load

    columns, right = [], []
    for column, test_column in zip(factors.T, test_factors.T, strict=True):
        values, seen = known(column, codes)
        test_values, test_seen = known(test_column, test_codes)
        trees = (
            GradientBoostingClassifier(random_state=seed)
            if boosting
            else ExtraTreesClassifier(20, min_samples_leaf=5, max_features=None, random_state=seed)
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The number of unique classes")  # many values for so few items
            trees.fit(seen.numpy(), values.numpy())
        columns.append(torch.from_numpy(trees.feature_importances_))
        right.append(float(np.mean(trees.predict(test_seen.numpy()) == test_values.numpy())))
    return torch.stack(columns, 1).double(), sum(right) / len(right)
