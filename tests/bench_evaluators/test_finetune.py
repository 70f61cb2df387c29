import copy
from collections.abc import Callable

import pytest
import torch

from bench_core import BenchError, DataSpec, Encoder, Evaluation, Frozen, NoConfig, Objective, Split
from bench_core.conformance.toys import TinyEncoder
from bench_core.store.per_item import items_error
from bench_evaluators.finetune import Finetune, FinetuneConfig
from bench_methods.references import Flat

FreezeEncoder = Callable[..., Frozen]
DATA = DataSpec(shape=(1, 8, 8), splits={"train": 96, "test": 60}, num_classes=3, views="glyph")
SHORT = FinetuneConfig(steps=25, search_steps=8, batch_size=16, grid=(0.02, 0.1))


def bars(count: int, seed: int, separable: bool = True) -> Split:
    """Draw images with a bright third, which is the class; or with random classes if not separable."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.randint(0, 60, (count, 1, 8, 9), generator=rng)
    for k in range(3):
        images[labels == k, :, :, 3 * k : 3 * k + 3] += 150
    if not separable:
        labels = labels[torch.randperm(count, generator=rng)]
    return Split(images[..., :8].to(torch.uint8), labels)


@pytest.fixture
def encoder() -> Encoder:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return TinyEncoder(DATA)


def splits(separable: bool = True) -> dict[str, Split]:
    return {"train": bars(96, 0, separable), "test": bars(60, 1, separable)}


def tuned(frozen: Frozen, config: FinetuneConfig = SHORT) -> Evaluation:
    return Finetune(config).evaluate(frozen)


def test_separable_classes_are_learned_and_random_ones_are_not(freeze_encoder: FreezeEncoder, encoder: Encoder) -> None:
    evaluation = tuned(freeze_encoder(encoder, splits(), 3))
    (score,) = evaluation.scores
    assert items_error(evaluation, DATA.splits) is None
    assert evaluation.items["top1"].values.dtype == torch.bool
    assert (score.metric, score.n) == ("top1", 60)
    assert score.chance == pytest.approx(1 / 3)
    assert score.value > 0.9
    assert tuned(freeze_encoder(encoder, splits(separable=False), 3)).scores[0].value < 0.6


def test_the_frozen_method_and_its_embeddings_stay_as_they_were(
    freeze_encoder: FreezeEncoder, encoder: Encoder
) -> None:
    frozen = freeze_encoder(encoder, splits(), 3)
    before, embedded = copy.deepcopy(frozen.method().state_dict()), copy.deepcopy(frozen.splits)
    first, again = tuned(frozen), tuned(frozen)
    assert first == again
    assert all(torch.equal(value, frozen.method().state_dict()[name]) for name, value in before.items())
    for name, split in embedded.items():
        assert torch.equal(split.embeddings["features"], frozen.splits[name].embeddings["features"])


def test_learning_rate_does_not_depend_on_the_test_split(freeze_encoder: FreezeEncoder, encoder: Encoder) -> None:
    first = tuned(freeze_encoder(encoder, splits(), 3))
    second = tuned(freeze_encoder(encoder, splits() | {"test": bars(60, 2, separable=False)}, 3))
    assert (first.notes, first.curves) == (second.notes, second.curves)
    assert first.scores != second.scores


def test_learning_rate_has_the_least_held_out_loss(freeze_encoder: FreezeEncoder, encoder: Encoder) -> None:
    config = FinetuneConfig(steps=5, search_steps=20, batch_size=16, grid=(1e-6, 0.05, 1e-5))
    evaluation = tuned(freeze_encoder(encoder, splits(), 3), config)
    curve = evaluation.curves["rates"]
    assert curve["rate"] == [1e-6, 0.05, 1e-5]
    assert min(curve["held_out_loss"]) == curve["held_out_loss"][1]
    assert evaluation.notes[0] == "rate 0.05 (at the end of the grid), chosen on 9 held-out training items"
    assert evaluation.notes[1] == "0.8 passes over 96 training items"


def test_a_rate_at_which_training_diverges_is_never_chosen(freeze_encoder: FreezeEncoder, encoder: Encoder) -> None:
    config = FinetuneConfig(steps=5, search_steps=8, batch_size=16, grid=(1e30, 0.02))
    evaluation = tuned(freeze_encoder(encoder, splits(), 3), config)
    assert evaluation.curves["rates"]["rate"] == [0.02]
    assert evaluation.notes[0].startswith("rate 0.02")
    assert "rate 1e+30: the loss is nan after 8 steps, not chosen" in evaluation.notes
    with pytest.raises(BenchError, match=r"fine-tuning diverges: rate 1e\+30: .* Set smaller rates"):
        tuned(freeze_encoder(encoder, splits(), 3), FinetuneConfig(search_steps=8, batch_size=16, grid=(1e30,)))


def test_an_encoder_without_parameters_is_a_linear_classifier(freeze_encoder: FreezeEncoder) -> None:
    assert tuned(freeze_encoder(Flat(DATA, NoConfig()), splits(), 3)).scores[0].value > 0.9


def test_protocol_describes_the_recipe(freeze_encoder: FreezeEncoder, encoder: Encoder) -> None:
    protocol = tuned(freeze_encoder(encoder, splits(), 3)).protocol
    for part in ("25 steps of 16 items", "views: glyph", "rate chosen of 0.02, 0.1", "after 8 steps", "train mode"):
        assert part in protocol


def test_it_needs_two_training_items_of_each_class() -> None:
    task = Finetune(FinetuneConfig())
    few = DataSpec(shape=(1, 8, 8), splits={"train": 5, "test": 5}, num_classes=3)
    assert task.skip_reason(few, Objective) == "needs two training items of each class"  # type: ignore[type-abstract]  # not read
    assert task.skip_reason(DATA, Objective) is None  # type: ignore[type-abstract]  # not read


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be >= 1, got 0"),
        ({"batch_size": 1}, "batch_size must be >= 2, got 1"),
        ({"grid": ()}, r"grid must have one learning rate or more, got \(\)"),
        ({"grid": (0.1, 0.0)}, r"grid must each be > 0, got \(0.1, 0.0\)"),
        ({"validation_fraction": 1.0}, r"validation_fraction must be in \(0, 1\), got 1.0"),
    ],
)
def test_parameters_out_of_range_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FinetuneConfig(**changes)  # type: ignore[arg-type]  # changes of any kind


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match=r"augmentation must be one of .*, got 'zz'"):
        FinetuneConfig(augmentation="zz")


def test_two_training_items_of_each_class_are_enough() -> None:
    enough = DataSpec(shape=(1, 8, 8), splits={"train": 6, "test": 5}, num_classes=3)
    assert Finetune(FinetuneConfig()).skip_reason(enough, Objective) is None  # type: ignore[type-abstract]  # not read
