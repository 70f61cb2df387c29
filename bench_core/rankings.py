"""Average precision of many rankings at once, where their scores lie; one by one on the CPU is `bench_core.metrics`.

Shapes: Q queries, N items.
"""

import torch
from torch import Tensor


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
