"""Rows that are shared out among ranks, and gradients that find their way back; every function can be derived twice.

A tensor is *whole* if each rank has the same one, and so is its gradient. It is *shared out* if each rank has rows of
its own; the gradient of a whole tensor that each rank used for its own rows is the sum over the ranks.

    whole (N, ...)  --own_rows-->  shared out (n, ...)         backward: all_rows
    shared out (n, ...)  --all_rows-->  whole (N, ...)         backward: own_rows
    whole  --for_each_rank-->  used for own rows               backward: sum_over_ranks
    a part on each rank  --sum_over_ranks-->  whole            backward: for_each_rank
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from bench_core.training.rank_group import RankGroup


def own_rows(values: Tensor, group: RankGroup, counts: Sequence[int]) -> Tensor:
    """Return the rows of this rank: whole (N, ...) -> (n, ...). Without a gradient it is a view."""
    if torch.is_grad_enabled() and values.requires_grad:
        rows: Tensor = _OwnRows.apply(values, group, tuple(counts))
        return rows
    return _cut(values, group, counts)


def all_rows(values: Tensor, group: RankGroup, counts: Sequence[int]) -> Tensor:
    """Return the rows of all ranks, one rank after the other: own (n, ...) -> whole (N, ...)."""
    if torch.is_grad_enabled() and values.requires_grad:
        rows: Tensor = _AllRows.apply(values, group, tuple(counts))
        return rows
    return group.gather(values, counts)


def for_each_rank(values: Sequence[Tensor], group: RankGroup) -> list[Tensor]:
    """Return whole tensors as each rank uses them for its own rows; their gradients are summed over the ranks."""
    return list(_ForEachRank.apply(group, *values))


def sum_over_ranks(values: Tensor, group: RankGroup) -> Tensor:
    """Return the sum of the tensors of all ranks, as a whole tensor."""
    total: Tensor = _SumOverRanks.apply(group, values)[0]
    return total


def _cut(values: Tensor, group: RankGroup, counts: Sequence[int]) -> Tensor:
    start = sum(counts[: group.rank])
    return values[start : start + counts[group.rank]]


class _OwnRows(Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, group: RankGroup, counts: Sequence[int]) -> Tensor:
        ctx.shared = group, counts
        return _cut(values, group, counts).clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return all_rows(gradients[0], *ctx.shared), None, None


class _AllRows(Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, group: RankGroup, counts: Sequence[int]) -> Tensor:
        ctx.shared = group, counts
        return group.gather(values, counts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return own_rows(gradients[0], *ctx.shared), None, None


class _ForEachRank(Function):
    @staticmethod
    def forward(ctx: Any, group: RankGroup, *values: Tensor) -> tuple[Tensor, ...]:
        ctx.group = group
        ctx.set_materialize_grads(False)
        return tuple(value.view_as(value) for value in values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        known = [gradient for gradient in gradients if gradient is not None]
        summed = iter(_SumOverRanks.apply(ctx.group, *known) if known else ())
        return None, *(None if gradient is None else next(summed) for gradient in gradients)


class _SumOverRanks(Function):
    @staticmethod
    def forward(ctx: Any, group: RankGroup, *values: Tensor) -> tuple[Tensor, ...]:
        ctx.group = group
        ctx.set_materialize_grads(False)
        return tuple(sums(values, group))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        known = [gradient for gradient in gradients if gradient is not None]
        given = iter(_ForEachRank.apply(ctx.group, *known) if known else ())
        return None, *(None if gradient is None else next(given) for gradient in gradients)


def sums(values: Sequence[Tensor], group: RankGroup) -> list[Tensor]:
    """Return the sum over the ranks of each tensor, sent as one message for each type, without gradient."""
    totals: dict[int, Tensor] = {}
    for dtype in dict.fromkeys(value.dtype for value in values):
        numbers = [number for number, value in enumerate(values) if value.dtype == dtype]
        flat = group.sum(torch.cat([values[number].detach().reshape(-1) for number in numbers]))
        parts = torch.split(flat, [values[number].numel() for number in numbers])
        totals |= {number: part.view(values[number].shape) for number, part in zip(numbers, parts, strict=True)}
    return [totals[number] for number in range(len(values))]
