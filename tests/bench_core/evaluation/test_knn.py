"""Weighted votes of nearest neighbours against a slow computation."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core.evaluation.knn import knn_answers, knn_votes


def blobs(items: int, classes: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    labels = torch.arange(items) % classes
    noise = torch.randn(items, 8, generator=torch.Generator().manual_seed(seed))
    return F.one_hot(labels, 8) * 1.5 + noise, labels


def slow_votes(queries: Tensor, bank: Tensor, labels: Tensor, classes: int, k: int, temperature: float) -> Tensor:
    """Compute the weighted votes, one query and one neighbour at a time."""
    votes = torch.zeros(len(queries), classes, dtype=torch.float64)
    for q, query in enumerate(queries):
        cosine = torch.stack([query @ item / (query.norm() * item.norm()) for item in bank])
        for i in cosine.argsort(descending=True)[:k]:
            votes[q, labels[i]] += torch.exp(cosine[i].double() / temperature)
    return votes


def test_votes_equal_the_formula_up_to_a_factor_for_each_query() -> None:
    bank, labels = blobs(40)
    queries, _ = blobs(6, seed=1)
    cosine, index = (F.normalize(queries, dim=1) @ F.normalize(bank, dim=1).T).topk(10)
    votes = knn_votes(cosine, labels[index], 3, 0.1)
    expected = slow_votes(queries, bank, labels, 3, 10, 0.1)
    torch.testing.assert_close(
        votes / votes.sum(1, keepdim=True), expected / expected.sum(1, keepdim=True), rtol=1e-5, atol=0
    )


def test_votes_by_hand() -> None:
    votes = knn_votes(torch.tensor([[1.0, 0.9, 0.9]]), torch.tensor([[0, 1, 1]]), 2, temperature=0.1)
    assert votes[0].tolist() == pytest.approx([1, 2 * 2.718281828**-1], rel=1e-5)


def test_answers_are_the_votes_of_the_nearest_neighbours() -> None:
    bank, labels = blobs(40)
    queries, _ = blobs(6, seed=1)
    answers = knn_answers(queries, 3 * bank, labels, 3, k=10, temperature=0.1)
    expected = slow_votes(queries, bank, labels, 3, 10, 0.1)
    torch.testing.assert_close(
        answers / answers.sum(1, keepdim=True), expected / expected.sum(1, keepdim=True), rtol=1e-5, atol=0
    )
