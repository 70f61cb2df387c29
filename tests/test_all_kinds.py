"""Every task and every method on every kind of data: it works, or it says in a sentence why it cannot."""

import copy
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench_core import DataSpec, Embedded, Encoder, Evaluation, Evaluator, Frozen, NoConfig, Objective, Split
from bench_core.conformance.encoders import brings_weights
from bench_core.conformance.toys import TinyEncoder
from bench_core.contracts import OtherData
from bench_core.contracts.keywords import named_only
from bench_core.data import Graphs, NodeMap, Nodes, take
from bench_core.data.made import made_split
from bench_core.nn.layers import Standardize
from bench_core.plugins import Component, load_plugins
from bench_core.store.image_grid import image_grid
from bench_core.training.embed import embed_split
from bench_core.training.trial import step_fault
from bench_methods.references import Flat, Pixels, Random, Supervised, SupervisedConfig
from bench_methods.vae import VAE

OURS = [component for component in load_plugins().components if component.distribution == "bench-core"]
TASKS = [component for component in OURS if issubclass(component.cls, Evaluator)]
ENCODERS = [component for component in OURS if issubclass(component.cls, Encoder)]
METHODS = [component for component in OURS if issubclass(component.cls, Objective)]
CPU = torch.device("cpu")


def spec(shape: tuple[int, ...], **values: Any) -> DataSpec:
    return DataSpec(
        shape=shape,
        num_classes=4,
        name="made",
        factors={"class": 4, "turn": 5},
        **{"splits": {"train": 120, "test": 120}, **values},
    )


IMAGE = spec((3, 16, 16))
VECTOR = spec((8,))
SIDES = {"image": DataSpec(shape=(1, 8, 8), splits={}), "vector": DataSpec(shape=(5,), splits={})}
KINDS = {
    "image": IMAGE,
    "floats": spec((1, 16, 16)),
    "bands": spec((5, 16, 16)),
    "vector": VECTOR,
    "series": spec((3, 10)),
    "nodes": spec((8,), kind="nodes", splits={"train": 120, "validation": 120, "test": 120}, transductive=True),
    "graphs": spec((8,), kind="graphs"),
    "all_graphs": spec((8,), kind="graphs", splits={"train": 120}, transductive=True),
    "pairs": spec((), kind="pairs", modalities=SIDES),
    "songs": spec((8,), kind="songs"),
}
TESTED = [kind for kind, data in KINDS.items() if "test" in data.splits]
EVERYWHERE = {  # tasks that need nothing but features, and labels or factors
    "clustering", "disentanglement", "distribution", "fewshot", "finetune", "geometry", "hashing", "knn", "layers",
    "linear", "mi", "outliers", "projection", "retrieval", "search_cost", "subspaces",
}  # fmt: skip


class AnyKind(Encoder):
    """Encoder that reads every kind of data: one layer on the raw values."""

    def __init__(self, data: DataSpec) -> None:
        super().__init__(data, NoConfig())
        self.raw, self.dim, self.is_image = Flat(data, NoConfig()), 12, data.is_image
        self.layer = nn.Linear(self.raw.dim, self.dim)

    def forward(self, inputs: Any) -> Tensor:
        return torch.relu(self.layer(self.raw(inputs)))

    def maps(self, inputs: Any) -> dict[str, Any]:
        if isinstance(inputs, Nodes):
            return {"nodes": NodeMap(self(inputs), torch.arange(len(inputs)))}
        if isinstance(inputs, Graphs):
            return {"nodes": NodeMap(torch.relu(self.layer(inputs.features)), inputs.graph)}
        return {"row": self(inputs)[:, :, None]}


def encoder_of(data: DataSpec) -> Encoder:
    return TinyEncoder(data) if data.is_image else AnyKind(data)


@cache
def splits_of(kind: str) -> dict[str, Split]:
    """Make the splits of a kind of data; images of the kind `floats` have values between the 256 levels."""
    data = KINDS[kind]
    if kind == "floats":
        rng = torch.Generator().manual_seed(0)
        labels, factors = torch.arange(120) % 4, torch.stack([torch.arange(120) % 4, torch.arange(120) % 5], 1)
        return {name: Split(torch.rand(120, *data.shape, generator=rng), labels, factors) for name in data.splits}
    if data.kind != "nodes":
        made = replace(data, kind="vector") if kind == "songs" else data
        return {name: made_split(made, count, seed) for seed, (name, count) in enumerate(data.splits.items())}
    whole, parts = made_split(data, data.num_train * len(data.splits)), torch.arange(len(data.splits))
    return {
        name: take(whole, torch.arange(120) * len(parts) + part) for name, part in zip(data.splits, parts, strict=True)
    }


@cache
def frozen_of(kind: str, others: tuple[str, ...], cls: Any = Random) -> Frozen:
    data, splits = KINDS[kind], splits_of(kind)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        method = cls(encoder_of(data), data, cls.Config()).eval()
    embedded = {}
    for name, split in splits.items():
        values = {of: rows.clone() for of, rows in embed_split(method, split, CPU).items()}  # as they come from a file
        embedded[name] = Embedded(values, split.labels, split.factors)
    other_data = {name: OtherData(IMAGE, lambda split: splits_of("image")[split]) for name in others}
    return Frozen(embedded, data, 0, CPU, lambda: copy.deepcopy(method), lambda name: splits[name], other_data)


def name_of(component: Component) -> str:
    return component.name


def evaluate(task: Component, kind: str, more: Mapping[str, Embedded] | None = None) -> Evaluation:
    """Run a task of small size on an untrained encoder of this kind of data, beside `more` splits."""
    cls: Any = task.cls
    evaluator = cls(cls.Config())
    frozen = frozen_of(kind, tuple(evaluator.datasets(KINDS[kind])))
    evaluation: Evaluation = evaluator.evaluate(replace(frozen, splits={**frozen.splits, **(more or {})}))
    return evaluation


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_a_task_measures_every_kind_of_data_or_says_why_it_cannot(
    task: Component, kind: str, smaller: Callable[[Component], None]
) -> None:
    smaller(task)
    cls: Any = task.cls
    reason = cls(cls.Config()).skip_reason(KINDS[kind], Random)
    assert reason is None or task.name not in EVERYWHERE or kind not in TESTED
    if reason is not None:
        assert len(reason.split()) > 1
        return
    evaluation = evaluate(task, kind)
    assert all(math.isfinite(score.value) for score in evaluation.scores)
    for images in evaluation.images.values():
        image_grid(images)  # raises for what cannot be drawn


@pytest.mark.parametrize("kind", ["image", "floats", "bands"])
@pytest.mark.parametrize("task", [task for task in TASKS if task.name in ("generation", "likelihood")], ids=name_of)
def test_images_of_any_number_of_bands_and_float_images_are_generated(
    task: Component, kind: str, smaller: Callable[[Component], None]
) -> None:
    smaller(METHODS[[method.name for method in METHODS].index("vae")])
    cls: Any = task.cls
    assert cls(cls.Config()).skip_reason(KINDS[kind], VAE) is None
    evaluation = cls(cls.Config()).evaluate(frozen_of(kind, (), VAE))
    assert all(math.isfinite(score.value) for score in evaluation.scores)
    for images in evaluation.images.values():
        image_grid(images)
    assert bool(evaluation.images) == (kind != "bands" and task.name == "generation")


@pytest.mark.parametrize("task", [task for task in TASKS if task.name in EVERYWHERE], ids=name_of)
def test_a_split_that_a_task_does_not_know_changes_no_score(
    task: Component, smaller: Callable[[Component], None]
) -> None:
    smaller(task)
    shifted = Embedded({"features": torch.full((7, 12), torch.nan)}, torch.full((7,), 3), torch.full((7, 2), -1))
    assert evaluate(task, "vector", {"shifted": shifted}).scores == evaluate(task, "vector").scores


def build(method: Component, data: DataSpec) -> Objective:
    """Build a method of small size on an encoder of its kind of data, with all that it may ask for by name."""
    cls: Any = method.cls
    teacher = Supervised(encoder_of(data), data, SupervisedConfig()).eval().requires_grad_(False)
    asked = named_only(cls.__init__, teacher=teacher, new_encoder=encoder_of)
    objective: Objective = cls(encoder_of(data), data, cls.Config(), **asked)
    return objective


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS, ids=name_of)
def test_a_method_learns_from_every_kind_of_data_or_says_why_it_cannot(
    method: Component, kind: str, smaller: Callable[[Component], None]
) -> None:
    smaller(method)
    cls: Any = method.cls
    data = KINDS[kind]
    asked = named_only(cls.skip_reason, encoder_class=type(encoder_of(data)), encoder_config=NoConfig())
    reason = cls.skip_reason(data, cls.Config(), **asked)
    if reason is not None:
        assert len(reason.split()) > 1
        return
    if kind != "songs":  # nothing is made of a plugin's own kind
        assert step_fault(partial(build, method), cls.recipe, data, 16) is None
    split = splits_of(kind)["train"]
    embeddings = embed_split(build(method, data), split, CPU)
    assert len(embeddings["features"]) == len(split)


@pytest.mark.parametrize("kind", KINDS)
def test_the_references_stand_beside_every_kind_of_data(kind: str) -> None:
    references: tuple[Any, ...] = Random, Pixels, Supervised
    skipped = {cls.__name__ for cls in references if cls.skip_reason(KINDS[kind], cls.Config())}
    assert skipped == {"all_graphs": {"Supervised"}, "songs": {"Pixels"}}.get(kind, set())


@pytest.mark.parametrize(
    "encoder",
    [each for each in ENCODERS if (each.cls.kinds or {"image"}) >= {"image"} and not brings_weights(each.cls)],
    ids=name_of,
)
def test_encoders_of_images_read_every_band_and_standardise_each(encoder: Component) -> None:
    bands = (0.1, 0.2, 0.3, 0.4, 0.5)
    data = replace(spec((5, 64, 64)), mean=bands, std=bands)
    cls: Any = encoder.cls
    assert cls.skip_reason(data, cls.Config()) is None
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = cls(data, cls.Config()).eval()
    images = torch.rand(2, 5, 64, 64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    network(images).square().sum().backward()
    assert images.grad is not None
    assert (images.grad.abs().amax((0, 2, 3)) > 0).all()
    standardised = [layer for layer in network.modules() if isinstance(layer, Standardize)]
    assert [layer.mean.flatten().tolist() for layer in standardised] == [pytest.approx(bands)]


@pytest.mark.parametrize("kind", ["vector", "nodes", "graphs", "pairs"])
@pytest.mark.parametrize("task", [task for task in TASKS if task.name in EVERYWHERE], ids=name_of)
def test_protocols_of_other_data_name_no_images(
    task: Component, kind: str, smaller: Callable[[Component], None]
) -> None:
    smaller(task)
    protocol = evaluate(task, kind).protocol
    assert not {"image", "images", "pixels", "crop", "alignment"} & set(re.findall("[a-z_]+", protocol))
