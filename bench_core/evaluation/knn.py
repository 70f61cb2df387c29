"""Answers of nearest neighbours: votes weighted by exp(cosine / temperature).

Paper: Wu, Xiong, Yu, Lin, CVPR 2018, section 3.4, https://arxiv.org/abs/1805.01978

Shapes: Q items asked, N labelled items (the bank), D features, k neighbours, K classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core.evaluation.nearest_neighbours import top_k


def knn_answers(
    queries: Tensor,
    bank: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    k: int,
    temperature: float,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Votes (Q, K) of the k nearest items of the bank by cosine.

    Args:
        queries: (Q, D) floats.
        bank: (N, D) floats.
        labels: (N,) int64, of the bank.
        num_classes: K.
        k: At most N.
        temperature: Divides the cosines, > 0.
        device: Where the search is done.
    """
    # Rows of length 0 stay 0 and have cosine 0 with everything.
    cosine, index = top_k(F.normalize(queries, dim=1), F.normalize(bank, dim=1), k, device)
    return knn_votes(cosine, labels[index], num_classes, temperature)


def knn_votes(cosine: Tensor, neighbours: Tensor, num_classes: int, temperature: float) -> Tensor:
    """Sum the votes for each class.

    Args:
        cosine: (Q, k) of each neighbour.
        neighbours: (Q, k) int64 class of each neighbour.
        num_classes: K.
        temperature: Divides the cosines, > 0.

    Returns:
        (Q, K) float64, relative to the vote of the nearest neighbour, so that no temperature overflows.
    """
    weight = ((cosine.double() - cosine.double().amax(1, keepdim=True)) / temperature).exp()
    return torch.zeros(len(cosine), num_classes, dtype=torch.float64).scatter_add_(1, neighbours, weight)
