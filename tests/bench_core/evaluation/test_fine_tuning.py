"""Fine-tuning learns from labels, leaves the encoder unchanged and is reproducible."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench_core import DataSpec, Encoder, NoConfig, Split
from bench_core.conformance.toys import TinyEncoder
from bench_core.evaluation.classification import top_accuracy
from bench_core.evaluation.fine_tuning import answers, describe, fine_tune

DATA = DataSpec(shape=(1, 8, 8), splits={"train": 64, "test": 64}, num_classes=2, views="glyph")
CPU = torch.device("cpu")
RECIPE: dict[str, Any] = {
    "steps": 25, "batch_size": 16, "learning_rate": 0.05, "augmentation": "crop_flip", "device": CPU, "seed": 0
}  # fmt: skip


class Normed(TinyEncoder):
    """TinyEncoder with batch norm and dropout (ours)."""

    def __init__(self) -> None:
        super().__init__(DATA)
        self.norm, self.drop = nn.BatchNorm1d(self.dim), nn.Dropout(0.2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.drop(self.norm(super().forward(inputs)))  # type: ignore[no-any-return]  # calls of modules are untyped


class Flat(Encoder):
    """Encoder without parameters that returns the pixels (ours)."""

    def __init__(self) -> None:
        super().__init__(DATA, NoConfig())
        self.dim = 64

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1)

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        return {}


def stripes(count: int = 64, seed: int = 0) -> Split:
    """Make images of horizontal or vertical stripes at a random phase, so that no single pixel shows the class."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    wave = (torch.arange(8)[None] + torch.randint(0, 4, (count, 1), generator=rng)) % 4 < 2
    lines = wave[:, None, :].expand(count, 8, 8)
    images = torch.where(labels.view(-1, 1, 1) == 0, lines, lines.mT)
    return Split((images[:, None] * 200).to(torch.uint8), labels)


@pytest.fixture
def encoder() -> Iterator[Encoder]:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        yield Normed().eval().requires_grad_(False)


def accuracy(model: nn.Module, split: Split) -> float:
    assert split.labels is not None
    return top_accuracy(answers(model, split, CPU), split.labels)


def test_fine_tuning_does_not_change_the_encoder_or_the_global_generator(encoder: Encoder) -> None:
    before = copy.deepcopy(encoder.state_dict())
    state = torch.get_rng_state()
    model = fine_tune(encoder, stripes(), DATA, 2, **RECIPE)
    assert all(torch.equal(value, encoder.state_dict()[name]) for name, value in before.items())
    assert not any(weight.requires_grad or weight.grad is not None for weight in encoder.parameters())
    assert not encoder.training
    assert torch.equal(torch.get_rng_state(), state)
    moved = model[0].state_dict()
    assert {name for name in before if not torch.equal(before[name], moved[name])} == set(before)


def test_result_depends_only_on_the_seed(encoder: Encoder) -> None:
    logits = [
        answers(fine_tune(encoder, stripes(), DATA, 2, **RECIPE | {"seed": seed}), stripes(), CPU) for seed in (0, 0, 1)
    ]
    assert torch.equal(logits[0], logits[1])
    assert not torch.equal(logits[0], logits[2])


def test_fine_tuning_learns_what_a_linear_classifier_of_pixels_cannot(encoder: Encoder) -> None:
    longer = RECIPE | {"steps": 60, "augmentation": "none"}
    tuned = accuracy(fine_tune(encoder, stripes(), DATA, 2, **longer), stripes(seed=1))
    pixels = accuracy(fine_tune(Flat(), stripes(), DATA, 2, **longer), stripes(seed=1))
    assert tuned > 0.9
    assert pixels < 0.7


def test_encoder_without_parameters_gives_a_linear_classifier() -> None:
    labels = torch.arange(64) % 2
    bright = Split((labels.view(-1, 1, 1, 1) * 100 + torch.zeros(64, 1, 8, 8)).to(torch.uint8), labels)
    assert accuracy(fine_tune(Flat(), bright, DATA, 2, **RECIPE), bright) == 1.0


def test_first_step_starts_from_equal_logits_and_is_sgd_with_nesterov() -> None:
    split = stripes(8)
    one = RECIPE | {"steps": 1, "batch_size": 8, "augmentation": "none", "learning_rate": 0.5}
    head = fine_tune(Flat(), split, DATA, 2, **one)[2]
    assert isinstance(head, nn.Linear)
    assert isinstance(split.inputs, Tensor)
    assert split.labels is not None
    rows = split.inputs.flatten(1).double() / 255
    rows = (rows - rows.mean(0)) / (rows.var(0, correction=0) + 1e-5).sqrt()
    residual = 0.5 - torch.nn.functional.one_hot(split.labels, 2).double()  # the logits are equal
    gradient = residual.T @ rows / 8
    assert head.weight.double().detach().numpy() == pytest.approx((-0.5 * 1.9 * gradient).numpy(), abs=1e-5)


def test_fewer_items_than_a_batch_are_trained_as_one_short_batch(encoder: Encoder) -> None:
    few = stripes(2)
    assert answers(fine_tune(encoder, few, DATA, 2, **RECIPE), few, CPU).isfinite().all()


def test_a_diverged_model_has_no_hits() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    for weight in model.parameters():
        nn.init.constant_(weight, float("nan"))
    assert accuracy(model, stripes(4)) == 0


def test_description_names_the_views_that_are_used() -> None:
    natural = DataSpec(shape=(3, 8, 8), splits={"train": 4})
    assert describe("crop_flip", DATA).endswith("views: glyph")
    assert describe("crop_flip", natural).endswith("views: crop_flip")
    assert describe("none", DATA).endswith("views: none")
    assert describe("crop_flip", DataSpec(shape=(7,), splits={"train": 4})).endswith("views: none")


def test_dropout_is_drawn_from_the_seed_whatever_was_drawn_before(encoder: Encoder) -> None:
    first = answers(fine_tune(encoder, stripes(), DATA, 2, **RECIPE), stripes(), CPU)
    torch.manual_seed(1234)  # within the fixture's fork
    assert torch.equal(answers(fine_tune(encoder, stripes(), DATA, 2, **RECIPE), stripes(), CPU), first)


def test_each_step_takes_the_gradient_of_its_own_batch_alone() -> None:
    split = stripes(8)
    two = RECIPE | {"steps": 2, "batch_size": 8, "augmentation": "none", "learning_rate": 0.5}
    head = fine_tune(Flat(), split, DATA, 2, **two)[2]
    assert isinstance(head, nn.Linear)
    assert isinstance(split.inputs, Tensor)
    assert split.labels is not None
    rows = split.inputs.flatten(1).double() / 255
    rows = (rows - rows.mean(0)) / (rows.var(0, correction=0) + 1e-5).sqrt()
    target = torch.nn.functional.one_hot(split.labels, 2).double()
    weight, bias = torch.zeros(2, 64).double(), torch.zeros(2).double()
    momentum: list[Any] = [0.0, 0.0]
    for rate in (0.5, 0.25):  # the cosine over two steps
        residual = (rows @ weight.T + bias).softmax(1) - target
        gradients = [residual.T @ rows / 8, residual.mean(0)]
        momentum = [0.9 * m + g for m, g in zip(momentum, gradients, strict=True)]
        weight = weight - rate * (gradients[0] + 0.9 * momentum[0])
        bias = bias - rate * (gradients[1] + 0.9 * momentum[1])
    assert head.weight.double().detach().numpy() == pytest.approx(weight.numpy(), abs=1e-5)
