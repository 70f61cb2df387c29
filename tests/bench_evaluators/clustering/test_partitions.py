import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import Tensor

from bench_evaluators.clustering.partitions import (
    agreement,
    balance,
    contingency,
    majority_accuracy,
    matched_accuracy,
)


def draw(n: int, k: int, seed: int) -> Tensor:
    return torch.randint(0, k, (n,), generator=torch.Generator().manual_seed(seed))


def of_table(table: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Return labels and clusters of as many items as each count says."""
    cells = [(c, k) for c, row in enumerate(table) for k, count in enumerate(row) for _ in range(count)]
    labels, clusters = torch.tensor(cells).T
    return labels, clusters


def matches(classes: int, clusters: int) -> Iterator[dict[int, int]]:
    """Yield every one-to-one match, cluster -> class."""
    if clusters <= classes:
        yield from (dict(enumerate(p)) for p in itertools.permutations(range(classes), clusters))
    else:
        yield from ({k: c for c, k in enumerate(p)} for p in itertools.permutations(range(clusters), classes))


def test_the_best_match_is_found_where_a_greedy_one_is_not() -> None:
    labels, clusters = of_table([[10, 9], [9, 0]])
    assert matched_accuracy(labels, clusters) == 18 / 28
    assert contingency(labels, clusters).tolist() == [[10, 9], [9, 0]]


@pytest.mark.parametrize(("classes", "clusters"), [(4, 4), (5, 3), (3, 5)])
def test_accuracy_is_that_of_the_best_of_all_matches(classes: int, clusters: int) -> None:
    for seed in range(5):
        labels, clusters_of_items = draw(40, classes, seed), draw(40, clusters, 100 + seed)
        best = max(
            sum(match.get(k, -1) == c for c, k in zip(labels.tolist(), clusters_of_items.tolist(), strict=True)) / 40
            for match in matches(classes, clusters)
        )
        assert matched_accuracy(labels, clusters_of_items) == pytest.approx(best, abs=1e-12)


def test_clusters_beyond_the_classes_count_as_errors_and_not_for_purity() -> None:
    labels, single = torch.tensor([0, 0, 1, 1]), torch.arange(4)
    values = agreement(labels, single)
    assert (values["accuracy"], values["purity"]) == (0.5, 1.0)


def test_agreement_by_hand() -> None:
    """Check two classes of 2, the second one split: H(C) = log 2, H(K) = 1.5 log 2, I = log 2."""
    values = agreement(torch.tensor([0, 0, 1, 1]), torch.tensor([5, 5, 3, 4]))
    assert values["nmi"] == pytest.approx(2 * 1 / 2.5)
    assert values["accuracy"] == 0.75
    # pairs together: in both 1, in classes 2, in clusters 1, of 6; expected 1/3, mean 3/2
    assert values["ari"] == pytest.approx((1 - 1 / 3) / (3 / 2 - 1 / 3))


def test_agreement_is_that_of_the_formulas() -> None:
    labels, clusters = draw(200, 4, 0), draw(200, 6, 1)
    joint = contingency(labels, clusters) / 200
    rows, columns = joint.sum(1), joint.sum(0)
    information = float((joint * np.log(joint / np.outer(rows, columns))).sum())
    mean = -float((rows * np.log(rows)).sum() + (columns * np.log(columns)).sum()) / 2
    values = agreement(labels, clusters)
    assert values["nmi"] == pytest.approx(information / mean, abs=1e-12)
    expected = metrics.cluster.expected_mutual_information(contingency(labels, clusters), 200)
    assert values["ami"] == pytest.approx((information - expected) / (mean - expected), abs=1e-10)
    assert values["purity"] == pytest.approx(float(joint.max(0).sum()))
    assert values["purity"] == pytest.approx(metrics.cluster.contingency_matrix(labels, clusters).max(0).sum() / 200)


def test_no_relabelling_changes_a_number() -> None:
    labels, clusters = draw(100, 4, 0), draw(100, 5, 1)
    names = torch.randperm(50, generator=torch.Generator().manual_seed(2))
    order = torch.randperm(100, generator=torch.Generator().manual_seed(3))
    assert agreement(names[labels][order], names[clusters][order]) == pytest.approx(agreement(labels, clusters))
    perfect = agreement(labels, names[labels])
    assert perfect == pytest.approx(dict.fromkeys(perfect, 1.0))


def test_random_partitions_have_no_adjusted_agreement_in_the_mean() -> None:
    values = [agreement(draw(200, 5, s), draw(200, 5, 100 + s)) for s in range(30)]
    assert abs(sum(f["ari"] for f in values) / 30) < 0.005
    assert abs(sum(f["ami"] for f in values) / 30) < 0.005
    assert sum(f["nmi"] for f in values) / 30 > 0.01  # which is not adjusted


def test_one_cluster_for_all_has_no_agreement() -> None:
    values = agreement(torch.tensor([0, 0, 0, 1]), torch.zeros(4, dtype=torch.int64))
    assert values == {"accuracy": 0.75, "nmi": 0.0, "ari": 0.0, "ami": 0.0, "purity": 0.75}


def test_labels_and_clusters_must_be_of_the_same_items() -> None:
    with pytest.raises(ValueError, match=r"must be \(N,\), got \(3,\) and \(4,\)"):
        contingency(torch.zeros(3), torch.zeros(4))
    with pytest.raises(ValueError, match="must be"):
        matched_accuracy(torch.zeros(0), torch.zeros(0))


def test_balance_counts_clusters_in_use_and_how_even_they_are() -> None:
    assert balance(torch.tensor([7, 2, 7, 2])) == pytest.approx({"clusters": 2, "perplexity": 2})
    assert balance(torch.tensor([3, 3, 3])) == {"clusters": 1, "perplexity": 1}
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert balance(torch.tensor([0, 0, 0, 9]))["perplexity"] == pytest.approx(math.exp(entropy))


def test_majority_accuracy_by_hand() -> None:
    train_labels, train_clusters = torch.tensor([0, 0, 1, 1, 2, 2, 1]), torch.tensor([4, 4, 4, 0, 1, 0, 1])
    # Cluster 4 answers 0; clusters 0 and 1 hold classes 1 and 2 once each, and answer 1; 2 and 7 have no train items.
    labels, clusters = torch.tensor([0, 1, 1, 2, 0, 3, 2]), torch.tensor([4, 4, 0, 0, 2, 1, 7])
    assert majority_accuracy(train_labels, train_clusters, labels, clusters) == pytest.approx(2 / 7)


def test_majority_accuracy_is_that_of_a_slow_vote() -> None:
    for seed in range(5):
        train_labels, train_clusters, labels, clusters = (draw(60, k, 10 * seed + k) for k in (4, 9, 5, 8))
        right = 0
        for label, cluster in zip(labels.tolist(), clusters.tolist(), strict=True):
            votes = [int(((train_clusters == cluster) & (train_labels == c)).sum()) for c in range(5)]
            right += max(votes) > 0 and votes.index(max(votes)) == label
        assert majority_accuracy(train_labels, train_clusters, labels, clusters) == pytest.approx(right / 60)


def test_perfect_clusters_beyond_the_classes_are_right_by_majority_alone() -> None:
    labels = torch.arange(1000) % 10
    clusters = 10 * (torch.arange(1000) // 10 % 10) + labels  # 100 clusters, each of one class
    assert majority_accuracy(labels, clusters, labels, clusters) == 1
    assert matched_accuracy(labels, clusters) == pytest.approx(0.1)  # that of one cluster for all


def test_single_clusters_for_single_test_items_raise_purity_and_not_the_majority_accuracy() -> None:
    train_labels, train_clusters, labels = draw(500, 4, 0), draw(500, 400, 1), draw(400, 4, 2)
    assert agreement(labels, torch.arange(400))["purity"] == 1
    assert majority_accuracy(train_labels, train_clusters, labels, torch.arange(400)) < 0.35
