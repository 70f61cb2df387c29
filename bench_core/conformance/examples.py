"""Data that a component is tried on: made data of each kind that it reads, or its own `example()`.

An `Example` holds the data together with a small encoder. Methods are built on it, and tasks measure a method that was.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from bench_core.conformance.capable import CapableOfImages, CapableOfPairs, CapableOfVectors, UntrainedTeacher
from bench_core.conformance.tiny_encoders import TINY_ENCODERS
from bench_core.conformance.toys import FACTORS, NUM_CLASSES, NUM_ITEMS, SIDES, Untrained, image_spec, split_of
from bench_core.contracts import DataSpec, Encoder, Evaluator, Example, Objective, Split
from bench_core.contracts.keywords import named_only
from bench_core.data import take
from bench_core.data.kinds import as_float
from bench_core.data.made import made_split
from bench_core.data.split_faults import split_fault
from bench_core.errors import CheckError
from bench_core.plugins import Component, Registry

_LEAST_TRAIN = 8  # items of an example: two batches of four
_CAPABLE: Mapping[str, Sequence[type[Objective]]] = {
    "image": (CapableOfImages,),
    "vector": (CapableOfVectors,),
    "pairs": (CapableOfPairs,),
}


def examples_of(component: Component, registry: Registry) -> list[Example]:
    """Return what a component is tried on: its own example, or made data of each kind that it reads.

    Of each kind, that is the first of some descriptions (sizes, splits) that the component does not skip.

    Args:
        component: An encoder, method or task.
        registry: The plugins; a method that refuses the small encoder of a kind is tried with one of these.

    Raises:
        CheckError: The component skips all made data, or its example has a fault.
    """
    cls: Any = component.cls
    if hasattr(cls, "example"):
        return [_own_example(cls)]
    fitting = {"encoder": _fitting_encoder, "objective": _fitting_method, "evaluator": _fitting_task}[component.kind]
    examples, reasons = [], []
    for kind in _kinds(cls):
        for data in _DATA.get(kind, ()):
            fits = fitting(cls, data, registry)
            if not isinstance(fits, str):
                examples.append(replace(fits, splits=_made_splits(data)))
                break
            reasons.append(f"{kind}: {fits}")
    if not examples:
        told = "; ".join(dict.fromkeys(reasons)) or f"it reads {', '.join(_kinds(cls))}, which cannot be made here"
        raise CheckError(f"nothing was tried, because it skips all made data ({told}); give it an example()")
    return examples


def shortened(example: Example, items: int) -> Example:
    """Return an example whose train split has only its first items."""
    train = example.splits["train"]
    items = min(items, len(train))
    splits = {**example.splits, "train": take(train, torch.arange(items))}
    return replace(example, data=replace(example.data, splits={**example.data.splits, "train": items}), splits=splits)


def inputs_of(example: Example, index: Sequence[int]) -> Any:
    """Return some inputs of the train split, by their positions, as a method gets them."""
    return as_float(example.splits["train"].read(torch.tensor(index)))


def build_encoder(example: Example, data: DataSpec | None = None) -> Encoder:
    """Build the example's encoder with its default parameters, for its data or for another description."""
    cls: Any = example.encoder
    encoder: Encoder = cls(data or example.data, cls.Config())
    return encoder


def build_teacher(example: Example) -> Objective:
    """Build a teacher that trains nothing, always with the same weights, frozen and in eval mode."""
    with torch.random.fork_rng([]):
        torch.manual_seed(9)
        return UntrainedTeacher(build_encoder(example), example.data, None).eval().requires_grad_(False)


def build_method(cls: Any, example: Example, seed: int, teacher: Objective | None = None) -> Objective:
    """Build a method with its default parameters on the example's encoder.

    Args:
        cls: Class of the method.
        example: Gives data and encoder.
        seed: Seed of the initial weights; the global generator stays as it is.
        teacher: Teacher for a method that takes one; None builds one.
    """
    teacher = teacher or build_teacher(example)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        offered = {"teacher": teacher, "new_encoder": lambda data: build_encoder(example, data)}
        config = cls.Config()
        objective: Objective = cls(build_encoder(example), example.data, config, **named_only(cls.__init__, **offered))
    return objective


def _kinds(cls: Any) -> Sequence[str]:
    """Return the kinds of data that a class may read: those it names, else all if it has its own `skip_reason`."""
    interface: Any = next(each for each in (Encoder, Objective, Evaluator) if issubclass(cls, each))
    if interface is Encoder and cls.kinds is not None:
        return sorted(cls.kinds)
    own, default = (getattr(each.skip_reason, "__func__", each.skip_reason) for each in (cls, interface))
    return ["image"] if own is default else list(_DATA)


def _fitting_encoder(cls: Any, data: DataSpec, registry: Registry) -> Example | str:
    """Return an example without splits, or the reason why the encoder skips the data."""
    reason: str | None = cls.skip_reason(data, cls.Config())
    return reason or Example(data=data, splits={}, encoder=cls)


def _fitting_method(cls: Any, data: DataSpec, registry: Registry) -> Example | str:
    """Return an example without splits, with the first encoder that the method does not skip, or a reason."""
    reasons = []
    for encoder in _encoders(cls, data, registry):
        offered = {"encoder_class": encoder, "encoder_config": encoder.Config(), "teacher_class": UntrainedTeacher}
        reason = cls.skip_reason(data, cls.Config(), **named_only(cls.skip_reason, **offered))
        if reason is None:
            return Example(data=data, splits={}, encoder=encoder)
        reasons.append(str(reason))
    return reasons[0]


def _encoders(cls: Any, data: DataSpec, registry: Registry) -> Iterator[Any]:
    """Yield the tiny encoder, and all others that read the data if the method's `skip_reason` asks for the encoder."""
    yield TINY_ENCODERS[data.kind]
    if named_only(cls.skip_reason, encoder_class=None):
        for component in registry.of_kind("encoder"):
            encoder: Any = component.cls
            reads = encoder.kinds is None or data.kind in encoder.kinds
            if reads and encoder.skip_reason(data, encoder.Config()) is None:
                yield encoder


def _fitting_task(cls: Any, data: DataSpec, registry: Registry) -> Example | str:
    """Return an example without splits, with a method that can do what the task needs, or a reason."""
    reasons = []
    methods: list[type[Objective]] = [Untrained, *_CAPABLE.get(data.kind, ())]
    for method in methods:
        reason = cls(cls.Config()).skip_reason(data, method)
        if reason is None:
            return Example(data=data, splits={}, encoder=TINY_ENCODERS[data.kind], method=method)
        reasons.append(str(reason))
    return reasons[-1]


def _own_example(cls: Any) -> Example:
    """Return the example that a class gives, with a tiny encoder where it names none."""
    example = cls.example()
    if not isinstance(example, Example):
        raise CheckError(f"example() must return an Example, got {type(example).__name__}")
    for name in example.data.splits:
        fault = split_fault(example.splits.get(name), example.data, name)
        if fault:
            raise CheckError(f"example(), split {name!r}: {fault}")
    if example.data.splits.get("train", 0) < _LEAST_TRAIN:
        raise CheckError(f"example() must have a split 'train' of at least {_LEAST_TRAIN} items")
    encoder = cls if issubclass(cls, Encoder) else example.encoder or TINY_ENCODERS.get(example.data.kind)
    if encoder is None:
        raise CheckError(f"example() must name an encoder, because there is none of {example.data.kind!r} here")
    return replace(example, encoder=encoder)


def _made_splits(data: DataSpec) -> dict[str, Split]:
    """Make the splits of a description; the nodes of all splits lie in one graph."""
    if data.is_image:
        return {name: split_of(data) for name in data.splits}
    if data.kind != "nodes":
        return {name: made_split(data, count, seed) for seed, (name, count) in enumerate(data.splits.items(), 1)}
    whole = made_split(data, sum(data.splits.values()))
    parts = torch.split(torch.arange(len(whole)), list(data.splits.values()))
    return {name: take(whole, part) for name, part in zip(data.splits, parts, strict=True)}


def _data(shape: tuple[int, ...], kind: str = "", **fields: Any) -> DataSpec:
    splits = {"train": NUM_ITEMS, "test": NUM_ITEMS}
    return DataSpec(
        **{"shape": shape, "kind": kind, "splits": splits, "num_classes": NUM_CLASSES, "factors": FACTORS, **fields}
    )


_IMAGES = [replace(image_spec(side), factors=FACTORS) for side in SIDES]
_VECTORS = _data((24,))
# Kind of data -> descriptions, of which a component is tried on the first that it does not skip.
_DATA: Mapping[str, Sequence[DataSpec]] = {
    "image": _IMAGES,
    "vector": [_VECTORS],
    "nodes": [_data((10,), "nodes", splits={"train": 60, "validation": 40, "test": 60}, transductive=True)],
    "graphs": [_data((5,), "graphs"), _data((5,), "graphs", splits={"train": NUM_ITEMS}, transductive=True)],
    "pairs": [
        *(_data((), "pairs", modalities={"image": image, "other": image}) for image in reversed(_IMAGES)),
        _data((), "pairs", modalities={"image": _IMAGES[0], "vector": _VECTORS}),
    ],
}
