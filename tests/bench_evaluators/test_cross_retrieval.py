from typing import NoReturn

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import BenchError, DataSpec, Embedded, Evaluation, Frozen
from bench_core.conformance.toys import Untrained
from bench_evaluators.cross_retrieval import CrossRetrieval, CrossRetrievalConfig, partner_places, recall


class BothSides(Untrained):
    def embed_first(self, inputs: Tensor) -> Tensor:
        return inputs

    def embed_second(self, inputs: Tensor) -> Tensor:
        return inputs


def spec(kind: str = "pairs", **splits: int) -> DataSpec:
    part = DataSpec(shape=(3,), splits=splits)
    return DataSpec(shape=(), splits=splits, num_classes=4, kind=kind, modalities={"sound": part, "image": part})


def frozen_of(first: Tensor, second: Tensor, labels: Tensor | None, train_labels: Tensor | None = None) -> Frozen:
    def unused(*_: object) -> NoReturn:
        raise AssertionError("this task reads embeddings only")

    embeddings = {"features": first, "first": first, "second": second}
    splits = {"train": Embedded({}, train_labels), "test": Embedded(embeddings, labels)}
    return Frozen(splits, spec(train=10, test=len(first)), 0, torch.device("cpu"), unused, unused)


def noisy_pairs(n: int, noise: float = 0.5) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 4
    first = F.one_hot(labels, 5) + torch.randn(n, 5, generator=rng)
    return first, first + noise * torch.randn(n, 5, generator=rng), labels


def values(evaluation: Evaluation) -> dict[str, float]:
    return {score.metric: score.value for score in evaluation.scores}


def test_recall_and_map_equal_plain_loops_in_both_directions() -> None:
    first, second, labels = noisy_pairs(40)
    found = values(CrossRetrieval(CrossRetrievalConfig()).evaluate(frozen_of(first, second, labels)))
    for direction, queries, database in (("first_to_second", first, second), ("second_to_first", second, first)):
        ranks, precisions = [], []
        for i in range(40):
            order = F.cosine_similarity(queries[i].double()[None], database.double()).argsort(descending=True).tolist()
            ranks.append(order.index(i) + 1)
            hits = [place for place, item in enumerate(order, start=1) if labels[item] == labels[i]]
            precisions.append(sum((count + 1) / place for count, place in enumerate(hits)) / len(hits))
        for k in (1, 5, 10):
            assert found[f"recall_at_{k}_{direction}"] == pytest.approx(sum(rank <= k for rank in ranks) / 40)
        assert found[f"map_{direction}"] == pytest.approx(sum(precisions) / 40, abs=1e-6)
    for metric in ("recall_at_1", "recall_at_5", "recall_at_10", "map"):
        mean = (found[f"{metric}_first_to_second"] + found[f"{metric}_second_to_first"]) / 2
        assert found[metric] == pytest.approx(mean)


def test_partners_that_are_equal_are_found_and_recall_at_1_ranks() -> None:
    first, _, labels = noisy_pairs(40)
    evaluation = CrossRetrieval(CrossRetrievalConfig()).evaluate(frozen_of(first, 3 * first, labels))
    assert evaluation.scores[0].metric == "recall_at_1"
    assert evaluation.scores[0].value == 1
    assert "first: sound, second: image" in evaluation.protocol


def test_constant_embeddings_get_the_chance_level_of_every_score() -> None:
    evaluation = CrossRetrieval(CrossRetrievalConfig()).evaluate(
        frozen_of(torch.ones(40, 5), torch.ones(40, 5), torch.arange(40) % 4)
    )
    for score in evaluation.scores:
        assert score.value == pytest.approx(score.chance, abs=1e-6), score.metric
    assert values(evaluation)["recall_at_5"] == pytest.approx(5 / 40)


def test_the_partner_among_four_tied_items_is_first_in_a_quarter_of_the_orders() -> None:
    before, tied = torch.tensor([0, 3, 0, 9]), torch.tensor([4, 4, 1, 1])
    assert recall(before, tied, 1).tolist() == [0.25, 0, 1, 0]
    assert recall(before, tied, 5).tolist() == [1, 0.5, 1, 0]


def test_places_do_not_depend_on_how_many_queries_are_compared_at_once() -> None:
    first, second, _ = (F.normalize(part.float(), dim=-1) for part in noisy_pairs(40))
    drawn = torch.tensor([3, 17, 39])
    whole = partner_places(first, second, torch.arange(40))
    for rows in (1, 7):
        part = partner_places(first[drawn], second, drawn, rows)
        assert [values.tolist() for values in part] == [values[drawn].tolist() for values in whole]


def test_classes_that_train_lacks_are_searched_among_themselves() -> None:
    first, second, labels = noisy_pairs(40)
    evaluation = CrossRetrieval(CrossRetrievalConfig()).evaluate(frozen_of(first, second, labels, torch.tensor([0, 1])))
    unseen = labels >= 2
    alone = CrossRetrieval(CrossRetrievalConfig()).evaluate(frozen_of(first[unseen], second[unseen], labels[unseen]))
    found = values(evaluation)
    for metric, value in values(alone).items():
        stem, _, direction = metric.replace("_first_to", ":first_to").replace("_second_to", ":second_to").partition(":")
        assert found[f"{stem}_unseen" + (f"_{direction}" if direction else "")] == pytest.approx(value)
    assert evaluation.notes == ["unseen: 20 test items of classes that train lacks: 2, 3"]
    everything = CrossRetrieval(CrossRetrievalConfig()).evaluate(frozen_of(first, second, labels, labels))
    assert not any("unseen" in metric for metric in values(everything))


def test_pairs_without_classes_have_recall_only() -> None:
    first, second, _ = noisy_pairs(40)
    found = values(CrossRetrieval(CrossRetrievalConfig()).evaluate(frozen_of(first, second, None)))
    assert len(found) == 9
    assert not any(metric.startswith("map") for metric in found)


def test_per_item_results_are_of_the_queries_that_were_drawn_evenly() -> None:
    first, second, labels = noisy_pairs(40)
    evaluation = CrossRetrieval(CrossRetrievalConfig(num_queries=12)).evaluate(frozen_of(first, second, labels))
    items = evaluation.items["recall_at_1"]
    assert items.index is not None
    assert labels[items.index].bincount().tolist() == [3] * 4
    assert float(items.values.mean()) == pytest.approx(evaluation.scores[0].value)
    assert {score.n for score in evaluation.scores} == {12}


def test_other_data_and_methods_are_skipped_with_a_reason() -> None:
    task = CrossRetrieval(CrossRetrievalConfig())
    assert task.skip_reason(spec(train=4, test=4), BothSides) is None
    assert task.skip_reason(spec(train=4), BothSides) == "needs a test split"
    assert task.skip_reason(spec(train=4, test=4), Untrained) == "does not embed each modality by itself"
    assert task.skip_reason(DataSpec(shape=(3,), splits={"train": 4, "test": 4}), BothSides) == "needs pairs"


def test_a_missing_embedding_is_named() -> None:
    first, second, labels = noisy_pairs(8)
    frozen = frozen_of(first, second, labels)
    del frozen.splits["test"].embeddings["second"]  # type: ignore[attr-defined]  # a dict here
    with pytest.raises(BenchError, match="no embedding named 'second'"):
        CrossRetrieval(CrossRetrievalConfig()).evaluate(frozen)
