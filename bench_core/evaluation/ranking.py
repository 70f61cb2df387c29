"""Quality of rankings: average precision, precision at k, and precision and recall within a Hamming radius.

A ranking by Hamming distance is full of ties, because B bits have only B + 1 distances. Measures of tied rankings are
therefore expectations over all orders of the tied items, so that no number depends on the order of the database or on
a sorting algorithm. Three kinds of input, in this order:

- histograms over groups of tied items: `expected_average_precision`, `expected_precision`, `ball_precision_recall`
- scores by real numbers: `average_precision` for one query, `average_precisions` for many on a device
- lists that were cut at rank k: `list_average_precision`

Papers: McSherry and Najork, "Computing information retrieval performance measures efficiently in the presence of
    tied scores", ECIR 2008; He, Cakir, Bargal, Sclaroff, "Hashing as tie-aware learning to rank", CVPR 2018,
    https://arxiv.org/abs/1705.08562

Shapes: Q queries, N items of the database, B bits, G groups of tied items from near to far, L labels, k ranks.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK_PAIRS = 2**22  # query-item pairs held at once: about 64 MiB with all that is computed from them


def relevance(query_labels: Tensor, database_labels: Tensor) -> Tensor:
    """Tell which items are relevant for each query: those of its class, or those that share at least one label.

    Args:
        query_labels: Classes (Q,) int64, or labels (Q, L) bool.
        database_labels: Classes (N,) int64, or labels (N, L) bool.

    Returns:
        Relevance (Q, N) bool.
    """
    if query_labels.ndim == 1:
        return query_labels[:, None] == database_labels
    return query_labels.float() @ database_labels.float().T > 0


def expected_average_precision(items: Tensor, relevant: Tensor, k: int | None = None) -> Tensor:
    """Return the average precision of each query, expected over all orders of tied items.

    E[AP] = (1 / min(R, k)) sum_g (r / n) sum_{i=1..n} (R0 + 1 + (i - 1) rho) / (N0 + i), rho = (r - 1) / (n - 1)
    with n items and r relevant ones in group g, N0 and R0 in the groups before it, and R relevant items in all.
    With k, ranks after k do not count.

    Args:
        items: Number of items in each group (Q, G).
        relevant: Number of relevant items in each group (Q, G).
        k: Number of ranks that count; None for all.

    Returns:
        (Q,) float64 in [0, 1]; 0 for a query without relevant items.
    """
    items, relevant = items.double(), relevant.double()
    before, hits = items.cumsum(1) - items, relevant.cumsum(1) - relevant
    total = relevant.sum(1)
    k = k or int(items.sum(1).max())
    sums = _expected_precisions(items, relevant, before, hits, k)
    return (relevant / items.clamp(min=1) * sums).sum(1) / total.clamp(min=1, max=k)


def _expected_precisions(items: Tensor, relevant: Tensor, before: Tensor, hits: Tensor, k: int) -> Tensor:
    """Return the inner sum of E[AP] for each group, up to rank k, in closed form with harmonic numbers.

    Args:
        items: n, float64; the other tensors have the same type and shape.
        relevant: r.
        before: N0.
        hits: R0.
        k: Last rank that counts.
    """
    taken = torch.minimum(items, (k - before).clamp(min=0))
    rho = (relevant - 1).clamp(min=0) / (items - 1).clamp(min=1)
    harmonic = torch.zeros(int((before + taken).max()) + 1, dtype=torch.float64)
    harmonic[1:] = torch.arange(1, len(harmonic), dtype=torch.float64).reciprocal().cumsum(0)
    span = harmonic[(before + taken).long()] - harmonic[before.long()]
    return rho * taken + (hits + 1 - rho - rho * before) * span


def expected_precision(items: Tensor, relevant: Tensor, k: int) -> Tensor:
    """Return the fraction of relevant items among the first k, expected over all orders of tied items.

    Args:
        items: Number of items in each group (Q, G).
        relevant: Number of relevant items in each group (Q, G).
        k: Number of ranks that count, at most the number of items.

    Returns:
        (Q,) float64 in [0, 1].
    """
    items, relevant = items.double(), relevant.double()
    taken = torch.minimum(items, (k - (items.cumsum(1) - items)).clamp(min=0))
    return (taken * relevant / items.clamp(min=1)).sum(1) / k


def ball_precision_recall(items: Tensor, relevant: Tensor) -> tuple[Tensor, Tensor]:
    """Return precision and recall of all items within each radius of each query (hash lookup).

    Args:
        items: Number of items at each distance (Q, B + 1).
        relevant: Number of relevant items at each distance (Q, B + 1).

    Returns:
        Precision (Q, B + 1) float64, 0 for an empty ball, and recall (Q, B + 1) float64, 0 for a query without
        relevant items.
    """
    inside, hits = items.double().cumsum(1), relevant.double().cumsum(1)
    return hits / inside.clamp(min=1), hits / hits[:, -1:].clamp(min=1)


def average_precision(scores: Tensor, relevant: Tensor) -> float:
    """Return the average precision of one ranking by real numbers, expected over all orders of equal scores.

    The sum over groups of ties is written as a sum over relevant items, so that only values have to be sorted.

    Args:
        scores: Scores (N,) on the CPU; higher is nearer.
        relevant: Relevance (N,) bool.

    Returns:
        A number in [0, 1]; 0 if no item is relevant.
    """
    values = (-scores).numpy()
    ranked = torch.from_numpy(np.sort(values))  # several times faster than torch.sort, which also returns positions
    hits = torch.from_numpy(np.sort(values[relevant.numpy()]))
    if len(hits) == 0:
        return 0.0
    before, hits_before = torch.searchsorted(ranked, hits), torch.searchsorted(hits, hits)
    items = (torch.searchsorted(ranked, hits, right=True) - before).double()
    tied_hits = (torch.searchsorted(hits, hits, right=True) - hits_before).double()
    sums = _expected_precisions(items, tied_hits, before.double(), hits_before.double(), len(scores))
    return min(1.0, float((sums / items).mean()))  # rounding may exceed 1


def average_precisions(scores: Tensor, relevant: Tensor) -> Tensor:
    """Return the average precision of each row, as `average_precision` does for one, on the device of the scores.

    Nothing waits for the device. Memory is about 100 bytes for each pair.

    Args:
        scores: Scores (Q, N); higher is nearer.
        relevant: Relevance (Q, N) bool.

    Returns:
        (Q,) float64 in [0, 1], on the device; 0 for a row without relevant items.
    """
    ranked, order = scores.neg().sort(dim=1)
    hits = F.pad(relevant.gather(1, order).long().cumsum(1), (1, 0))  # (Q, N + 1): relevant items before each rank
    first, last = torch.searchsorted(ranked, ranked), torch.searchsorted(ranked, ranked, right=True)
    items = (last - first).double()  # number of items tied with each item
    hits_before = hits.gather(1, first).double()  # relevant items before these ties
    tied_hits = hits.gather(1, last).double() - hits_before
    ranks = torch.arange(1, scores.shape[1] + 1, dtype=torch.float64, device=scores.device)
    harmonic = F.pad(ranks.reciprocal().cumsum(0), (1, 0))
    rho = (tied_hits - 1).clamp(min=0) / (items - 1).clamp(min=1)
    span = harmonic[last] - harmonic[first]
    precision = (rho * items + (hits_before + 1 - rho - rho * first) * span) / items
    sums = (precision * relevant.gather(1, order)).sum(1)
    return (sums / relevant.sum(1).clamp(min=1)).clamp(max=1.0)  # rounding may exceed 1


def list_average_precision(hits: Tensor, total: Tensor) -> Tensor:
    """Return the average precision of ranked lists that were cut at rank k.

    Args:
        hits: True if the item at a rank is relevant, (Q, k) bool.
        total: Divisor (Q,) of the sum of precisions. Information retrieval uses min(R, k), with R relevant items in
            the database. The hashing literature uses the number of hits in the list, which flatters: a list whose only
            hit is at rank 1 scores 1.

    Returns:
        (Q,) float64 in [0, 1]; 0 for a list without hits.
    """
    ranks = torch.arange(1, hits.shape[1] + 1, dtype=torch.float64)
    is_hit = hits.double()
    return (is_hit.cumsum(1) / ranks * is_hit).sum(1) / total.double().clamp(min=1)
