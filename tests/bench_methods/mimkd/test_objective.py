"""MIMKD: its loss by loops, plain distillation and plain training as special cases, an unchanged teacher."""

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import Batch, DataSpec, Objective, Recipe, Split
from bench_core.config import build
from bench_core.data import open_split
from bench_core.errors import ConfigError
from bench_core.training.pretrain import pretrain
from bench_encoders.convnet import ConvNet
from bench_methods.mimkd.objective import MIMKD, Classifier, MIMKDConfig, MIMKDUnlabelled, MIMKDUnlabelledConfig
from bench_methods.mimkd.objective import soft_label_loss as soft_label_loss
from bench_methods.references import Supervised, SupervisedConfig
from bench_methods.simclr import SimCLR, SimCLRConfig

NO_INFORMATION = MIMKD.variants["distillation"].config


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def build_student(student: ConvNet, teacher: Objective, data: DataSpec) -> Callable[..., Any]:
    """Function that builds `mimkd`, or `mimkd_unlabelled`, always with the same weights."""

    def make(cls: Any = MIMKD, **values: Any) -> Any:
        torch.manual_seed(2)
        config = cls.Config(**{"units": 16, "augmentation": "none", **values})
        return cls(copy.deepcopy(student), data, config, teacher=teacher)

    return make


def train(method: Objective, batches: list[Batch], loss_of: Callable[[Batch], Tensor] | None = None) -> list[float]:
    """Take a step of SGD on each batch, with the method's loss or another one; return the losses."""
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1)
    rng = torch.Generator().manual_seed(0)
    losses = []
    for batch in batches:
        loss = method(method.make_views(batch, rng)).total if loss_of is None else loss_of(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.fixture
def batches(images: Tensor) -> list[Batch]:
    return [Batch(images[k : k + 12], torch.arange(k, k + 12), torch.arange(12) % 10) for k in range(0, 96, 12)]


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    other = b.state_dict()
    return all(torch.equal(value, other[name]) for name, value in a.state_dict().items())


def test_loss_is_labels_and_soft_labels_minus_the_estimates(
    build_student: Callable[..., MIMKD], teacher: Objective, batch: Batch, rng: torch.Generator
) -> None:
    method = build_student(
        soft_labels=0.7, temperature=3.0, global_weight=0.5, local_weight=2.0, maps_weight=1.0
    ).eval()
    with torch.no_grad():
        loss = method(method.make_views(batch, rng))
        z = method.head(method.encoder(batch.inputs)).double()
    assert isinstance(teacher, Classifier)
    t = teacher.logits(teacher.encoder(batch.inputs)).double()
    hard = soft = 0.0
    for n in range(12):
        hard -= math.log(z[n].exp()[n % 10] / z[n].exp().sum()) / 12
        p, q = ([math.exp(value / 3) for value in logits[n]] for logits in (t, z))
        p, q = [value / sum(p) for value in p], [value / sum(q) for value in q]
        soft += 9 * sum(p[k] * math.log(p[k] / q[k]) for k in range(10)) / 12
    assert loss.parts["cross_entropy"].item() == pytest.approx(hard, rel=1e-5)
    assert loss.parts["soft_labels"].item() == pytest.approx(soft, rel=1e-3, abs=1e-6)
    parts = {name: value.item() for name, value in loss.parts.items()}
    information = 0.5 * parts["global_jsd"] + 2 * parts["local_jsd"] + parts["maps_jsd"]
    assert loss.total.item() == pytest.approx(0.3 * hard + 0.7 * soft - information, rel=1e-4)
    assert parts["accuracy"] == pytest.approx(sum(int(z[n].argmax()) == n % 10 for n in range(12)) / 12)


def test_without_estimates_it_is_plain_distillation_to_the_bit(
    build_student: Callable[..., MIMKD], teacher: Objective, batches: list[Batch]
) -> None:
    method, plain = build_student(**NO_INFORMATION), build_student(**NO_INFORMATION)
    assert isinstance(teacher, Classifier)

    def distillation(batch: Batch) -> Tensor:
        assert batch.labels is not None
        logits = plain.head(plain.encoder(batch.inputs))
        soft = (teacher.logits(teacher.encoder(batch.inputs)) / 4).log_softmax(1)
        divergence = torch.nn.KLDivLoss(reduction="batchmean", log_target=True)((logits / 4).log_softmax(1), soft)
        loss: Tensor = (1 - 0.9) * torch.nn.CrossEntropyLoss()(logits, batch.labels) + 0.9 * (16.0 * divergence)
        return loss

    assert train(method, batches) == train(plain, batches, distillation)
    assert same_weights(method, plain)
    assert list(method.state_dict()) == [*(f"encoder.{name}" for name in method.encoder.state_dict()),
                                         "head.weight", "head.bias"]  # fmt: skip


def test_without_soft_labels_it_is_supervised_training_to_the_bit(
    build_student: Callable[..., MIMKD], student: ConvNet, data: DataSpec, batches: list[Batch]
) -> None:
    method = build_student(soft_labels=0.0, **NO_INFORMATION)
    torch.manual_seed(2)
    supervised = Supervised(copy.deepcopy(student), data, SupervisedConfig(augmentation="none"))
    assert train(method, batches) == train(supervised, batches)
    assert same_weights(supervised, method)


def test_estimates_change_what_is_learned(build_student: Callable[..., MIMKD], batches: list[Batch]) -> None:
    method, plain = build_student(), build_student(**NO_INFORMATION)
    assert same_weights(plain, method)  # encoder and head start the same
    train(method, batches[:1])
    train(plain, batches[:1])
    assert not same_weights(plain.encoder, method.encoder)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_gradient_of_soft_labels_is_the_difference_of_both_softmaxes(temperature: float) -> None:
    student = torch.randn(6, 5, requires_grad=True)
    teacher = torch.randn(6, 5)
    (gradient,) = torch.autograd.grad(soft_label_loss(student, teacher, temperature), student)
    difference = (student / temperature).softmax(1) - (teacher / temperature).softmax(1)
    assert torch.allclose(gradient, temperature * difference / 6, atol=1e-6)


def test_soft_label_loss_by_hand() -> None:
    student, teacher = torch.zeros(1, 2), torch.tensor([[2 * math.log(3), 0.0]])
    expected = 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))  # (3/4, 1/4) against (1/2, 1/2), times 2^2
    assert soft_label_loss(student, teacher, 2.0).item() == pytest.approx(expected, rel=1e-5)


def test_soft_label_loss_does_not_see_a_constant_added_to_all_logits() -> None:
    student, teacher = torch.randn(6, 5), torch.randn(6, 5)
    loss = soft_label_loss(student, teacher, 4.0)
    assert torch.allclose(soft_label_loss(student + 3, teacher - 2, 4.0), loss, atol=1e-5)
    assert soft_label_loss(student, student + 3, 4.0).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("cls", [MIMKD, MIMKDUnlabelled])
def test_training_leaves_the_teacher_as_it_is_and_saves_none_of_it(
    cls: Any, build_student: Callable[..., Any], teacher: Objective, images: Tensor, tmp_path: Path
) -> None:
    method = build_student(cls)
    before = copy.deepcopy(teacher.state_dict())
    start = {name: value.clone() for name, value in method.named_parameters()}
    source = open_split(Split((images * 255).to(torch.uint8), torch.arange(96) % 10), torch.device("cpu"))
    recipe = Recipe(learning_rate=1e-2, batch_size=32, epochs=2)
    pretrain(method, source, recipe, seed=0, device=torch.device("cpu"), precision="fp32", log=tmp_path / "log.jsonl")
    moved = [name for name, value in method.named_parameters() if not torch.equal(value, start[name])]
    assert moved == list(start)
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert not any(module.training for module in teacher.modules())
    taught = {id(parameter) for parameter in teacher.parameters()}
    assert taught.isdisjoint(id(p) for player in method.players() for p in player.parameters)
    assert not any("teacher.module" in name or "teacher.encoder" in name for name in method.state_dict())


@pytest.mark.parametrize("cls", [MIMKD, MIMKDUnlabelled])
def test_student_and_teacher_see_the_same_view(
    cls: Any, build_student: Callable[..., Any], teacher: Objective, batch: Batch, rng: torch.Generator
) -> None:
    method = build_student(cls, augmentation="glyph")
    seen: dict[str, list[Tensor]] = {"student": [], "teacher": []}
    for name, encoder in (("student", method.encoder), ("teacher", teacher.encoder)):
        assert isinstance(encoder, ConvNet)
        encoder.standardize.register_forward_pre_hook(lambda _, inputs, name=name: seen[name].append(inputs[0].clone()))
    method(method.make_views(batch, rng))
    views = list(itertools.chain(*seen.values()))
    assert len(seen["student"]) == len(seen["teacher"]) > 0
    assert all(torch.equal(view, views[0]) for view in views)
    assert not torch.equal(views[0], batch.inputs)


def test_without_labels_no_labels_are_read(build_student: Callable[..., Any], batches: list[Batch]) -> None:
    plain = [Batch(batch.inputs, batch.index) for batch in batches]
    method, other = build_student(MIMKDUnlabelled), build_student(MIMKDUnlabelled)
    assert train(method, batches) == train(other, plain)
    assert (MIMKD.uses_labels, MIMKDUnlabelled.uses_labels) == (True, False)


def test_a_student_can_be_a_teacher(build_student: Callable[..., MIMKD], student: ConvNet, data: DataSpec) -> None:
    first = build_student().eval().requires_grad_(False)
    second = MIMKD(student, data, MIMKDConfig(units=8), teacher=first)
    assert isinstance(first, Classifier)
    assert second.shared.teacher.module is first
    assert len(second.state_dict()) == len(first.state_dict())


def test_a_teacher_without_logits_teaches_only_without_soft_labels(student: ConvNet, data: DataSpec) -> None:
    teacher = SimCLR(copy.deepcopy(student), data, SimCLRConfig()).eval().requires_grad_(False)
    with pytest.raises(ConfigError, match=r"SimCLR has none\. Name a teacher .* or set soft_labels to 0\."):
        MIMKD(student, data, MIMKDConfig(), teacher=teacher)
    assert MIMKD(student, data, MIMKDConfig(soft_labels=0.0), teacher=teacher).shared.weights
    assert MIMKDUnlabelled(student, data, MIMKDUnlabelledConfig(), teacher=teacher).shared.weights


def test_a_teacher_of_other_classes_is_refused(
    student: ConvNet, data: DataSpec, make_teacher: Callable[[DataSpec], Objective]
) -> None:
    other = make_teacher(DataSpec(shape=(1, 8, 8), splits={"train": 8}, num_classes=4))
    with pytest.raises(ConfigError, match=r"logits of 4 classes, the data has 10\. Name a teacher"):
        MIMKD(student, data, MIMKDConfig(), teacher=other)


def test_unlabelled_needs_an_estimate() -> None:
    with pytest.raises(ConfigError, match="global_weight, local_weight and maps_weight must not all be 0"):
        build(MIMKDUnlabelledConfig, NO_INFORMATION, "mimkd_unlabelled")


@pytest.mark.parametrize(
    ("cls", "shape", "num_classes", "reason"),
    [
        (MIMKD, (8,), 3, "needs images"),
        (MIMKD, (1, 8, 8), None, "needs one class for each image"),
        (MIMKD, (1, 8, 8), 3, None),
        (MIMKDUnlabelled, (8,), 3, "needs images"),
        (MIMKDUnlabelled, (1, 8, 8), None, None),
    ],
)
def test_data_that_cannot_be_learned_from_are_skipped(
    cls: Any, shape: tuple[int, ...], num_classes: int | None, reason: str | None
) -> None:
    spec = DataSpec(shape=shape, splits={"train": 8}, num_classes=num_classes)
    assert cls.skip_reason(spec, cls.Config()) == reason


def test_data_without_classes_are_refused(student: ConvNet, teacher: Objective) -> None:
    spec = DataSpec(shape=(1, 8, 8), splits={"train": 8})
    with pytest.raises(ValueError, match="mimkd needs classes"):
        MIMKD(student, spec, MIMKDConfig(), teacher=teacher)
