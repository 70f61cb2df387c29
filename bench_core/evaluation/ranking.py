"""Accuracy of answers and quality of rankings; pure functions.

Rankings by Hamming distance are full of ties (B bits have B + 1 distances), so their measures here are expectations
over all orders of the tied items: no number depends on the order of the database or on a sorting algorithm.

Papers: McSherry and Najork, "Computing information retrieval performance measures efficiently in the presence of
    tied scores", ECIR 2008; He, Cakir, Bargal, Sclaroff, "Hashing as tie-aware learning to rank", CVPR 2018,
    https://arxiv.org/abs/1705.08562

Shapes: Q queries, N items of the database, B bits, G groups of tied items from near to far, K classes, L labels.
"""

import numpy as np
import torch
from torch import Tensor

CHUNK_PAIRS = 2**22  # query-item pairs held at once: about 64 MiB with all that is made of them


def relevance(query_labels: Tensor, database_labels: Tensor) -> Tensor:
    """Which items a query asks for: those of its class, or those that share at least one label.

    Args:
        query_labels: (Q,) int64 or (Q, L) bool.
        database_labels: (N,) int64 or (N, L) bool.

    Returns:
        (Q, N) bool.
    """
    if query_labels.ndim == 1:
        return query_labels[:, None] == database_labels
    return query_labels.float() @ database_labels.float().T > 0


def expected_average_precision(items: Tensor, relevant: Tensor, k: int | None = None) -> Tensor:
    """Average precision of each query, expected over all orders of tied items.

    E[AP] = (1 / min(R, k)) sum_g (r / n) sum_{i=1..n} (R0 + 1 + (i - 1) rho) / (N0 + i), rho = (r - 1) / (n - 1)
    with n items and r relevant ones in group g, N0 and R0 before it; with k, no rank beyond it counts.

    Args:
        items: (Q, G) number of items in each group.
        relevant: (Q, G) number of relevant items in each group.
        k: Ranks that count; None for all.

    Returns:
        (Q,) float64 in [0, 1]; 0 where nothing is relevant.
    """
    items, relevant = items.double(), relevant.double()
    before, hits = items.cumsum(1) - items, relevant.cumsum(1) - relevant
    total = relevant.sum(1)
    k = k or int(items.sum(1).max())
    sums = _expected_precisions(items, relevant, before, hits, k)
    return (relevant / items.clamp(min=1) * sums).sum(1) / total.clamp(min=1, max=k)


def _expected_precisions(items: Tensor, relevant: Tensor, before: Tensor, hits: Tensor, k: int) -> Tensor:
    """The inner sum above, up to rank k, closed with harmonic numbers; all arguments float64 of one shape."""
    taken = torch.minimum(items, (k - before).clamp(min=0))
    rho = (relevant - 1).clamp(min=0) / (items - 1).clamp(min=1)
    harmonic = torch.zeros(int((before + taken).max()) + 1, dtype=torch.float64)
    harmonic[1:] = torch.arange(1, len(harmonic), dtype=torch.float64).reciprocal().cumsum(0)
    span = harmonic[(before + taken).long()] - harmonic[before.long()]
    return rho * taken + (hits + 1 - rho - rho * before) * span


def expected_precision(items: Tensor, relevant: Tensor, k: int) -> Tensor:
    """Part of the first k that is relevant, expected over all orders of tied items.

    Args:
        items: (Q, G) number of items in each group.
        relevant: (Q, G) number of relevant items in each group.
        k: At most the number of items.

    Returns:
        (Q,) float64 in [0, 1].
    """
    items, relevant = items.double(), relevant.double()
    taken = torch.minimum(items, (k - (items.cumsum(1) - items)).clamp(min=0))
    return (taken * relevant / items.clamp(min=1)).sum(1) / k


def ball_precision_recall(items: Tensor, relevant: Tensor) -> tuple[Tensor, Tensor]:
    """Precision and recall of all items within each radius of each query (hash lookup).

    Args:
        items: (Q, B + 1) number of items at each distance.
        relevant: (Q, B + 1) number of relevant items at each distance.

    Returns:
        Precision (Q, B + 1), 0 for an empty ball, and recall (Q, B + 1), 0 where nothing is relevant; float64.
    """
    inside, hits = items.double().cumsum(1), relevant.double().cumsum(1)
    return hits / inside.clamp(min=1), hits / hits[:, -1:].clamp(min=1)


def average_precision(scores: Tensor, relevant: Tensor) -> float:
    """Average precision of one ranking by a real number, expected over all orders of equal scores.

    The sum over groups of ties is taken as one over relevant items, so that the values alone are sorted.

    Args:
        scores: (N,) higher is nearer; on the CPU.
        relevant: (N,) bool.

    Returns:
        In [0, 1]; 0 where nothing is relevant.
    """
    values = (-scores).numpy()
    ranked = torch.from_numpy(np.sort(values))  # several times faster than torch.sort, which keeps track of positions
    hits = torch.from_numpy(np.sort(values[relevant.numpy()]))
    if len(hits) == 0:
        return 0.0
    before, among = torch.searchsorted(ranked, hits), torch.searchsorted(hits, hits)
    items = (torch.searchsorted(ranked, hits, right=True) - before).double()
    tied = (torch.searchsorted(hits, hits, right=True) - among).double()
    sums = _expected_precisions(items, tied, before.double(), among.double(), len(scores))
    return min(1.0, float((sums / items).mean()))  # rounding


def list_average_precision(hits: Tensor, total: Tensor) -> Tensor:
    """Average precision of ranked lists that were cut at k.

    Args:
        hits: (Q, k) bool, whether the item at each rank is relevant.
        total: (Q,) what the sum of precisions is divided by: min(R, k) in information retrieval (R relevant
            items in the database); the hits inside the list in the hashing literature, which flatters: one hit, at
            rank 1, and nothing else scores 1.

    Returns:
        (Q,) float64 in [0, 1]; 0 where nothing is relevant.
    """
    ranks = torch.arange(1, hits.shape[1] + 1, dtype=torch.float64)
    found = hits.double()
    return (found.cumsum(1) / ranks * found).sum(1) / total.double().clamp(min=1)


def average_precisions(scores: Tensor, relevant: Tensor) -> Tensor:
    """Average precision of each row, expected over all orders of equal scores, as `metrics.average_precision` has it.

    Nothing here waits for the device; memory is about 100 bytes a pair.

    Args:
        scores: (Q, N) higher is nearer.
        relevant: (Q, N) bool.

    Returns:
        (Q,) float64 in [0, 1], on the device; 0 where nothing is relevant.
    """
    ranked, order = scores.neg().sort(dim=1)
    hits = torch.nn.functional.pad(relevant.gather(1, order).long().cumsum(1), (1, 0))  # (Q, N + 1), before each rank
    first, last = torch.searchsorted(ranked, ranked), torch.searchsorted(ranked, ranked, right=True)
    items, among = (last - first).double(), hits.gather(1, first).double()  # ties of each item, hits before them
    tied = hits.gather(1, last).double() - among
    ranks = torch.arange(1, scores.shape[1] + 1, dtype=torch.float64, device=scores.device)
    harmonic = torch.nn.functional.pad(ranks.reciprocal().cumsum(0), (1, 0))
    rho = (tied - 1).clamp(min=0) / (items - 1).clamp(min=1)
    precision = (rho * items + (among + 1 - rho - rho * first) * (harmonic[last] - harmonic[first])) / items
    found = (precision * relevant.gather(1, order)).sum(1)
    return (found / relevant.sum(1).clamp(min=1)).clamp(max=1.0)  # rounding
