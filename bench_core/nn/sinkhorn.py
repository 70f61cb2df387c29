"""Sinkhorn-Knopp: label N items with K clusters of equal size, at the least total cost.

Minimises <Q, -log P> + 1/strength KL(Q || 1/(N K)) over Q >= 0 with cluster sums 1/K and item sums 1/N; P is the
softmax of the logits. The solution Q = diag(b) P^strength diag(a) needs only the two scaling vectors. One additive
price log a for each cluster decides the labels, of these items and of new ones.

Memory: logits may come in blocks of items, in float32 or float16. Then there is never an N x K matrix of doubles
(`planned_bytes`); each pass over the blocks computes their exponentials again. On a CPU a block is processed in parts
of a MiB, stored clusters by items: an iteration reads memory once, and both its products run along the memory.

Precision: all is computed in float64, and in the log domain where exp() leaves the range of float64. Float32 would be
safe only while the scores of each item lie within about 40 of each other: the prices then do, too, and their products
with exp(scores) stay within e^80, inside the range of float32. With strength 25 this is a range of 1.6 nats, that of an
untrained network, for which few iterations are needed anyway. Later float32 gives wrong labels without an error
(tests/bench_core/nn/test_sinkhorn.py), so it is not offered.

Paper: Cuturi, NeurIPS 2013, https://arxiv.org/abs/1306.0895; as used by Asano et al., ICLR 2020 (SeLa) and by
       Caron et al., NeurIPS 2020 (SwAV, where epsilon = 1 / strength). Mixing: Anderson, JACM 1965; Walker, Ni, SIAM
       Journal on Numerical Analysis 2011.
Shapes: N items in blocks of n, K clusters.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

_CHECK_EVERY = 10  # iterations between two checks of the error, as in the reference; a check waits for the device
_TIE = 1e-9  # in log Q: scores that are closer than this differ by rounding only
_WIDER = 2.0  # factor by which mixing may widen the spread of the changes of a step
_PART_ENTRIES = 2**17  # entries of a part of a block on a CPU: a MiB of doubles, which fits into the CPU's cache
_WORK_BYTES = 40  # for an entry of the part in work: three doubles, the part before it, and a reserve


@dataclass(frozen=True)
class Assignment:
    """Balanced labels, and how the iteration ended.

    Attributes:
        labels: (N,) int64, argmax of `strength * logits + log_prices`. Items with several best clusters take them
            in turn.
        log_prices: (K,) float64 with mean 0; +log a of the problem with the logits as they were given.
        iterations: Number of updates of the prices.
        converged: True if `mass_error` fell below the tolerance within `max_iterations`.
        domain: "linear", or "log" if exp() left the range of float64.
        mass_error: max_y |K sum_i Q_iy - 1|. Item sums are exact.
    """

    labels: Tensor
    log_prices: Tensor
    iterations: int
    converged: bool
    domain: Literal["linear", "log"]
    mass_error: float


def sinkhorn(
    logits: Tensor | Sequence[Tensor],
    strength: float,
    *,
    start: Tensor | None = None,
    tolerance: float = 1e-3,
    max_iterations: int = 2000,
    mixing: int = 0,
) -> Assignment:
    """Label items so that all clusters get the same number of items.

    The soft assignment Q is balanced up to the tolerance. Its argmax is balanced only approximately, less so for flat
    logits.

    Args:
        logits: (N, K), any finite numbers, or a list of blocks (n, K) of any float type, which give the same labels up
            to rounding. A constant added to an item or to a cluster changes no label.
        strength: lambda > 0, the inverse of the weight of the entropy. A large one is close to the exact assignment,
            and slow.
        start: (K,) log prices of an earlier, similar problem. The solution is the same, in fewer iterations.
        tolerance: Upper limit of `Assignment.mass_error`.
        max_iterations: Where it is reached, `converged` is False and no error is raised: labels agree with the
            converged ones long before.
        mixing: Number of past steps from which the next prices are extrapolated. 0 is the plain iteration, which needs
            several times as many steps. Both stop within the tolerance; a few labels may differ between them.

    Returns:
        Labels on the device of the logits. The computation is in float64, on the CPU if the device has none (MPS).

    Raises:
        ValueError: Logits are not finite or not a matrix, blocks have different widths, or the strength is <= 0.
    """
    blocks = [logits] if isinstance(logits, Tensor) else list(logits)
    _require_valid(blocks, strength)
    scores = _Scores(blocks, strength)
    domain: Literal["linear", "log"] = "linear"
    log_a0 = torch.zeros_like(scores.shift) if start is None else start.to(scores.shift) + scores.shift
    log_a, iterations, error = _linear(scores, log_a0 - log_a0.max(), tolerance, max_iterations, _Mixing(mixing))
    if not (math.isfinite(error) and bool(torch.isfinite(log_a).all())):
        domain = "log"
        log_a, iterations, error = _log(scores, log_a0, tolerance, max_iterations, _Mixing(mixing))
    log_prices = log_a - scores.shift
    return Assignment(
        labels=_labels(scores, log_a).to(blocks[0].device),
        log_prices=log_prices - log_prices.mean(),
        iterations=iterations,
        converged=error < tolerance,
        domain=domain,
        mass_error=error,
    )


def _require_valid(blocks: Sequence[Tensor], strength: float) -> None:
    """Raise ValueError for logits or a strength that `sinkhorn` cannot take."""
    if not blocks or any(b.ndim != 2 or 0 in b.shape or b.shape[1] != blocks[0].shape[1] for b in blocks):
        shapes = ", ".join(str(tuple(block.shape)) for block in blocks)
        raise ValueError(f"logits must be (N, K) with N, K >= 1, got {shapes or 'no block'}")
    if not strength > 0:
        raise ValueError(f"strength must be > 0, got {strength}")
    if not all(bool(torch.stack(block.aminmax()).isfinite().all()) for block in blocks):
        num_bad = sum(int((~torch.isfinite(block)).sum()) for block in blocks)
        raise ValueError(f"logits must be finite, {num_bad} of {sum(b.numel() for b in blocks)} are not")


def halved(logits: Tensor) -> Tensor:
    """Return logits (n, K) minus the maximum of their row, in float16; they give the same labels up to rounding.

    The maximum is subtracted first because float16 is exact to 1 in 2,000 of a number's size. So logits close to an
    item's best cluster stay exact, and those more than 65,504 below it are clamped there.
    """
    top = logits.amax(1, keepdim=True)
    return (logits - top).clamp_min(torch.finfo(torch.float16).min).half()


def planned_bytes(items: int, clusters: int, block_rows: int | None = None, half: bool = False) -> int:
    """Return the bytes of tensors that a call of `sinkhorn` holds at most on a CPU.

    They are the blocks, the exponentials if there is a single block, the work on one part, and vectors over items and
    clusters. The allocator may need more, and for small blocks more than for large ones.

    Args:
        items: N.
        clusters: K.
        block_rows: Items in a block; None is one block with all items.
        half: True for blocks in float16 (`halved`), False for float32.
    """
    rows = min(block_rows or items, items)
    part = min(rows, _rows_of_part(clusters))
    exponentials = items * clusters * 8 if rows == items else 0
    vectors = 8 * (4 * items + (-(-rows // part) * -(-items // rows) + 8) * clusters)
    return items * clusters * (2 if half else 4) + exponentials + part * clusters * _WORK_BYTES + vectors


def _rows_of_part(clusters: int) -> int:
    return max(1, _PART_ENTRIES // clusters)


class _Scores:
    """Scores `strength * log p` in parts (K, n) float64; each iteration over this object yields the same parts.

    The maximum of each item is subtracted, and with it the normaliser of the softmax, then the maximum of each
    cluster. The two shifts change no label, and keep exp() in range where a cluster is far from all items.

    Attributes:
        shift: (K,) maximum of each cluster.
    """

    def __init__(self, blocks: Sequence[Tensor], strength: float) -> None:
        device, clusters = blocks[0].device, blocks[0].shape[1]
        rows = _rows_of_part(clusters) if device.type == "cpu" else max(len(block) for block in blocks)
        self._parts = [part.detach() for block in blocks for part in torch.split(block, rows)]
        self._strength, self._device = strength, torch.device("cpu") if device.type == "mps" else device
        self.shift = torch.zeros(clusters, dtype=torch.float64, device=self._device)
        # Of a single block all scores are kept; `kept_exponentials` takes them over.
        self._kept = list(self) if len(blocks) == 1 else None
        self.shift = torch.stack([scores.amax(1) for scores in self._kept or self]).amax(0)  # (K,)

    @property
    def num_items(self) -> int:
        """Return N."""
        return sum(len(part) for part in self._parts)

    def kept_exponentials(self) -> list[Tensor] | None:
        """Return the exponentials of all scores if there is a single block, else None.

        The scores are overwritten, so a second call returns None.
        """
        kept, self._kept = self._kept, None
        return None if kept is None else [scores.sub_(self.shift[:, None]).exp_() for scores in kept]

    def __iter__(self) -> Iterator[Tensor]:
        for part in self._parts:
            scores = part.T.contiguous().to(self._device, torch.float64) * self._strength
            scores -= scores.amax(0)
            yield scores.sub_(self.shift[:, None])


class _Mixing:
    """Anderson's extrapolation of log prices from the last plain steps.

    A plain step never widens the spread of its changes over clusters. Where mixing widens it much, or gives NaN, the
    past steps are forgotten and plain steps are taken from the last good prices, twice as many each time. So
    the hardest problems need about as many iterations as without mixing.
    """

    def __init__(self, memory: int) -> None:
        self.memory, self._spread, self._good = memory, math.inf, torch.empty(0)
        self._plain_steps = self._next_plain_steps = 1  # still to take, and to take after the next failure
        self._past = deque[tuple[Tensor, Tensor]](maxlen=memory + 1)  # prices after a plain step, and its changes

    @property
    def can_return(self) -> bool:
        """Return True if there are good prices to return to."""
        return len(self._past) > 0

    def next(self, log_a: Tensor, plain: Tensor) -> Tensor:
        """Return the prices (K,) for the next iteration, where a plain step leads from log_a to plain."""
        step = plain - log_a
        spread = float(step.max() - step.min())
        if self.can_return and not spread < _WIDER * self._spread:  # NaN is wider, too
            self._past.clear()
            self._next_plain_steps *= 2
            self._plain_steps = self._next_plain_steps
            return self._good
        if self._plain_steps:
            self._plain_steps -= 1
            return plain
        self._past.append((plain, step))
        self._spread, self._good = spread, plain
        prices, steps = (torch.stack(column, 1) for column in zip(*self._past, strict=True))
        if len(self._past) == 1:
            return plain
        weights: Tensor = torch.linalg.pinv(steps.diff(dim=1), rtol=1e-8) @ step
        return plain - prices.diff(dim=1) @ weights


def _linear(
    scores: _Scores, log_a: Tensor, tolerance: float, max_iterations: int, mixing: _Mixing
) -> tuple[Tensor, int, float]:
    """Iterate on a and b, with two matrix-vector products an iteration.

    Returns:
        log a (K,), iterations, and the error, which is not finite after an overflow or underflow.
    """
    a, n, k = log_a.exp(), scores.num_items, len(log_a)
    kept = scores.kept_exponentials()
    for iteration in range(max_iterations + 1):
        kernels = kept or (part.exp_() for part in scores)
        # b = 1 / (n * (a @ kernel)); `reach` is kernel @ b, summed over the parts.
        reach = torch.stack([kernel @ (a @ kernel).mul_(n).reciprocal_() for kernel in kernels]).sum(0)
        if mixing.memory or iteration % _CHECK_EVERY == 0 or iteration == max_iterations:
            error = float((k * a * reach - 1).abs().max())
            out_of_range = not error < math.inf and not mixing.can_return  # true for NaN, too
            if error < tolerance or out_of_range or iteration == max_iterations:
                break
        a = mixing.next(a.log(), -(k * reach).log()).exp() if mixing.memory else 1 / (k * reach)
    return a.log(), iteration, error


def _log(
    scores: _Scores, log_a: Tensor, tolerance: float, max_iterations: int, mixing: _Mixing
) -> tuple[Tensor, int, float]:
    """Do the iteration of `_linear` on logarithms: never out of range, about 50 times slower."""
    log_n, log_k = math.log(scores.num_items), math.log(len(log_a))
    for iteration in range(max_iterations + 1):
        reaches = []
        for part in scores:
            log_b = -log_n - torch.logsumexp(part + log_a[:, None], dim=0)
            reaches.append(torch.logsumexp(part.add_(log_b), dim=1))
        log_reach = torch.logsumexp(torch.stack(reaches), dim=0)
        if mixing.memory or iteration % _CHECK_EVERY == 0 or iteration == max_iterations:
            error = float((log_k + log_a + log_reach).expm1().abs().max())
            if error < tolerance or iteration == max_iterations:
                break
        plain = -log_k - log_reach
        log_a = mixing.next(log_a, plain) if mixing.memory else plain
    return log_a, iteration, error


def _labels(scores: _Scores, log_a: Tensor) -> Tensor:
    """Return the best cluster of each item, (N,).

    Items with several best clusters take them in turn, so that constant logits do not put all items into one cluster.
    """
    labels, num_before = [], 0
    indices = torch.arange(len(log_a), dtype=torch.float32, device=log_a.device)
    index_and_one = torch.stack([indices, torch.ones_like(indices)])
    for part in scores:
        tied = part.add_(log_a[:, None]) >= part.amax(0) - _TIE
        # Sum of the indices of an item's best clusters, and their count: with one best cluster, the sum is its index.
        index_sum, count = index_and_one @ tied.float()
        label, several = index_sum.long(), (count > 1).nonzero()[:, 0]
        candidates = tied[:, several]
        turn = (num_before + several) % candidates.sum(0)
        label[several] = (candidates & (candidates.cumsum(0) == turn + 1)).int().argmax(0)
        labels.append(label)
        num_before += len(label)
    return torch.cat(labels)
