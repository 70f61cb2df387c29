import builtins
import importlib.util
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from torch import Tensor

from bench_core import BenchError, DataSpec, Frozen
from bench_core.conformance.toys import Untrained
from bench_evaluators.projection import (
    Projection,
    ProjectionConfig,
    pca,
    plane_accuracy,
    random_trustworthiness,
)

Freeze = Callable[..., Frozen]
DATA = DataSpec(shape=(1, 8, 8), splits={"train": 40, "test": 60}, num_classes=3)


def blobs(items: int, distance: float = 4.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    labels = torch.arange(items) % 3
    return F.one_hot(labels, 6) * distance + torch.randn(
        items, 6, generator=torch.Generator().manual_seed(seed)
    ), labels


def measured(freeze: Freeze, features: Tensor, labels: Tensor, **changes: Any) -> dict[str, Any]:
    frozen = freeze({"train": ({"features": features}, labels), "test": ({"features": features}, labels)})
    return dict(vars(Projection(ProjectionConfig(**changes)).evaluate(frozen)))


def scores(freeze: Freeze, features: Tensor, labels: Tensor, **changes: Any) -> dict[str, float]:
    return {score.metric: score.value for score in measured(freeze, features, labels, **changes)["scores"]}


def test_components_are_those_of_scikit_learn_and_so_is_the_variance_that_they_explain() -> None:
    values = (torch.randn(50, 8, generator=torch.Generator().manual_seed(1)) * torch.arange(1, 9)).double().numpy()
    plane, explained = pca(values)
    reference = PCA(2, svd_solver="full").fit(values)
    np.testing.assert_allclose(np.abs(plane), np.abs(reference.transform(values)), atol=1e-9)
    assert explained == pytest.approx(reference.explained_variance_ratio_.sum())


def test_a_plane_in_many_dimensions_is_recovered(freeze: Freeze) -> None:
    rng = torch.Generator().manual_seed(2)
    inside = torch.randn(60, 2, generator=rng)
    turned = inside @ torch.linalg.qr(torch.randn(10, 10, generator=rng)).Q[:2]
    plane_scores = scores(freeze, turned + 5, torch.arange(60) % 3)
    assert plane_scores["explained_variance"] == pytest.approx(1.0)
    assert plane_scores["trustworthiness_5"] == pytest.approx(1.0)
    plane, _ = pca(turned.double().numpy())
    np.testing.assert_allclose(  # distances, for the axes are free
        np.linalg.norm(plane[:1] - plane, axis=1), (inside[:1] - inside).norm(dim=1), rtol=1e-5, atol=1e-5
    )


def test_the_order_and_a_shift_of_features_change_nothing() -> None:
    values, _ = blobs(40)
    first, _ = pca(values.double().numpy())
    second, _ = pca(values[:, torch.tensor([3, 1, 0, 5, 2, 4])].double().numpy() + 7)
    np.testing.assert_allclose(first, second, atol=1e-9)


def test_an_item_does_not_vote_for_itself_in_the_plane() -> None:
    line = np.array([[0.0, 0], [1, 0], [2.1, 0], [10, 0], [11, 0], [12.1, 0]])
    assert plane_accuracy(line, torch.tensor([0, 0, 0, 1, 1, 1]), k=2) == 1.0
    assert plane_accuracy(line, torch.tensor([1, 0, 0, 0, 1, 1]), k=2) == pytest.approx(2 / 6)  # ties: 0


def test_random_places_have_the_expected_trustworthiness() -> None:
    from sklearn.manifold import trustworthiness

    rng = np.random.RandomState(0)
    results = [trustworthiness(rng.randn(60, 9), rng.randn(60, 2), n_neighbors=5) for _ in range(40)]
    assert np.mean(results) == pytest.approx(random_trustworthiness(60, 5), abs=4 * np.std(results) / math.sqrt(40))


def test_separated_classes_score_higher_than_noise(freeze: Freeze) -> None:
    separated, noise = (scores(freeze, *blobs(90, distance)) for distance in (8.0, 0.0))
    assert separated["plane_5nn_top1"] > 0.95
    assert noise["plane_5nn_top1"] < 0.6
    assert separated["explained_variance"] > noise["explained_variance"] + 0.2


def test_an_embedding_that_collapsed_to_a_line_does_not_rank_first(freeze: Freeze) -> None:
    features, labels = blobs(90)
    line = torch.randn(90, 1, generator=torch.Generator().manual_seed(3)) * torch.ones(1, 6)
    collapsed = measured(freeze, line, labels)["scores"]
    assert {score.metric: score.value for score in collapsed}["explained_variance"] == pytest.approx(1.0)
    assert collapsed[0].metric == "plane_5nn_top1"
    assert collapsed[0].value < scores(freeze, features, labels)["plane_5nn_top1"] - 0.2


@pytest.mark.parametrize("features", [torch.ones(30, 5), torch.zeros(30, 1), torch.arange(30.0)[:, None]])
def test_degenerate_embeddings_give_finite_scores(freeze: Freeze, features: Tensor) -> None:
    for value in scores(freeze, features, torch.arange(30) % 3).values():
        assert 0 <= value <= 1


def test_the_curve_holds_a_sample_even_over_classes_to_four_digits(freeze: Freeze) -> None:
    features, labels = blobs(120)
    evaluation = measured(freeze, features, labels, items=60)
    curve = evaluation["curves"]["projection_pca"]
    assert list(curve) == ["x", "y", "label"]
    assert [curve["label"].count(label) for label in range(3)] == [20, 20, 20]
    assert all(float(f"{value:.4g}") == value for value in (*curve["x"], *curve["y"]))
    assert "60 items of the test split" in evaluation["protocol"]
    assert [score.n for score in evaluation["scores"]] == [60] * 3


def test_all_methods_at_a_seed_show_the_same_items(freeze: Freeze) -> None:
    features, _ = blobs(120)
    item_numbers = torch.arange(120)  # labels that name the items
    shown = [
        measured(freeze, part, item_numbers, items=40)["curves"]["projection_pca"]["label"]
        for part in (features, -features)
    ]
    assert shown[0] == shown[1]
    assert len(set(shown[0])) == 40


@pytest.mark.parametrize("labels", [None, torch.ones(30, 4, dtype=torch.bool)])
def test_without_single_labels_there_is_a_picture_and_no_accuracy(freeze: Freeze, labels: Tensor | None) -> None:
    frozen = freeze({"test": ({"features": blobs(30)[0]}, torch.arange(30) % 3)})
    test = replace(frozen.splits["test"], labels=labels)
    evaluation = Projection(ProjectionConfig()).evaluate(replace(frozen, splits={"test": test}))
    assert [score.metric for score in evaluation.scores] == ["trustworthiness_5", "explained_variance"]
    assert list(evaluation.curves["projection_pca"]) == ["x", "y"]


def test_missing_items_or_library_are_skip_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    few = replace(DATA, splits={"train": 40, "test": 19})
    assert Projection(ProjectionConfig()).skip_reason(few, Untrained) == "needs a test split of 20 items or more"
    assert Projection(ProjectionConfig()).skip_reason(DATA, Untrained) is None
    monkeypatch.setattr("bench_evaluators.projection.find_spec", lambda name: None)
    reason = Projection(ProjectionConfig(method="umap")).skip_reason(DATA, Untrained)
    assert reason == "umap-learn is not installed: pip install 'bench-core[umap]'"


@pytest.mark.parametrize("changes", [{"items": 19}, {"neighbors": 1}, {"min_dist": 1.5}])
def test_values_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(changes))} must be"):
        ProjectionConfig(**changes)


def test_an_embedding_that_is_not_there_is_refused(freeze: Freeze) -> None:
    with pytest.raises(BenchError, match=r"no embedding named 'code'\. This method has: features"):
        scores(freeze, *blobs(30), embedding="code")


def test_umap_is_called_with_a_seed_and_one_thread(freeze: Freeze, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the arguments of UMAP with a stub, as its library is an extra."""
    changes: dict[str, Any] = {}

    class UMAP:
        def __init__(self, **options: Any) -> None:
            changes.update(options)

        def fit_transform(self, values: Any) -> Any:
            return values[:, :2].astype(np.float32)

    class Module:
        pass

    module: Any = Module()
    module.UMAP = UMAP
    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", lambda name, *r, **n: module if name == "umap" else real(name, *r, **n))
    evaluation = measured(freeze, *blobs(30), method="umap", neighbors=50)
    monkeypatch.undo()
    assert (changes["n_neighbors"], changes["min_dist"], changes["n_jobs"]) == (29, 0.1, 1)
    assert isinstance(changes["random_state"], int)
    assert [score.metric for score in evaluation["scores"]] == ["plane_5nn_top1", "trustworthiness_5"]
    assert list(evaluation["curves"]) == ["projection_umap"]
    assert "UMAP (50 neighbours" in evaluation["protocol"]


@pytest.mark.filterwarnings("ignore")  # numba's and umap-learn's own
@pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason="umap-learn is not installed")
def test_umap_keeps_classes_apart_and_is_the_same_twice(freeze: Freeze) -> None:
    features, labels = blobs(60, 8.0)
    first, second = (measured(freeze, features, labels, method="umap") for _ in range(2))
    assert first["curves"] == second["curves"]
    assert first["scores"][0].value > 0.9


def test_trustworthiness_of_random_places_by_hand() -> None:
    """A neighbour in the plane has any rank: beyond k it costs rank - k, and n (2 n - 3 k - 1) k / 2 is the most."""
    n, k = 13, 2
    rank_costs = sum(rank - k for rank in range(k + 1, n)) / (n - 1)  # of one neighbour, on average
    assert random_trustworthiness(n, k) == pytest.approx(1 - 2 / (n * k * (2 * n - 3 * k - 1)) * n * k * rank_costs)


def test_explained_variance_of_equal_directions_is_the_chance_level(freeze: Freeze) -> None:
    evaluation = measured(freeze, torch.randn(21, 40, generator=torch.Generator().manual_seed(0)), torch.arange(21) % 2)
    chance = {score.metric: score.chance for score in evaluation["scores"]}["explained_variance"]
    assert chance == pytest.approx(2 / 20)  # 21 centred items lie in 20 directions
