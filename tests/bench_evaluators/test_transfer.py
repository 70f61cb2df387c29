"""Task transfer on images of another dataset and size, with pixels or something worse as features."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from bench_core import BenchError, DataSpec, Frozen, NoConfig, Objective, OtherData, Split
from bench_core.conformance.toys import TinyEncoder, Untrained
from bench_core.evaluation.linear_probe import standardise
from bench_core.evaluation.other_datasets import fitted
from bench_evaluators.transfer import Transfer, TransferConfig
from bench_methods.references import Pixels

SHAPE = (1, 8, 8)
TRAINED_ON = DataSpec(shape=SHAPE, splits={"train": 4, "test": 4}, num_classes=2, name="own")
TARGET = DataSpec(shape=(3, 12, 12), splits={"train": 120, "test": 60}, num_classes=3)


def images(count: int, seed: int, classes: int = 3) -> Split:
    """Draw much noise with a few columns a little brighter; their place is the class."""
    labels = torch.arange(count) % classes
    pixels = torch.randint(0, 160, (count, *TARGET.shape), generator=torch.Generator().manual_seed(seed))
    for c in range(classes):
        pixels[labels == c, :, :, c * 12 // classes : (c + 1) * 12 // classes] += 12
    return Split(pixels.to(torch.uint8), labels)


class Blurred(Pixels):
    """Method whose only feature is the mean brightness."""

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        return {"features": inputs.flatten(1).mean(1, keepdim=True)}


def freeze(cls: type[Objective] = Pixels, data: DataSpec = TARGET, classes: int = 3, seed: int = 0) -> Frozen:
    method = cls(TinyEncoder(TRAINED_ON), TRAINED_ON, NoConfig()).eval()
    parts = {"train": images(120, 1, classes), "test": images(60, 2, classes)}

    def unused(name: str) -> Split:
        raise AssertionError("only the other data is read")

    return Frozen(
        {},
        TRAINED_ON,
        seed,
        torch.device("cpu"),
        lambda: method,
        unused,
        {"digits": OtherData(data, parts.__getitem__)},
    )


def measured(frozen: Frozen, **config: Any) -> dict[str, float]:
    return {s.metric: s.value for s in Transfer(TransferConfig(**config)).evaluate(frozen).scores}


def test_linear_probe_equals_scikit_learn_on_the_resized_images() -> None:
    evaluation = Transfer(TransferConfig()).evaluate(freeze())
    penalty = float(evaluation.notes[1].split()[2].rstrip(","))
    (train, labels), (test, truth) = (
        (fitted(split.inputs, SHAPE).flatten(1) / 255, split.labels)  # type: ignore[arg-type]  # tensors
        for split in (images(120, 1), images(60, 2))
    )
    assert labels is not None
    assert truth is not None
    train, test = standardise(train, test)
    reference = LogisticRegression(C=1 / (penalty * 120), tol=1e-8, max_iter=10_000).fit(train.numpy(), labels.numpy())
    assert evaluation.scores[0].metric == "linear_top1"
    assert evaluation.scores[0].value == pytest.approx(reference.score(test.numpy(), truth.numpy()), abs=1 / 60)
    assert evaluation.scores[0].value > 0.6
    assert evaluation.scores[0].chance == pytest.approx(1 / 3)


def test_pixels_gain_nothing_over_pixels_and_less_is_below_them() -> None:
    pixels, blurred = measured(freeze()), measured(freeze(Blurred))
    assert pixels["linear_top1_over_pixels"] == pixels["knn_top1_over_pixels"] == 0
    assert blurred["linear_top1"] < pixels["linear_top1"]
    assert blurred["linear_top1_over_pixels"] == pytest.approx(100 * (blurred["linear_top1"] - pixels["linear_top1"]))
    assert blurred["knn_top1_over_pixels"] == pytest.approx(100 * (blurred["knn_top1"] - pixels["knn_top1"]))


def test_random_labels_are_at_chance() -> None:
    frozen = freeze()
    target = frozen.others["digits"]

    def shuffled(name: str) -> Split:
        split = target.load(name)
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(5))
        assert split.labels is not None
        return replace(split, labels=split.labels[order])

    scores = measured(replace(frozen, others={"digits": replace(target, load=shuffled)}))
    assert scores["linear_top1"] == pytest.approx(1 / 3, abs=0.2)


def test_items_are_drawn_by_seed_and_their_numbers_are_in_the_protocol() -> None:
    task = Transfer(TransferConfig(train_items=50, test_items=20, k=9))
    evaluation = task.evaluate(freeze())
    assert evaluation.protocol.startswith(
        "digits: 50 of 120 training and 20 of 60 test items, drawn by seed, brought to 1x8x8"
    )
    assert "knn: k=9, cosine" in evaluation.protocol
    assert {s.n for s in evaluation.scores} == {20}
    assert task.evaluate(freeze()) == evaluation
    assert task.evaluate(freeze(seed=1)).scores != evaluation.scores


def test_k_is_the_size_of_the_smallest_class_of_the_bank_unless_it_is_set() -> None:
    evaluation = Transfer(TransferConfig()).evaluate(freeze())
    assert "knn: k=40, cosine" in evaluation.protocol
    assert "k = 40, the size of the smallest training class: more neighbours cannot all be of it" in evaluation.notes
    assert evaluation.scores == Transfer(TransferConfig(k=40)).evaluate(freeze()).scores
    capped = Transfer(TransferConfig(k=200)).evaluate(freeze())
    assert "k capped at 120, the size of the bank (asked: 200)" in capped.notes


def test_both_choices_of_a_penalty_are_noted() -> None:
    notes = Transfer(TransferConfig()).evaluate(freeze(Blurred)).notes
    assert [note.split()[0] for note in notes[1:3]] == ["features:", "pixels:"]
    assert all("held-out training items" in note and "; converged in " in note for note in notes[1:3])


def test_more_than_10_classes_have_top5_too() -> None:
    scores = measured(freeze(data=replace(TARGET, num_classes=12), classes=12), k=5)
    assert list(scores) == [
        "linear_top1", "linear_top5", "knn_top1", "knn_top5", "linear_top1_over_pixels", "knn_top1_over_pixels",
    ]  # fmt: skip
    assert scores["linear_top5"] > scores["linear_top1"]


def test_features_that_are_constant_give_chance() -> None:
    class Constant(Pixels):
        def embed(self, inputs: Tensor) -> dict[str, Tensor]:
            return {"features": inputs.new_ones(len(inputs), 3)}

    scores = measured(freeze(Constant))
    assert scores["linear_top1"] == pytest.approx(1 / 3)
    assert 0 <= scores["knn_top1"] <= 1


@pytest.mark.parametrize(
    ("data", "dataset", "reason"),
    [
        (TRAINED_ON, "digits", None),
        (TRAINED_ON, "own", "own is what the method was trained on"),
        (replace(TRAINED_ON, shape=(5,)), "digits", "needs images"),
        (replace(TRAINED_ON, num_classes=None), "digits", None),
    ],
)
def test_training_dataset_and_data_without_images_are_skipped(data: DataSpec, dataset: str, reason: str | None) -> None:
    task = Transfer(TransferConfig(dataset=dataset))
    assert task.skip_reason(data, Untrained) == reason
    assert task.datasets(data) == [dataset]


def test_other_data_without_classes_and_unknown_embeddings_are_refused() -> None:
    with pytest.raises(BenchError, match="transfer to digits: needs labels"):
        Transfer(TransferConfig()).evaluate(freeze(data=replace(TARGET, num_classes=None)))
    with pytest.raises(BenchError, match="no embedding named 'code'"):
        Transfer(TransferConfig(embedding="code")).evaluate(freeze())


@pytest.mark.parametrize("name", ["k", "train_items", "test_items"])
def test_counts_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be >= 1, got 0"):
        TransferConfig(**{name: 0})  # type: ignore[arg-type]  # one of several


def test_the_temperature_must_be_positive() -> None:
    with pytest.raises(ValueError, match="temperature must be > 0, got 0"):
        TransferConfig(temperature=0.0)
