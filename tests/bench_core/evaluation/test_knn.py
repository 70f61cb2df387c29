"""Weighted votes of nearest neighbours against a slow computation."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core.evaluation.classification import top_accuracy
from bench_core.evaluation.knn import choose_k, knn_answers, knn_votes


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


def shares(votes: Tensor) -> Tensor:
    """Divide the votes of a query by their sum; a class without a vote has 0."""
    votes = votes.clamp(min=0)
    return votes / votes.sum(1, keepdim=True)


def test_votes_equal_the_formula_up_to_a_factor_for_each_query() -> None:
    bank, labels = blobs(40)
    queries, _ = blobs(6, seed=1)
    cosine, index = (F.normalize(queries, dim=1) @ F.normalize(bank, dim=1).T).topk(10)
    votes = knn_votes(cosine, labels[index], 3, 0.1)
    expected = slow_votes(queries, bank, labels, 3, 10, 0.1)
    torch.testing.assert_close(shares(votes), shares(expected), rtol=1e-5, atol=0)


def test_votes_by_hand() -> None:
    votes = knn_votes(torch.tensor([[1.0, 0.9, 0.9]]), torch.tensor([[0, 1, 1]]), 2, temperature=0.1)
    assert votes[0].tolist() == pytest.approx([1, 2 * 2.718281828**-1], rel=1e-5)


def test_answers_are_the_votes_of_the_nearest_neighbours() -> None:
    bank, labels = blobs(40)
    queries, _ = blobs(6, seed=1)
    answers = knn_answers(queries, 3 * bank, labels, 3, k=10, temperature=0.1)
    expected = slow_votes(queries, bank, labels, 3, 10, 0.1)
    torch.testing.assert_close(shares(answers), shares(expected), rtol=1e-5, atol=0)


def test_a_class_without_a_vote_is_no_answer_and_the_numbers_of_classes_do_not_matter() -> None:
    rng = torch.Generator().manual_seed(0)
    bank, queries = torch.randn(120, 4, generator=rng), torch.randn(60, 4, generator=rng)
    labels, truth = torch.arange(120) % 12, torch.randint(12, (60,), generator=rng)
    votes = knn_answers(queries, bank, labels, 12, k=3, temperature=0.1)
    assert ((votes > 0) == (votes > -math.inf)).all()
    assert (votes > 0).sum(1).max() <= 3  # fewer than five classes have votes
    voted = float((votes.gather(1, truth[:, None]) > 0).double().mean())
    for seed in range(3):
        renumbered = torch.randperm(12, generator=torch.Generator().manual_seed(seed))
        answers = knn_answers(queries, bank, renumbered[labels], 12, k=3, temperature=0.1)
        assert top_accuracy(answers, renumbered[truth], 5) == pytest.approx(voted)


def test_a_vote_too_small_for_a_number_is_still_a_vote() -> None:
    votes = knn_votes(torch.tensor([[1.0, -1.0]]), torch.tensor([[2, 0]]), 3, temperature=1e-4)
    assert votes.tolist() == [[0, -math.inf, 1]]


SIZES = torch.tensor([0] * 300 + [2] * 250 + [3] * 300)  # class 1 has no items


def test_k_is_at_most_the_smallest_class_unless_it_is_set() -> None:
    assert choose_k(None, SIZES) == (200, [])
    assert choose_k(None, SIZES[:426]) == (
        126, ["k = 126, the size of the smallest training class: more neighbours cannot all be of it"]
    )  # fmt: skip
    assert choose_k(20, SIZES[:426]) == (20, [])


def test_a_k_that_is_set_is_kept_up_to_the_bank_and_reaching_beyond_a_class_is_noted() -> None:
    assert choose_k(200, SIZES[:426]) == (
        200, ["k = 200 is more than the smallest training class has (126 items)"]
    )  # fmt: skip
    assert choose_k(500, SIZES[:426]) == (
        426,
        [
            "k capped at 426, the size of the bank (asked: 500)",
            "k = 426 is more than the smallest training class has (126 items)",
        ],
    )


def test_neighbours_beyond_the_smallest_class_outvote_it() -> None:
    """Two blobs of equal width: with k beyond the small class, its own centre is voted into the large one."""
    labels = torch.tensor([0] * 10 + [1] * 190)
    bank = F.one_hot(labels, 2) + 0.05 * torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    k, _ = choose_k(None, labels)
    for count, answer in ((k, 0), (200, 1)):
        votes = knn_answers(torch.tensor([[1.0, 0.0]]), bank, labels, 2, k=count, temperature=0.5)
        assert int(votes.argmax(1)) == answer


def test_a_k_that_the_smallest_class_has_needs_no_note() -> None:
    assert choose_k(126, SIZES[:426]) == (126, [])
    assert choose_k(None, torch.arange(400) % 2) == (200, [])
