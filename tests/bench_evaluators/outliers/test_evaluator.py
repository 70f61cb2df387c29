"""Task outliers with pixels as features: images with a bright quarter against images of other kinds."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import BenchError, DataSpec, Frozen, NoConfig, Objective, OtherData, Split
from bench_core.conformance.toys import TinyEncoder, Untrained
from bench_core.contracts import Embedded, PriorName
from bench_core.training.embed import embed_split
from bench_evaluators.outliers.detectors import gaussian, nearest_neighbour
from bench_evaluators.outliers.evaluator import Outliers, OutliersConfig
from bench_evaluators.outliers.rates import auroc
from bench_methods.references import Pixels

SHAPE = (1, 8, 8)
CPU = torch.device("cpu")
DETECTORS = ("knn", "gaussian", "clusters", "mixture", "mahalanobis", "relative_mahalanobis")


def images(count: int, seed: int, level: int = 200) -> Split:
    """Draw images whose c-th two columns are bright for class c of 4, the rest dim noise."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    pixels = torch.randint(0, 50, (count, *SHAPE), generator=rng)
    for c in range(4):
        pixels[labels == c, :, :, 2 * c : 2 * c + 2] += level
    return Split(pixels.to(torch.uint8), labels)


def freeze(
    cls: type[Objective] = Pixels,
    others: Mapping[str, Split] | None = None,
    labels: bool = True,
    seed: int = 0,
    train: int = 120,
    **spec: Any,
) -> Frozen:
    data = DataSpec(shape=SHAPE, splits={"train": train, "test": 80}, num_classes=4 if labels else None, **spec)
    method = cls(TinyEncoder(data), data, NoConfig()).eval()
    inputs = {"train": images(train, 1), "test": images(80, 2)}
    splits = {
        name: Embedded(embed_split(method, split, CPU), split.labels if labels else None)
        for name, split in inputs.items()
    }
    other_datasets = {
        name: OtherData(DataSpec(shape=SHAPE, splits={"test": len(split)}), {"test": split}.__getitem__)
        for name, split in (others or {}).items()
    }
    return Frozen(splits, data, seed, CPU, lambda: method, lambda name: inputs[name], other_datasets)


def measured(frozen: Frozen, **config: Any) -> dict[str, float]:
    return {s.metric: s.value for s in Outliers(OutliersConfig(**config)).evaluate(frozen).scores}


def test_every_detector_detects_noise_and_held_out_classes() -> None:
    scores = measured(freeze(), k=5, components=4)
    for detector in DETECTORS:
        assert scores[f"auroc_{detector}_noise"] > 0.95, detector
    assert scores["auroc_knn_held_out"] > 0.95
    assert scores["fpr95_id_pos_knn_noise"] < 0.05
    assert next(iter(scores)) == "auroc_knn_held_out"
    assert not [name for name in scores if name.endswith("_mean")]  # of a single set that is no noise


class Brightness(Pixels):
    """Method that reads only how bright an image is on the whole, which tells noise and no class."""

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        light = inputs.flatten(1).mean(1, keepdim=True)
        return {"features": torch.cat([light, torch.full_like(light, 0.2)], 1)}


def test_a_detector_at_chance_for_classes_shows_chance_though_it_finds_noise() -> None:
    scores = Outliers(OutliersConfig(k=5)).evaluate(freeze(Brightness)).scores
    values = {score.metric: score.value for score in scores}
    assert values["auroc_knn_noise"] > 0.95
    assert scores[0].metric == "auroc_knn_held_out"
    assert scores[0].value == pytest.approx(0.5, abs=0.12)
    assert (scores[0].chance, scores[0].best, scores[0].ranks) == (0.5, 1.0, True)


def test_where_only_noise_is_left_the_column_does_not_rank() -> None:
    scores = Outliers(OutliersConfig(k=5)).evaluate(freeze(labels=False)).scores
    assert scores[0].metric == "auroc_knn_noise"
    assert (scores[0].ranks, scores[0].caveat) == (False, "only noise to tell from")
    assert all(score.ranks and not score.caveat for score in scores[1:])


@pytest.mark.parametrize(
    ("name", "sets", "first"),
    [
        ("cifar10", ("noise", "held_out", "svhn", "cifar100"), "near"),
        ("cifar10", ("noise", "held_out", "svhn", "mnist"), "held_out"),
        ("cifar10", ("noise", "svhn", "mnist"), "mean"),
        ("flowers", ("noise", "cifar100"), "cifar100"),
        ("flowers", ("cifar100", "held_out"), "held_out"),
        ("flowers", ("noise",), "noise"),
    ],
)
def test_what_ranks_is_near_sets_else_held_out_classes_else_other_sets(
    name: str, sets: tuple[str, ...], first: str
) -> None:
    others = {other: images(40, 5 + i, 150) for i, other in enumerate(sets) if other not in ("noise", "held_out")}
    evaluation = Outliers(OutliersConfig(sets=sets, k=5, draws=1)).evaluate(freeze(others=others, name=name))
    assert evaluation.scores[0].metric == f"auroc_knn_{first}"
    assert f"first score: {first}; noise is in no mean" in evaluation.protocol
    assert len({score.metric for score in evaluation.scores}) == len(evaluation.scores)
    values = {score.metric: score.value for score in evaluation.scores}
    real = [values[f"auroc_knn_{other}"] for other in sets if other != "noise"]
    assert values.get("auroc_knn_mean") == (pytest.approx(sum(real) / len(real)) if len(real) > 1 else None)


def test_more_test_items_are_not_detected_as_outliers() -> None:
    scores = measured(freeze(others={"more": images(300, 7)}), sets=("more",), k=5)
    for detector in DETECTORS:
        assert scores[f"auroc_{detector}_more"] == pytest.approx(0.5, abs=0.1), detector
    assert "auroc_knn_noise" not in scores


def test_the_numbers_are_those_of_detectors_fitted_on_train_alone() -> None:
    dim_images = images(50, 3, level=150)
    frozen = freeze(others={"dim": dim_images})
    scores = measured(frozen, sets=("dim",), k=7)
    train, test = (frozen.splits[name].embeddings["features"] for name in ("train", "test"))
    assert isinstance(dim_images.inputs, Tensor)
    outside = dim_images.inputs.flatten(1) / 255
    for name, detector in {"knn": nearest_neighbour(train, 7), "gaussian": gaussian(train)}.items():
        assert scores[f"auroc_{name}_dim"] == pytest.approx(auroc(detector(test), detector(outside)), abs=1e-3)


def test_held_out_classes_are_in_no_statistic() -> None:
    frozen = freeze()
    train = frozen.splits["train"]
    assert train.labels is not None
    moved = train.embeddings["features"].clone()
    task = Outliers(OutliersConfig(sets=("held_out",), draws=1, held_out=0.25, k=3))
    before = {s.metric: s.value for s in task.evaluate(frozen).scores}
    changed = []
    for c in range(4):  # one of the four classes is held out; its features do not matter
        moved = train.embeddings["features"].clone()
        moved[train.labels == c] += 5 * torch.randn(30, 64, generator=torch.Generator().manual_seed(c))
        splits = {**frozen.splits, "train": replace(train, embeddings={"features": moved})}
        after = {s.metric: s.value for s in task.evaluate(replace(frozen, splits=splits)).scores}
        changed.append(before != after)
    assert sum(not c for c in changed) == 1


def test_class_without_train_items_is_neither_inside_nor_outside() -> None:
    frozen = freeze()
    test = frozen.splits["test"]
    assert test.labels is not None
    far = {name: torch.cat([rows, torch.full((40, rows.shape[1]), 5.0)]) for name, rows in test.embeddings.items()}
    more = Embedded(far, torch.cat([test.labels, torch.full((40,), 9)]))
    wider = replace(frozen, splits={**frozen.splits, "test": more}, inputs=lambda name: images(120, 2))
    assert measured(wider, sets=("held_out",)) == pytest.approx(measured(frozen, sets=("held_out",)), abs=1e-12)


def test_without_labels_there_are_no_held_out_classes_and_no_detectors_that_read_them() -> None:
    evaluation = Outliers(OutliersConfig()).evaluate(freeze(labels=False))
    names = {s.metric for s in evaluation.scores}
    assert {f"auroc_{d}_noise" for d in DETECTORS[:4]} <= names
    assert not [name for name in names if "mahalanobis" in name or "held_out" in name]
    assert evaluation.notes == ["not measured: held_out: needs at least two classes"]
    assert "mahalanobis:" not in evaluation.protocol


class Matched(Pixels):
    """Method with centred pixels as embedding, which has a Gaussian prior."""

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        rows = inputs.flatten(1)
        return {"features": rows, "embedding": 3 * (rows[:, :4] - 0.5)}

    def matched_prior(self) -> PriorName:
        return "gaussian"


def test_method_with_a_prior_gets_the_prior_detector() -> None:
    frozen = freeze(Matched, {"black": Split(torch.zeros(30, *SHAPE, dtype=torch.uint8))})
    scores = {s.metric: s for s in Outliers(OutliersConfig(sets=("black",))).evaluate(frozen).scores}
    inside = frozen.splits["test"].embeddings["embedding"].double().square().sum(1)
    expected = auroc(inside, torch.full((30,), 4 * 1.5**2))
    assert scores["auroc_prior_black"].value == pytest.approx(expected)
    assert scores["auroc_prior_black"].embedding == "embedding"
    assert scores["auroc_knn_black"].embedding == "features"


def test_near_and_far_groups_are_those_of_openood() -> None:
    others = {
        "cifar100": images(40, 5, 150),
        "svhn": images(40, 6, 100),
        "mnist": images(40, 7, 50),
        "odd-one": images(9, 8),
    }
    scores = measured(freeze(others=others, name="cifar10"), sets=tuple(others), k=5)
    assert scores["auroc_knn_near"] == scores["auroc_knn_cifar100"]
    assert scores["auroc_gaussian_far"] == pytest.approx(
        (scores["auroc_gaussian_svhn"] + scores["auroc_gaussian_mnist"]) / 2
    )
    assert "auroc_knn_odd_one" in scores
    unknown = measured(freeze(others=others, name="flowers"), sets=tuple(others), k=5)
    assert not [name for name in unknown if name.endswith(("_near", "_far"))]


def test_items_are_drawn_by_seed_and_their_numbers_are_in_the_protocol() -> None:
    config: dict[str, Any] = {"train_items": 60, "test_items": 30, "k": 5}
    task = Outliers(OutliersConfig(**config))
    evaluation = task.evaluate(freeze())
    assert evaluation.protocol.startswith(
        "30 test items are inside, detectors fitted on 60 of train, both drawn by seed"
    )
    assert {s.metric: s.n for s in evaluation.scores}["auroc_knn_noise"] == 60
    assert evaluation.scores == task.evaluate(freeze()).scores
    assert evaluation.scores != task.evaluate(freeze(seed=1)).scores


def test_picture_shows_the_furthest_test_items() -> None:
    frozen = freeze()
    features = {"features": frozen.splits["test"].embeddings["features"].clone()}
    features["features"][17] = -features["features"][17]
    splits = {**frozen.splits, "test": replace(frozen.splits["test"], embeddings=features)}
    shown = Outliers(OutliersConfig(k=5)).evaluate(replace(frozen, splits=splits)).images["furthest_test_items"]
    test_images = frozen.inputs("test").inputs
    assert isinstance(test_images, Tensor)
    assert shown.shape == (32, *SHAPE)
    assert torch.equal(shown[0], test_images[17])


def test_note_tells_that_supervised_methods_saw_the_held_out_classes() -> None:
    class Told(Pixels):
        uses_labels = True

    assert "trained with labels" in Outliers(OutliersConfig()).evaluate(freeze(Told)).notes[0]


@pytest.mark.parametrize(
    ("sets", "changes", "reason"),
    [
        (("noise", "held_out"), {}, None),
        (("noise", "held_out"), {"num_classes": None}, None),
        (("held_out",), {"num_classes": None}, "held_out: needs at least two classes"),
        (("noise", "far"), {"shape": (7,)}, "noise: needs images; far: needs images"),
        (("far",), {"name": "far"}, "far: it is what the method was trained on"),
        (("noise",), {"splits": {"train": 4}}, "needs a test split"),
    ],
)
def test_sets_that_cannot_be_measured_are_skipped_with_a_reason(
    sets: tuple[str, ...], changes: dict[str, Any], reason: str | None
) -> None:
    data = replace(DataSpec(shape=SHAPE, splits={"train": 4, "test": 4}, num_classes=4), **changes)
    assert Outliers(OutliersConfig(sets=sets)).skip_reason(data, Untrained) == reason


def test_datasets_among_the_sets_are_requested_except_the_training_dataset() -> None:
    data = DataSpec(shape=SHAPE, splits={"train": 4, "test": 4}, num_classes=4, name="cifar10")
    task = Outliers(OutliersConfig(sets=("noise", "svhn", "cifar10", "held_out", "mnist")))
    assert task.datasets(data) == ["svhn", "mnist"]


def test_an_unknown_embedding_and_data_without_a_test_split_are_refused() -> None:
    with pytest.raises(BenchError, match=r"no embedding named 'code'. This method has: features."):
        Outliers(OutliersConfig(embedding="code")).evaluate(freeze())
    frozen = freeze(others={"far": images(4, 0)})
    frozen = replace(
        frozen, others={"far": replace(frozen.others["far"], data=replace(frozen.data, splits={"train": 4}))}
    )
    with pytest.raises(BenchError, match="needs a test split of far"):
        Outliers(OutliersConfig(sets=("far",))).evaluate(frozen)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sets": ()}, r"sets must be one or more different names, got \(\)"),
        ({"sets": ("noise", "noise")}, "sets must be one or more different names"),
        ({"held_out": 1.0}, r"held_out must be in \(0, 1\), got 1.0"),
        ({"k": 0}, "k must be >= 1, got 0"),
        ({"draws": 0}, "draws must be >= 1, got 0"),
    ],
)
def test_parameters_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OutliersConfig(**changes)


def test_two_classes_are_enough_to_hold_one_out() -> None:
    frozen = freeze()
    two = {
        name: replace(part, labels=None if part.labels is None else part.labels % 2)
        for name, part in frozen.splits.items()
    }
    assert "auroc_knn_held_out" in measured(replace(frozen, splits=two), sets=("held_out",))


def test_labels_that_are_no_classes_are_not_read() -> None:
    """A dataset with several labels an item has labels, and no number of classes."""
    frozen = freeze()
    evaluation = Outliers(OutliersConfig()).evaluate(replace(frozen, data=replace(frozen.data, num_classes=None)))
    assert not [s.metric for s in evaluation.scores if "mahalanobis" in s.metric]
