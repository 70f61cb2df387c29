"""Scores of images that a method has of its own, by themselves and in the task."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import BenchError, DataSpec, Evaluation, Frozen, NoConfig, Objective, OtherData, Split
from bench_core.conformance.toys import TinyEncoder
from bench_core.contracts import Embedded
from bench_core.training.embed import embed_split
from bench_evaluators.outliers.evaluator import Outliers, OutliersConfig
from bench_evaluators.outliers.own_scores import own_scores
from bench_evaluators.outliers.rates import auroc
from bench_methods.references import Pixels

CPU = torch.device("cpu")
SHAPE = (1, 8, 8)


class Darkness(Pixels):
    """Method that takes dark images for outliers."""

    def outlier_score(self, inputs: Tensor) -> Tensor:
        assert not self.training
        return -inputs.flatten(1).mean(1)


def images(count: int, brightest: int, seed: int, shape: tuple[int, ...] = SHAPE) -> Split:
    pixels = torch.randint(0, brightest, (count, *shape), generator=torch.Generator().manual_seed(seed))
    return Split(pixels.to(torch.uint8), torch.arange(count) % 4)


INPUTS = {"train": images(80, 256, 1), "test": images(60, 256, 2)}


def freeze(cls: type[Objective], others: Mapping[str, Split]) -> Frozen:
    data = DataSpec(shape=SHAPE, splits={"train": 80, "test": 60}, num_classes=4, name="cifar10")
    method = cls(TinyEncoder(data), data, NoConfig()).eval()
    splits = {name: Embedded(embed_split(method, split, CPU), split.labels) for name, split in INPUTS.items()}
    other_datasets = {
        name: OtherData(DataSpec(shape=SHAPE, splits={"test": len(split)}), {"test": split}.__getitem__)
        for name, split in others.items()
    }
    return Frozen(splits, data, 0, CPU, lambda: method, INPUTS.__getitem__, other_datasets)


def evaluate(cls: type[Objective], others: Mapping[str, Split], *sets: str, **config: Any) -> Evaluation:
    return Outliers(OutliersConfig(sets=sets, k=5, draws=1, **config)).evaluate(freeze(cls, others))


def test_own_scores_are_those_of_each_image_in_order() -> None:
    data = DataSpec(shape=SHAPE, splits={"train": 4})
    method = Darkness(TinyEncoder(data), data, NoConfig()).eval()
    split = images(1030, 256, 3)
    assert isinstance(split.inputs, Tensor)
    scores = own_scores(method, split, CPU)
    assert scores.dtype == torch.float64
    assert torch.allclose(scores, -split.inputs.double().flatten(1).mean(1) / 255, atol=1e-6)


def test_the_column_is_the_auroc_of_test_images_against_outliers_in_the_shape_of_the_method() -> None:
    dim = images(40, 230, 4, (3, 16, 16))  # colour, and larger
    scores = {score.metric: score for score in evaluate(Darkness, {"dim": dim}, "dim").scores}
    test = INPUTS["test"].inputs
    assert isinstance(test, Tensor)
    assert isinstance(dim.inputs, Tensor)
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    outside = -(dim.inputs * weights).sum(1).flatten(1).mean(1)
    expected = auroc(-test.double().flatten(1).mean(1), outside)
    assert 0.6 < expected < 0.99
    assert scores["auroc_own_dim"].value == pytest.approx(expected, abs=2e-3)
    assert scores["auroc_own_dim"].n == 100


def test_numbers_and_order_of_the_other_detectors_are_as_without_a_score_of_its_own() -> None:
    others = {"cifar100": images(40, 200, 4), "svhn": images(40, 100, 5)}
    sets = ("noise", "held_out", "cifar100", "svhn")
    with_own, without = (evaluate(cls, others, *sets) for cls in (Darkness, Pixels))
    assert [score for score in with_own.scores if "_own_" not in score.metric] == list(without.scores)
    own = [score for score in with_own.scores if "_own_" in score.metric]
    assert [score.metric for score in own] == [
        f"auroc_own_{name}" for name in ("near", "far", "noise", "cifar100", "svhn")
    ]  # neither on held-out classes nor in a mean with them
    assert not [score.metric for score in own if score.ranks or not score.caveat]
    assert "own:" in with_own.protocol
    assert "own:" not in without.protocol


def test_without_held_out_classes_the_mean_has_it() -> None:
    others = {"cifar100": images(40, 200, 4), "svhn": images(40, 100, 5)}
    values = {score.metric: score.value for score in evaluate(Darkness, others, "noise", *others).scores}
    mean = (values["auroc_own_cifar100"] + values["auroc_own_svhn"]) / 2
    assert values["auroc_own_mean"] == pytest.approx(mean)


def test_where_only_classes_are_held_out_the_score_is_not_asked_for() -> None:
    class Refuses(Pixels):
        def outlier_score(self, inputs: Tensor) -> Tensor:
            raise AssertionError("no set of images")

    assert not [score for score in evaluate(Refuses, {}, "held_out").scores if "_own_" in score.metric]


@pytest.mark.parametrize("score", [torch.zeros(5, 1), torch.zeros(3), torch.full((5,), torch.nan)])
def test_a_score_that_is_not_one_finite_number_for_each_image_is_refused(score: Tensor) -> None:
    class Wrong(Pixels):
        def outlier_score(self, inputs: Tensor) -> Tensor:
            return score

    data = DataSpec(shape=SHAPE, splits={"train": 4})
    with pytest.raises(
        BenchError, match=r"outlier_score of Wrong must return one finite number for each image, \(5,\)"
    ):
        own_scores(Wrong(TinyEncoder(data), data, NoConfig()), images(5, 256, 0), CPU)
