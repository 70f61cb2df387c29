"""Classification by nearest neighbours, whose votes are weighted by exp(cosine / temperature).

Paper: Wu, Xiong, Yu, Lin, CVPR 2018, section 3.4, https://arxiv.org/abs/1805.01978

Shapes: Q queries, N labelled items (the bank), D features, k neighbours, K classes.
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
    """Return the class votes (Q, K) of the k nearest items of the bank by cosine.

    Args:
        queries: Features (Q, D) of the items to classify.
        bank: Features (N, D) of labelled items.
        labels: Classes (N,) int64 of the bank.
        num_classes: Number of classes K.
        k: Number of neighbours, at most N.
        temperature: Positive number that divides the cosines.
        device: Device of the search.
    """
    # A row of length 0 stays 0 and has cosine 0 with all items.
    cosine, index = top_k(F.normalize(queries, dim=1), F.normalize(bank, dim=1), k, device)
    return knn_votes(cosine, labels[index], num_classes, temperature)


def knn_votes(cosine: Tensor, neighbours: Tensor, num_classes: int, temperature: float) -> Tensor:
    """Sum the votes for each class.

    Args:
        cosine: Cosines (Q, k) of the neighbours.
        neighbours: Classes (Q, k) int64 of the neighbours.
        num_classes: Number of classes K.
        temperature: Positive number that divides the cosines.

    Returns:
        Votes (Q, K) float64, in units of the nearest neighbour's vote, so that no temperature overflows.
    """
    weight = ((cosine.double() - cosine.double().amax(1, keepdim=True)) / temperature).exp()
    return torch.zeros(len(cosine), num_classes, dtype=torch.float64).scatter_add_(1, neighbours, weight)
