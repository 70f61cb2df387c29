import copy
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from bench_core import BenchError, DataSpec, Encoder, Evaluation, Frozen, NoConfig, Split
from bench_core.conformance.toys import Untrained
from bench_core.data import Pair
from bench_evaluators.translation import PENALTY, Translation, TranslationConfig

CLASSES = 4


class Nothing(Encoder):
    """Encoder without parameters, for methods that only translate."""

    dim = 1

    def forward(self, inputs: Any) -> Tensor:
        return torch.zeros(len(inputs), 1)

    def maps(self, inputs: Any) -> dict[str, Tensor]:
        return {}


class Translator(Untrained):
    """The second image is the first one's negative; this method knows it, and dims what it makes."""

    brightness = 1.0

    def to_first(self, second: Tensor, rng: torch.Generator) -> Tensor:
        return (1 - second) * self.brightness

    def to_second(self, first: Tensor, rng: torch.Generator) -> Tensor:
        return (1 - first) * self.brightness


class Sampler(Translator):
    """Draws pairs: black images and their negatives."""

    def sample_pairs(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        return torch.zeros(n, 1, 4, 4), torch.ones(n, 1, 4, 4)


def split_of(n: int, seed: int, labelled: bool = True) -> Split:
    """Images with a bright row, whose number is the class, and their negatives."""
    labels = torch.arange(n) % CLASSES
    images = torch.randint(0, 60, (n, 1, 4, 4), generator=torch.Generator().manual_seed(seed))
    images[torch.arange(n), 0, labels] += 180
    first = images.to(torch.uint8)
    return Split(Pair(first, 255 - first), labels if labelled else None)


def frozen_of(
    method: type[Translator] = Translator, labelled: bool = True, brightness: float = 1.0, test: int = 40
) -> Frozen:
    splits: Mapping[str, Split] = {"train": split_of(80, 1, labelled), "test": split_of(test, 2, labelled)}
    counts = {name: len(split) for name, split in splits.items()}
    image = DataSpec(shape=(1, 4, 4), splits=counts)
    data = DataSpec(
        shape=(), splits=counts, num_classes=CLASSES if labelled else None, kind="pairs",
        modalities={"plain": image, "negative": image},
    )  # fmt: skip
    trained = method(Nothing(data, NoConfig()), data, NoConfig()).eval()
    trained.brightness = brightness
    return Frozen({}, data, 0, torch.device("cpu"), lambda: copy.deepcopy(trained), lambda name: splits[name])


def values(evaluation: Evaluation) -> dict[str, float]:
    return {score.metric: score.value for score in evaluation.scores}


def evaluate(frozen: Frozen, **config: int) -> Evaluation:
    return Translation(TranslationConfig(**config)).evaluate(frozen)


def test_a_perfect_translation_has_no_error_and_the_classes_of_the_true_items() -> None:
    evaluation = evaluate(frozen_of())
    assert evaluation.scores[0].metric == "accuracy"
    found = values(evaluation)
    assert found["mse"] == pytest.approx(0, abs=1e-12)
    assert (found["accuracy"], found["accuracy_to_first"], found["accuracy_to_second"]) == (1, 1, 1)
    assert "first: plain, second: negative" in evaluation.protocol


def test_squared_errors_equal_a_plain_loop_and_their_chance_is_the_mean_train_image() -> None:
    frozen = frozen_of(brightness=0.7)
    evaluation = evaluate(frozen)
    test, train = frozen.inputs("test").inputs, frozen.inputs("train").inputs
    for name, true, known in (("to_first", test.first, train.first), ("to_second", test.second, train.second)):  # type: ignore[union-attr]
        errors, floor, mean = 0.0, 0.0, sum(image.double() for image in known) / 80 / 255
        for image in true.double() / 255:
            errors += float((0.7 * image - image).square().mean()) / 40
            floor += float((mean - image).square().mean()) / 40
        (score,) = [score for score in evaluation.scores if score.metric == f"mse_{name}"]
        assert score.value == pytest.approx(errors, rel=1e-5)
        assert score.chance == pytest.approx(floor, rel=1e-5)
        assert not score.higher_is_better
    found = values(evaluation)
    assert found["mse"] == pytest.approx((found["mse_to_first"] + found["mse_to_second"]) / 2)


def test_the_judge_is_scikit_learns_logistic_regression() -> None:
    frozen = frozen_of(brightness=0.3)
    evaluation = evaluate(frozen)
    test, train = frozen.inputs("test"), frozen.inputs("train")
    for name, side in (("to_first", "first"), ("to_second", "second")):
        known = getattr(train.inputs, side).flatten(1).numpy() / 255
        judge = LogisticRegression(C=1 / (PENALTY * 80), max_iter=5000, tol=1e-8).fit(known, train.labels)
        made = 0.3 * getattr(test.inputs, side).flatten(1).numpy() / 255
        assert values(evaluation)[f"accuracy_{name}"] == pytest.approx(judge.score(made, test.labels))


def test_black_images_are_judged_at_chance() -> None:
    evaluation = evaluate(frozen_of(brightness=0.0))
    assert values(evaluation)["accuracy"] == pytest.approx(1 / CLASSES)
    assert evaluation.scores[0].chance == pytest.approx(1 / CLASSES)


def test_sampled_pairs_of_one_class_are_coherent_where_that_is_no_more_than_chance() -> None:
    evaluation = evaluate(frozen_of(Sampler))
    (score,) = [score for score in evaluation.scores if score.metric == "coherence"]
    assert score.value == score.chance  # one class each: the same for all pairs, or for none
    assert "coherence" not in values(evaluate(frozen_of()))


def test_without_classes_the_error_ranks() -> None:
    evaluation = evaluate(frozen_of(labelled=False))
    assert [score.metric for score in evaluation.scores] == ["mse", "mse_to_second", "mse_to_first"]


def test_pictures_have_rows_of_true_items_above_what_was_made() -> None:
    evaluation = evaluate(frozen_of(brightness=0.5), items=40)
    picture = evaluation.images["to_first"]
    assert picture.shape == (64, 1, 4, 4)
    true = picture.view(4, 2, 8, 1, 4, 4)[:, 0].float()
    made = picture.view(4, 2, 8, 1, 4, 4)[:, 1].float()
    assert torch.allclose(made, true / 2, atol=0.5)


def test_items_are_drawn_evenly_and_their_mean_is_the_score() -> None:
    evaluation = evaluate(frozen_of(brightness=0.5), items=12)
    for metric in ("accuracy", "mse"):
        items = evaluation.items[metric]
        assert items.index is not None
        assert (items.index % CLASSES).bincount().tolist() == [3] * CLASSES
        assert float(items.values.mean()) == pytest.approx(values(evaluation)[metric])


def test_a_method_that_has_diverged_is_an_error() -> None:
    with pytest.raises(BenchError, match="not finite; its training has diverged"):
        evaluate(frozen_of(brightness=float("nan")))


def test_other_data_and_methods_are_skipped_with_a_reason() -> None:
    task, data = Translation(TranslationConfig()), frozen_of().data
    graph = DataSpec(shape=(3,), splits={"train": 4, "test": 4}, kind="graphs")
    graphs = DataSpec(shape=(), splits={"train": 4, "test": 4}, kind="pairs", modalities={"a": graph, "b": graph})
    assert task.skip_reason(data, Translator) is None
    assert task.skip_reason(data, Untrained) == "does not make one modality from the other"
    assert task.skip_reason(graph, Translator) == "needs pairs"
    assert task.skip_reason(graphs, Translator) == "needs pairs of images or vectors"
