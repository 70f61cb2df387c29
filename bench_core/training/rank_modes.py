"""Batch norm and random numbers over the rows of all ranks, for encoders of which each rank computes some rows.

    with whole_batch(group, counts):
        features = encoder(own_rows)

Batch norm in training takes its moments over all rows. Random layers draw for the whole batch, in every rank alike, and
take their own rows, so that dropout drops what it would in one process.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from bench_core.errors import CheckError
from bench_core.training.rank_group import RankGroup
from bench_core.training.rank_rows import for_each_rank, own_rows, sum_over_ranks

_BY_PROBABILITIES = ("bernoulli", "normal", "multinomial", "poisson", "binomial")  # draws whose arguments have rows


@contextmanager
def whole_batch(group: RankGroup, counts: Sequence[int]) -> Iterator[None]:
    """Compute batch norm over the rows of all ranks, and draw random numbers for all rows, in this block.

    Args:
        group: The ranks.
        counts: Number of rows of each.
    """
    with _WholeBatchNorm(group), _WholeDraws(group, counts):
        yield


class _WholeBatchNorm(TorchFunctionMode):
    """Takes the place of `torch.nn.functional.batch_norm` in training."""

    def __init__(self, group: RankGroup) -> None:
        super().__init__()
        self.group = group

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is not F.batch_norm:
            return func(*args, **(kwargs or {}))
        given = dict(zip(("input", *_BATCH_NORM), args, strict=False)) | dict(kwargs or {})
        values = {**_BATCH_NORM, **given}
        if not values["training"]:
            return func(*args, **(kwargs or {}))
        return batch_norm(self.group, **values)


_BATCH_NORM: Mapping[str, Any] = {  # arguments of `torch.nn.functional.batch_norm` after its input
    "running_mean": None, "running_var": None, "weight": None, "bias": None,
    "training": False, "momentum": 0.1, "eps": 1e-5,
}  # fmt: skip


def batch_norm(
    group: RankGroup,
    input: Tensor,  # torch's name
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """Normalise by the moments of all ranks' rows, and move the running moments, as torch does for one process.

    Args:
        group: The ranks.
        input: Own rows (n, C, ...).
        running_mean: As for `torch.nn.functional.batch_norm`; so are the others.
        running_var: Moved towards the unbiased variance.
        weight: Scale (C,) of the normalised values.
        bias: Added (C,) to them.
        training: True.
        momentum: Part of the running moments that is replaced.
        eps: Added to the variance.
    """
    x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
    over = [dim for dim in range(x.ndim) if dim != 1]
    shape = [1, -1, *[1] * (x.ndim - 2)]
    channels = x.shape[1]
    sent = torch.cat([x.sum(over), x.new_tensor([x.numel() / channels])])
    received = sum_over_ranks(sent, group)
    count = received[-1].detach()
    [mean] = for_each_rank([received[:-1] / count], group)
    centred = x - mean.view(shape)
    [variance] = for_each_rank([sum_over_ranks(centred.square().sum(over), group) / count], group)
    output = centred * (variance + eps).rsqrt().view(shape)
    if weight is not None:
        output = output * weight.view(shape)
    if bias is not None:
        output = output + bias.view(shape)
    with torch.no_grad():
        if running_mean is not None:
            running_mean.mul_(1 - momentum).add_(mean.to(running_mean.dtype), alpha=momentum)
        if running_var is not None:
            unbiased = variance * (count / (count - 1))
            running_var.mul_(1 - momentum).add_(unbiased.to(running_var.dtype), alpha=momentum)
    return output.to(input.dtype)


class _WholeDraws(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own has no types
    """Draws random numbers for the rows of all ranks, and gives each rank its own."""

    def __init__(self, group: RankGroup, counts: Sequence[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.group, self.counts = group, counts

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        name, first = func.overloadpacket.__name__, args[0] if args else None
        if not isinstance(first, Tensor):
            return self._made(func, args, kwargs)
        if first.ndim == 0:
            return func(*args, **kwargs)
        lengths = self._lengths(len(first))
        if lengths is None:
            return func(*args, **kwargs)
        if name == "native_dropout":
            dropped, mask = func(_like(first, sum(lengths)).fill_(1), *args[1:], **kwargs)
            return first * own_rows(dropped, self.group, lengths), own_rows(mask, self.group, lengths)
        if name.endswith("_like"):
            return own_rows(func(_like(first, sum(lengths)), *args[1:], **kwargs), self.group, lengths)
        if name.endswith("_") and not any(isinstance(value, Tensor) for value in args[1:]):
            return first.copy_(own_rows(func(_like(first, sum(lengths)), *args[1:], **kwargs), self.group, lengths))
        if name in _BY_PROBABILITIES:
            return self._by_probabilities(func, args, kwargs, lengths)
        if _drops_nothing(func, args, kwargs):
            return func(*args, **kwargs)
        raise CheckError(
            f"{func} draws random numbers in a way that ranks cannot share out by rows; set shares_rows = False in "
            "the encoder, or train with --ranks 1."
        )

    def _lengths(self, own: int) -> list[int] | None:
        """Return the length of the first dimension on each rank, or None if it has nothing to do with the rows.

        It has if the lengths are in proportion to the rows, as of tokens, or if they differ, as numbers of nodes do.
        """
        lengths = self.group.counts(own)
        for_each = lengths[0] // self.counts[0]  # such as tokens of each row
        of_rows = for_each > 0 and lengths == [for_each * count for count in self.counts]
        return lengths if of_rows or len(set(lengths)) > 1 else None

    def _made(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Draw a new tensor, whose size is among the arguments."""
        position = next((number for number, value in enumerate(args) if isinstance(value, list | tuple)), None)
        if position is None or not args[position]:
            return func(*args, **kwargs)
        size = list(args[position])
        lengths = self._lengths(size[0])
        if lengths is None:
            return func(*args, **kwargs)
        size[0] = sum(lengths)
        return own_rows(func(*args[:position], size, *args[position + 1 :], **kwargs), self.group, lengths)

    def _by_probabilities(
        self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], lengths: Sequence[int]
    ) -> Any:
        """Draw by parameters that the rows have: all ranks' parameters are gathered, and the draws are the whole's."""

        def whole(value: Any) -> Any:
            has_rows = isinstance(value, Tensor) and value.ndim > 0 and len(value) == lengths[self.group.rank]
            return self.group.gather(value, lengths) if has_rows else value

        drawn = own_rows(func(*map(whole, args), **kwargs), self.group, lengths)
        return args[0].copy_(drawn) if func.overloadpacket.__name__.endswith("_") else drawn


def _like(values: Tensor, length: int) -> Tensor:
    """Return an empty tensor of another length, with the same memory layout: the order of the draws follows it."""
    size = (length, *values.shape[1:])
    format_ = torch.contiguous_format
    if values.ndim == 4 and not values.is_contiguous() and values.is_contiguous(memory_format=torch.channels_last):
        format_ = torch.channels_last
    return torch.empty(size, dtype=values.dtype, device=values.device, memory_format=format_)


def _drops_nothing(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Return True for a fused attention that drops nothing: then it draws nothing."""
    names = [argument.name for argument in func._schema.arguments]
    given = dict(zip(names, args, strict=False)) | dict(kwargs)
    return "dropout_p" in names and not given.get("dropout_p")
