"""Features in blocks are the features that a copy would hold."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import DataSpec, Embedded, Evaluator, Frozen
from bench_core.evaluation import rows
from bench_core.evaluation.hash_codes import LinearHash, itq, lsh, pcah
from bench_core.evaluation.kmeans import kmeans, nearest_centres
from bench_core.evaluation.knn import knn_answers
from bench_core.evaluation.linear_probe import LOGISTIC, SEVERAL_LABELS, SVM, fit_probe, scaled, standardise
from bench_core.evaluation.logistic_regression import LogisticProblem
from bench_core.evaluation.nearest_neighbours import top_k_cosine
from bench_core.evaluation.retrieval import SearchSet, cosine_average_precision
from bench_core.evaluation.rows import Rows, as_features, blocks_of, gathered, is_small, keeps
from bench_evaluators.clustering.evaluator import Clustering
from bench_evaluators.knn import KNN
from bench_evaluators.linear import Linear
from bench_evaluators.retrieval import Retrieval


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks of 1,000 items."""
    monkeypatch.setattr(rows, "ONE_BLOCK", 1000)
    monkeypatch.setattr(rows, "BLOCK", 60)


def values(items: int = 1000, dims: int = 7, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(items, dims, generator=rng) * torch.arange(dims) + 3


def read(features: rows.Features) -> Tensor:
    return torch.cat([block for _, _, block in blocks_of(features)])


def test_blocks_cover_all_rows_in_order() -> None:
    x = values()
    features = as_features(x)
    assert isinstance(features, Rows)
    assert [len(block) for _, _, block in blocks_of(features)] == [8] * 125
    assert torch.equal(read(features), x)


def test_selected_rows_are_those_of_the_tensor_also_of_a_selection() -> None:
    x, mask = values(), torch.arange(1000) % 3 > 0
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(1))
    features = as_features(x, order)
    assert isinstance(features, Rows)
    assert torch.equal(read(features[mask]), x[order][mask])
    few = features[torch.tensor([5, 3])]
    assert isinstance(few, Tensor)
    assert torch.equal(few, x[order][[5, 3]])


def test_small_features_and_those_with_more_features_than_items_stay_tensors() -> None:
    assert is_small(100, 10)
    assert is_small(100, 100)
    assert not is_small(101, 100)
    x = values(20)
    assert as_features(x) is x


def test_scaled_rows_are_those_that_standardise_copies() -> None:
    train, test = values(), values(300, seed=1)
    train[:, 2] = 0.1  # constant
    expected = standardise(train, test)
    features = scaled(train, test)
    for part, copy in zip(features, expected, strict=True):
        assert isinstance(part, Rows)
        assert torch.allclose(read(part), copy, atol=1e-5)
    assert not read(features[0])[:, 2].any()


def test_integer_features_are_read_as_floats() -> None:
    assert read(as_features(values().long())).dtype == torch.float32


@pytest.mark.parametrize("entry", [math.nan, math.inf])
def test_one_entry_that_is_not_finite_is_found(entry: float) -> None:
    x = values()
    assert Rows(x).is_finite()
    x[999, 6] = entry
    assert not Rows(x).is_finite()


def test_half_of_the_memory_may_be_kept() -> None:
    assert keeps(50, 100)
    assert not keeps(51, 100)
    assert keeps(10**15, None)


# ------------------------------------------------------------------------- what reads features in blocks


def clusters(items: int, classes: int = 4, dims: int = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (items,), generator=rng)
    return F.one_hot(labels, dims) * 2 + torch.randn(items, dims, generator=rng), labels


@pytest.mark.parametrize("name", ["logistic", "svm", "several labels"])
def test_probe_of_blocks_reaches_the_optimum_of_the_whole(name: str) -> None:
    (train, labels), (test, _) = clusters(1000), clusters(300, seed=1)
    classifier = {"logistic": LOGISTIC, "svm": SVM, "several labels": SEVERAL_LABELS}[name]
    answers = F.one_hot(labels).bool() if name == "several labels" else labels
    probes = [
        fit_probe(values, answers, 4, torch.Generator().manual_seed(2), classifier=classifier)
        for values in (standardise(train, test)[0], scaled(train, test)[0])
    ]
    whole, streamed = (probe.fit for probe in probes)
    assert streamed.converged
    assert streamed.loss == pytest.approx(whole.loss, rel=1e-5)
    torch.testing.assert_close(streamed.weights, whole.weights, atol=2e-3, rtol=0.02)
    assert probes[1].penalty == probes[0].penalty
    assert probes[1].held_out_loss == pytest.approx(probes[0].held_out_loss, rel=1e-3)
    torch.testing.assert_close(
        streamed.logits(scaled(train, test)[1]), whole.logits(standardise(train, test)[1]), atol=1e-2, rtol=0.02
    )


def test_memory_changes_no_bit_of_a_probe() -> None:
    train, labels = clusters(1000)
    fits = [
        LogisticProblem(scaled(train, train, memory)[0], labels, 4).solve(1e-3).weights for memory in (None, 2**20, 1)
    ]
    assert torch.equal(fits[0], fits[1])
    assert torch.equal(fits[0], fits[2])


def test_nearest_neighbours_of_blocks_are_those_of_a_full_sort() -> None:
    (bank, labels), (queries, _) = clusters(1000), clusters(150, seed=1)
    bank[5] = 0  # has cosine 0 with all
    cosines = F.normalize(queries) @ F.normalize(bank).T
    for k in (1, 30, 1000):
        values, index = top_k_cosine(as_features(queries), as_features(bank), k)
        torch.testing.assert_close(values, cosines.sort(1, descending=True).values[:, :k])
        torch.testing.assert_close(cosines.gather(1, index), values)
    votes = knn_answers(as_features(queries), as_features(bank), labels, 4, k=30, temperature=0.1)
    torch.testing.assert_close(votes, knn_answers(queries, bank, labels, 4, k=30, temperature=0.1))


def test_of_equal_items_in_several_blocks_the_first_are_taken() -> None:
    bank = torch.ones(1000, 3)
    _, index = top_k_cosine(torch.ones(2, 3), as_features(bank), 12)
    assert index.max() < 40  # of the first two blocks, which have twenty items each


def test_average_precision_of_blocks_is_that_of_the_whole() -> None:
    (bank, labels), (queries, asked) = clusters(1000), clusters(300, seed=1)

    def items(values: rows.Features, answers: Tensor) -> SearchSet:
        return SearchSet(values, answers, None, torch.arange(len(answers)))

    cpu = torch.device("cpu")
    expected = cosine_average_precision(items(queries, asked), items(bank, labels), cpu)
    streamed = cosine_average_precision(items(as_features(queries), asked), items(as_features(bank), labels), cpu)
    torch.testing.assert_close(streamed, expected, atol=1e-3, rtol=0)  # a near tie may turn


@pytest.mark.parametrize("spherical", [True, False])
def test_clusters_of_blocks_are_those_of_the_whole(spherical: bool) -> None:
    values, _ = clusters(1000)
    centres = kmeans(values, 4, seed=0, spherical=spherical, restarts=2)
    assert torch.equal(kmeans(as_features(values), 4, seed=0, spherical=spherical, restarts=2), centres)
    assert torch.equal(
        nearest_centres(as_features(values), centres, spherical=spherical),
        nearest_centres(values, centres, spherical=spherical),
    )


@pytest.mark.parametrize("task", [KNN, Retrieval, Linear, Clustering])
def test_scores_of_tasks_on_blocks_are_those_on_the_whole(
    task: type[Evaluator], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {
        name: Embedded({"features": values}, labels)
        for name, (values, labels) in {"train": clusters(1000), "test": clusters(200, seed=1)}.items()
    }
    data = DataSpec(shape=(12,), splits={"train": 1000, "test": 200}, num_classes=4)
    frozen = Frozen(parts, data, 0, torch.device("cpu"), lambda: nn.Identity(), lambda name: None)  # type: ignore  # not called
    evaluations = []
    for size in (1000, 2**23):
        monkeypatch.setattr(rows, "ONE_BLOCK", size)
        evaluations.append(task(task.Config()).evaluate(frozen))
    streamed, whole = evaluations
    assert streamed.protocol == whole.protocol
    assert [score.metric for score in streamed.scores] == [score.metric for score in whole.scores]
    for score, other in zip(streamed.scores, whole.scores, strict=True):
        assert score.value == pytest.approx(other.value, abs=2e-3)


@pytest.mark.parametrize("size", [1000, 2**23])
def test_gathered_batches_are_one_tensor_whether_in_memory_or_in_a_file(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "ONE_BLOCK", size)
    wide, flat = values(), torch.arange(2000.0).view(1000, 1, 2)
    batches = ({"wide": wide[i : i + 300], "flat": flat[i : i + 300]} for i in range(0, 1000, 300))
    joined = gathered(batches, 1000)
    assert torch.equal(joined["wide"], wide)
    assert torch.equal(joined["flat"], flat)


@pytest.mark.parametrize("name", ["pcah", "itq", "lsh"])
def test_hashes_learned_from_blocks_are_those_of_the_whole(name: str) -> None:
    def learned(train: rows.Features) -> LinearHash:
        if name == "pcah":
            return pcah(train, 6)
        return {"itq": itq, "lsh": lsh}[name](train, 6, torch.Generator().manual_seed(3))

    train, _ = clusters(1000)
    train = train * torch.arange(1, 13) ** -0.5  # so that the components are in one order
    whole, kept, computed = (
        learned(features).codes(features) for features in (train, as_features(train), as_features(train, memory=1))
    )
    assert (kept != whole).double().mean() < 1e-3
    assert torch.equal(kept, computed)
