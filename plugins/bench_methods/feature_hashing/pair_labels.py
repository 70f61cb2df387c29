"""Labels of pairs of items, made from the cosine distances of their features: similar, different, or not known.

Shapes: M items of the train split, N items of a batch, S items of a sample, D features, K neighbours of an item and the
        item itself. A distance is 1 - cosine, in [0, 2]. A label is 1 (similar), -1 (different) or 0 (not known).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_BIN = 0.01  # width of a bin of the histogram of distances


class Limits(NamedTuple):
    """Distances that tell pairs apart: similar below the first, different above the second."""

    similar_below: Tensor
    different_above: Tensor


def distances(features: Tensor) -> Tensor:
    """Return the cosine distances (N, N) of all pairs of features (N, D)."""
    with torch.autocast(features.device.type, enabled=False):  # bf16 products would move pairs over a limit
        unit = F.normalize(features.float(), dim=1)
        return (1 - unit @ unit.T).clamp(min=0)  # rounding would put equal items below 0


def limits_by_share(all_distances: Tensor, share: float) -> Limits:
    """Return one distance, twice, below which lies the given share of all pairs of different items.

    Args:
        all_distances: (S, S), symmetric.
        share: Share of the pairs that count as similar, in (0, 1).
    """
    rows, columns = torch.triu_indices(len(all_distances), len(all_distances), offset=1, device=all_distances.device)
    pairs = all_distances[rows, columns].sort().values
    limit = pairs[min(len(pairs) - 1, round(share * len(pairs)))]
    return Limits(limit, limit)


def limits_by_half_gaussians(all_distances: Tensor, alpha: float, beta: float) -> Limits:
    """Return the limits of SSDH: two half-Gaussians are fitted to the distances on both sides of their peak.

    The peak is the left edge of the fullest bin of a histogram with bins of .01. The deviation of each side is the root
    of the mean squared difference from the peak. The limits are peak - alpha * left and peak + beta * right.

    Args:
        all_distances: (S, S), symmetric. Pairs of an item and itself take part, as in the code.
        alpha: Deviations that a similar pair is nearer than the peak.
        beta: Deviations that a different pair is farther than the peak.
    """
    values = all_distances.flatten()
    edges = torch.arange(0, 2 + _BIN, _BIN, dtype=torch.float64).to(values.dtype).to(values.device)
    inside = values[values > 0]
    bins = (torch.bucketize(inside, edges, right=True) - 1).clamp(max=len(edges) - 2)
    counts = torch.bincount(bins, minlength=len(edges) - 1)
    peak = edges[counts.argmax()]
    squares = (values - peak).square()
    left, right = (_root_mean(squares[side]) for side in (values <= peak, values > peak))
    return Limits(peak - alpha * left, peak + beta * right)


def _root_mean(squares: Tensor) -> Tensor:
    """Return the root of the mean, 0 for no values."""
    return squares.sum().div(max(1, len(squares))).sqrt()


def labels_by_limits(batch_distances: Tensor, limits: Limits) -> Tensor:
    """Return the labels (N, N) of all pairs of a batch whose distances (N, N) are beyond a limit, 0 for the others."""
    similar = batch_distances < limits.similar_below
    different = batch_distances > limits.different_above
    return similar.float() - different.float()


def similar_probability(features: Tensor, around: Tensor, limits: Limits) -> Tensor:
    """Estimate how probable it is that two items are similar, from the labels between one and the other's neighbours.

    For items i and j, i is compared with each neighbour of j and with j, and j with each neighbour of i and with i; the
    estimate is the share of similar pairs among these 2 K.

    Args:
        features: (N, D).
        around: Features (N, K, D) of the neighbours of each item and of the item itself.
        limits: A pair counts as similar below `similar_below`.

    Returns:
        (N, N) in [0, 1], symmetric; 1 where each is similar to all that is around the other.
    """
    with torch.autocast(features.device.type, enabled=False):  # bf16 products would move pairs over a limit
        unit, others = F.normalize(features.float(), dim=1), F.normalize(around.float(), dim=2)
        similar = 1 - unit @ others.flatten(0, 1).T < limits.similar_below  # (N, N K)
    votes = similar.view(len(unit), len(unit), -1).float().mean(2)  # [i, j]: i with what is around j
    return (votes + votes.T) / 2


def distilled_labels(probability: Tensor, margin: float) -> Tensor:
    """Return the labels (N, N) of the pairs whose probability (N, N) is at least margin / 2 from 1/2, 0 for the others.

    If noise flips labels of either kind at a rate of at most `margin`, and the two rates sum to less than 1, such a
    pair gets the label that is the likelier one without noise. Pairs of an item and itself get 0.
    """
    labels = (probability >= (1 + margin) / 2).float() - (probability <= (1 - margin) / 2).float()
    return labels.fill_diagonal_(0)
