"""Standardising features, choosing the penalty, and fitting the probe."""

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from bench_core.evaluation.linear_probe import convergence, fit_probe, shuffled_ranks, standardise


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def blobs(items: int) -> tuple[Tensor, Tensor]:
    labels = torch.arange(items) % 4
    return F.one_hot(labels, 12) * 2 + torch.randn(items, 12, generator=rng()), labels


def test_features_that_are_constant_on_train_become_0() -> None:
    train, test = standardise(torch.tensor([[1.0, 7.1], [3.0, 7.1]]), torch.tensor([[2.0, 9.0]]))
    assert train.tolist() == [[-1, 0], [1, 0]]
    assert test.tolist() == [[0, 0]]


def test_fit_equals_scikit_learn_on_all_of_train() -> None:
    features, labels = blobs(200)
    chosen = fit_probe(features, labels, 4, rng(), grid=(0.02,))
    reference = LogisticRegression(C=1 / (0.02 * 200), tol=1e-8, max_iter=10_000).fit(features.numpy(), labels.numpy())
    torch.testing.assert_close(
        chosen.fit.logits(features).softmax(1),
        torch.from_numpy(reference.predict_proba(features.numpy())).double(),
        rtol=0,
        atol=2e-3,
    )
    assert chosen.note == "penalty 0.02 (at the end of the grid), chosen on 20 held-out training items"
    assert "penalty chosen of 0.02 by the loss on 10% of each training class" in chosen.protocol


def test_noise_gets_a_stronger_penalty_than_clean_features() -> None:
    labels = torch.arange(200) % 4
    noise = torch.randn(200, 50, generator=rng())
    notes = [fit_probe(x, labels, 4, rng(), grid=(1.0, 1e-4)).note for x in (noise, F.one_hot(labels, 50) * 20 + noise)]
    assert [note.split()[1] for note in notes] == ["1", "0.0001"]


def test_only_item_of_a_class_is_not_held_out() -> None:
    features, labels = blobs(41)
    labels = torch.cat([labels[:40] % 3, torch.tensor([3])])
    assert "chosen on 4 held-out" in fit_probe(features, labels, 4, rng()).note


def test_shuffled_ranks_select_equally_many_random_items_of_each_class() -> None:
    labels = torch.tensor([0, 1, 0, 1, 0, 1, 0])
    taken = shuffled_ranks(labels, rng()) < 2
    assert torch.bincount(labels[taken]).tolist() == [2, 2]
    assert sorted(shuffled_ranks(labels, rng())[labels == 0].tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("max_iterations", "text"), [(1000, "converged in "), (1, "NOT converged: stopped after 1 iterations")]
)
def test_note_says_if_the_solver_converged(max_iterations: int, text: str) -> None:
    features, labels = blobs(80)
    fit = fit_probe(features, labels, 4, rng(), max_iterations=max_iterations).fit
    assert convergence([fit]).startswith(text)
