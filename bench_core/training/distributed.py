"""One training by several processes: rows are shared out inside encoders, all else is computed by every rank.

    whole batch -> own rows -> encoder -> features of all rows -> heads, loss

Each rank holds the whole method and draws the same batches, views and noise. Only within a call of an `Encoder`, and
where files are read and views are made of images, does a rank work on rows of its own. What comes out is the same on
every rank, and so is each gradient, so that a method needs no line for it. Batch norm and random layers are those of
the whole batch, see `rank_modes`.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, wraps
from typing import Any

import torch
from torch import Tensor, nn

from bench_core.contracts import Encoder
from bench_core.data.kinds import NodeMap, Nodes, select
from bench_core.data.loading import read_by
from bench_core.errors import CheckError
from bench_core.nn.unsaved import Unsaved
from bench_core.training.rank_group import RankGroup
from bench_core.training.rank_modes import whole_batch
from bench_core.training.rank_rows import all_rows, for_each_rank, own_rows, sums
from bench_core.views import pipeline
from bench_core.views.augmentation import AugmentationDraws

_SHARED = ("forward", "maps", "features_and_maps")  # methods of an encoder whose rows are shared out
_GROUP = ContextVar[RankGroup | None]("_GROUP", default=None)  # None also within an encoder: calls are shared once


@contextmanager
def shared_rows(objective: nn.Module, group: RankGroup | None) -> Iterator[None]:
    """Share out the rows of a method's encoders, of the views that it makes, and of what is read, in this block.

    Args:
        objective: The method; copies that it makes of its encoders in this block are shared out, too.
        group: The ranks, which all do the same; None shares nothing.
    """
    if group is None:
        yield
        return
    encoders = [module for module in _modules(objective) if isinstance(module, Encoder)]
    token = _GROUP.set(group)
    try:
        for encoder in encoders:
            encoder.__class__ = _shared_class(type(encoder))
        with pipeline.applied_by(_apply_to_own_rows), read_by(group):
            yield
    finally:
        _GROUP.reset(token)
        for module in _modules(objective):
            if unshared := getattr(type(module), "_unshared", None):
                module.__class__ = unshared


@contextmanager
def alone() -> Iterator[None]:
    """Share nothing in this block, for what one rank does and the others do not."""
    token = _GROUP.set(None)
    try:
        with read_by(None):
            yield
    finally:
        _GROUP.reset(token)


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Give all ranks the mean of their gradients, on GPUs, where the same sum may end in other last bits."""
    group = _GROUP.get()
    if group is None or group.device.type != "cuda":
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    for gradient, total in zip(gradients, sums(gradients, group), strict=True):
        gradient.copy_(total / group.size)


def _modules(module: nn.Module) -> Iterator[nn.Module]:
    """Yield a module and all below it, also those that it holds without owning them, such as a teacher's."""
    for each in module.modules():
        yield each
        if isinstance(each, Unsaved):
            yield from _modules(each.module)


@cache
def _shared_class(cls: type[Encoder]) -> type[Encoder]:
    """Return a class of the same encoder whose rows are shared out. As a class, it survives a `deepcopy`."""
    if hasattr(cls, "_unshared"):
        return cls
    methods = {name: _shared(getattr(cls, name)) for name in _SHARED}
    return type(cls.__name__, (cls,), {**methods, "_unshared": cls, "__module__": cls.__module__})


def _shared(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def of_own_rows(encoder: Encoder, inputs: Any) -> Any:
        group = _GROUP.get()
        with alone():
            if group is None or not _can_share(encoder, inputs, group):
                return method(encoder, inputs)
            counts = group.split(len(inputs))
            rows = _own_inputs(inputs, group, counts)
            with _parameters_for_each_rank(encoder, group), whole_batch(group, counts):
                outputs = method(encoder, rows)
            return _whole_outputs(outputs, group, counts, by_row=isinstance(inputs, Tensor))

    return of_own_rows


def _can_share(encoder: Encoder, inputs: Any, group: RankGroup) -> bool:
    """Return whether these inputs have rows, enough for all ranks, that do not depend on one another."""
    if not encoder.shares_rows or isinstance(inputs, Nodes) or not hasattr(inputs, "__len__"):
        return False
    return isinstance(inputs, Tensor) or hasattr(inputs, "select") if len(inputs) >= group.size else False


def _own_inputs(inputs: Any, group: RankGroup, counts: Sequence[int]) -> Any:
    """Return the items of this rank, of a tensor or of Items such as graphs."""
    if isinstance(inputs, Tensor):
        return own_rows(inputs, group, counts)
    if torch.is_grad_enabled():
        trained = [each for each in _tensors(inputs) if each.requires_grad]
        given = dict(zip(map(id, trained), for_each_rank(trained, group) if trained else (), strict=True))
        inputs = _mapped(inputs, lambda values: given.get(id(values), values))
    start = sum(counts[: group.rank])
    return select(inputs, torch.arange(start, start + counts[group.rank], device=group.device))


def _whole_outputs(outputs: Any, group: RankGroup, counts: Sequence[int], *, by_row: bool) -> Any:
    """Return what an encoder gives for the whole batch: tensors, and tuples, lists, dicts and dataclasses of them.

    Args:
        outputs: What it gave for the own rows.
        group: The ranks.
        counts: Number of rows of each.
        by_row: True if each tensor must have the rows of the inputs, False if it may also have those of nodes.

    Raises:
        CheckError: A tensor has other rows.
    """

    def whole(values: Tensor) -> Tensor:
        lengths = group.counts(len(values) if values.ndim else -1)
        if lengths != list(counts) and (by_row or min(lengths) < 0):
            raise CheckError(
                f"the encoder gave a tensor of shape {tuple(values.shape)} for {counts[group.rank]} inputs, which "
                "ranks cannot share out by rows; set shares_rows = False in the encoder, or train with --ranks 1."
            )
        return all_rows(values, group, lengths)

    def whole_map(nodes: NodeMap) -> NodeMap:
        return NodeMap(whole(nodes.values), whole(nodes.graph + sum(counts[: group.rank])))

    return _mapped(outputs, whole, whole_map)


@contextmanager
def _parameters_for_each_rank(encoder: nn.Module, group: RankGroup) -> Iterator[None]:
    """Put parameters into an encoder whose gradients are summed over the ranks, in this block."""
    places = [
        (module, name, parameter)
        for module in encoder.modules()
        for name, parameter in module._parameters.items()
        if parameter is not None and parameter.requires_grad
    ]
    if not places or not torch.is_grad_enabled():
        yield
        return
    parameters = list({id(parameter): parameter for _, _, parameter in places}.values())
    given = dict(zip(map(id, parameters), for_each_rank(parameters, group), strict=True))
    try:
        for module, name, parameter in places:
            module._parameters[name] = given[id(parameter)]  # type: ignore[assignment]  # a tensor serves as well
        _renew_flat_weights(encoder)
        yield
    finally:
        for module, name, parameter in places:
            module._parameters[name] = parameter
        _renew_flat_weights(encoder)


def _renew_flat_weights(encoder: nn.Module) -> None:
    """Let recurrent layers, which keep a second list of their parameters, take those that they have now."""
    for module in encoder.modules():
        if isinstance(module, nn.RNNBase):
            module._flat_weights = [getattr(module, name, None) for name in module._flat_weights_names]


def _apply_to_own_rows(images: Tensor, draws: AugmentationDraws, size: tuple[int, int]) -> Tensor:
    """Apply draws to the images of this rank, and return the views of all ranks."""
    group = _GROUP.get()
    changes_nothing = all(value is None for value in draws) and size == tuple(images.shape[2:])
    if group is None or len(images) < group.size or changes_nothing:
        return pipeline.apply(images, draws, size)
    counts = group.split(len(images))
    own_draws = _mapped(draws, lambda values: own_rows(values, group, counts))
    return group.gather(pipeline.apply(own_rows(images, group, counts), own_draws, size), counts)


def _mapped(values: Any, change: Callable[[Tensor], Any], change_map: Callable[[NodeMap], Any] | None = None) -> Any:
    """Return the same structure with each of its tensors changed."""
    if isinstance(values, Tensor):
        return change(values)
    if isinstance(values, NodeMap) and change_map:
        return change_map(values)
    if isinstance(values, Mapping):
        return {key: _mapped(value, change, change_map) for key, value in values.items()}
    if isinstance(values, list | tuple):
        items = [_mapped(value, change, change_map) for value in values]
        return type(values)(*items) if hasattr(values, "_fields") else type(values)(items)
    if dataclasses.is_dataclass(values) and not isinstance(values, type):
        names = [field.name for field in dataclasses.fields(values)]
        return dataclasses.replace(
            values, **{name: _mapped(getattr(values, name), change, change_map) for name in names}
        )
    return values


def _tensors(values: Any) -> list[Tensor]:
    """Return all tensors of a structure."""
    found = list[Tensor]()

    def note(each: Tensor) -> Tensor:
        found.append(each)
        return each

    _mapped(values, note)
    return found
