"""Classification by nearest neighbours, whose votes are weighted by exp(cosine / temperature).

Paper: Wu, Xiong, Yu, Lin, CVPR 2018, section 3.4, https://arxiv.org/abs/1805.01978

Shapes: Q queries, N labelled items (the bank), D features, k neighbours, K classes.
"""

import math

import torch
from torch import Tensor

from bench_core.evaluation.approximate_search import Search, neighbour_search
from bench_core.evaluation.nearest_neighbours import query_parts
from bench_core.evaluation.rows import Features

USUAL_K = 200  # section 3.4


def choose_k(asked: int | None, labels: Tensor) -> tuple[int, list[str]]:
    """Choose how many neighbours vote: as many as asked, else 200, or fewer where a class is smaller.

        choose_k(None, labels)   # 126, where the smallest class has 126 items; 200, where it has 200 or more
        choose_k(20, labels)     # 20

    Of more neighbours than the smallest class has, some are of other classes whatever the features are.

    Args:
        asked: Number of neighbours; all of the bank at most. None chooses it.
        labels: Classes (N,) int64 of the bank.

    Returns:
        The number, and notes for a record where it needs a word.
    """
    sizes = torch.bincount(labels)
    smallest = int(sizes[sizes > 0].min())
    if asked is None:
        note = f"k = {smallest:,}, the size of the smallest training class: more neighbours cannot all be of it"
        return (USUAL_K, []) if smallest >= USUAL_K else (smallest, [note])
    k = min(asked, len(labels))
    notes = [f"k capped at {k:,}, the size of the bank (asked: {asked:,})"] if k < asked else []
    if k > smallest:
        notes.append(f"k = {k:,} is more than the smallest training class has ({smallest:,} items)")
    return k, notes


def knn_answers(
    queries: Features,
    bank: Features,
    labels: Tensor,
    num_classes: int,
    *,
    k: int,
    temperature: float,
    device: torch.device | str = "cpu",
    search: Search = "exact",
) -> Tensor:
    """Return the class votes (Q, K) of the k nearest items of the bank by cosine; -inf for a class without a vote.

    Args:
        queries: Features (Q, D) of the items to classify.
        bank: Features (N, D) of labelled items; `Rows` are searched in blocks.
        labels: Classes (N,) int64 of the bank.
        num_classes: Number of classes K.
        k: Number of neighbours, at most N.
        temperature: Positive number that divides the cosines.
        device: Device of the search.
        search: "exact", or an index that finds most of the nearest items.
    """
    small = isinstance(queries, Tensor) and isinstance(bank, Tensor)
    find, votes = neighbour_search(bank, device, search), []
    for rows in [queries] if small else query_parts(queries, k):
        cosine, index = find(rows, k)
        votes.append(knn_votes(cosine, labels[index], num_classes, temperature))
    return torch.cat(votes)


def knn_votes(cosine: Tensor, neighbours: Tensor, num_classes: int, temperature: float) -> Tensor:
    """Sum the votes for each class; a class without a vote gets -inf, which is no answer.

    Args:
        cosine: Cosines (Q, k) of the neighbours.
        neighbours: Classes (Q, k) int64 of the neighbours.
        num_classes: Number of classes K.
        temperature: Positive number that divides the cosines.

    Returns:
        Votes (Q, K) float64, in units of the nearest neighbour's vote, so that no temperature overflows.
    """
    weight = ((cosine.double() - cosine.double().amax(1, keepdim=True)) / temperature).exp()
    votes = torch.zeros(len(cosine), num_classes, dtype=torch.float64).scatter_add_(1, neighbours, weight)
    voted = torch.zeros(votes.shape, dtype=torch.bool).scatter_(1, neighbours, True)
    return votes.where(voted, -math.inf)
