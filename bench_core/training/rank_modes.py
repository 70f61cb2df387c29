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
from torch.autograd import Function
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
    if weight is None:
        weight = input.new_ones(input.shape[1], dtype=_precise(input).dtype)
    if bias is None:
        bias = torch.zeros_like(weight)
    output, mean, variance, count = _BatchNorm.apply(input, weight, bias, eps, group)
    with torch.no_grad():
        if running_mean is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        if running_var is not None:
            unbiased = variance * (count / (count - 1))
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    normed: Tensor = output
    return normed


class _BatchNorm(Function):
    """Batch norm over the rows of all ranks, by torch's kernels; `_normalised` is the same as a formula.

    Moments of the ranks are joined as Chan, Golub and LeVeque join those of two samples, which loses no digits.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, eps: float, group: RankGroup
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        own_variance, own_mean = torch.var_mean(_precise(values), _other_dims(values), correction=0)
        own_count = own_mean.new_full((1,), values.numel() / values.shape[1])
        own = torch.cat([own_mean, own_variance, own_count])
        of_ranks = group.gather(own[None], [1] * group.size)
        means, variances, counts = torch.split(of_ranks, [len(own_mean), len(own_mean), 1], 1)
        count = counts.sum()
        mean = (counts * means).sum(0) / count
        variance = (counts * (variances + (means - mean).square())).sum(0) / count
        output = torch.batch_norm(values, weight, bias, mean, variance, False, 0.0, eps, False)
        ctx.save_for_backward(values, weight, bias, mean, variance, count)
        ctx.eps, ctx.group = eps, group
        ctx.mark_non_differentiable(mean, variance, count)
        return output, mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        values, weight, bias, mean, variance, count = ctx.saved_tensors
        gradient = gradients[0]
        if torch.is_grad_enabled():  # the gradient is to be derived once more
            output = _normalised(values, weight, bias, ctx.eps, ctx.group)
            inputs = [each for each in (values, weight, bias) if each.requires_grad]
            found = iter(torch.autograd.grad(output, inputs, gradient, create_graph=True))
            return *(next(found) if each.requires_grad else None for each in (values, weight, bias)), None, None
        scale = (variance + ctx.eps).rsqrt()
        with_constant_moments, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, values, weight, mean, variance, mean, scale, False, ctx.eps, [True, True, True]
        )
        of_all = ctx.group.sum(torch.stack([of_weight, of_bias])) / count
        by_values = weight * scale * scale * of_all[0]
        constant = weight * scale * of_all[1] - by_values * mean
        shape = [1, -1, *[1] * (values.ndim - 2)]
        of_values = with_constant_moments - (values * by_values.view(shape) + constant.view(shape))
        return of_values.to(values.dtype), of_weight, of_bias, None, None


def _normalised(values: Tensor, weight: Tensor, bias: Tensor, eps: float, group: RankGroup) -> Tensor:
    """Return batch norm over the rows of all ranks, which can be derived any number of times."""
    x, over = _precise(values), _other_dims(values)
    shape = [1, -1, *[1] * (x.ndim - 2)]
    sent = torch.cat([x.sum(over), x.new_full((1,), x.numel() / x.shape[1])])
    received = sum_over_ranks(sent, group)
    count = received[-1].detach()
    [mean] = for_each_rank([received[:-1] / count], group)
    centred = x - mean.view(shape)
    [variance] = for_each_rank([sum_over_ranks(centred.square().sum(over), group) / count], group)
    output = centred * (variance + eps).rsqrt().view(shape) * weight.view(shape) + bias.view(shape)
    return output.to(values.dtype)


def _precise(values: Tensor) -> Tensor:
    """Return values of half precision in float32, others as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def _other_dims(values: Tensor) -> list[int]:
    """Return all dimensions but that of the channels."""
    return [dim for dim in range(values.ndim) if dim != 1]


class _WholeDraws(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own has no types
    """Draws random numbers for the rows of all ranks, and gives each rank its own."""

    def __init__(self, group: RankGroup, counts: Sequence[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.group, self.counts = group, counts

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Answer torch that this needs nothing of its compiler, the import of which takes a second."""
        return False

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
