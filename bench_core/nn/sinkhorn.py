"""Sinkhorn-Knopp: labels for N items in K clusters of equal size, at the least total cost.

Minimises <Q, -log P> + 1/strength KL(Q || 1/(N K)) over Q >= 0 with cluster sums 1/K and item sums 1/N, P a softmax
of logits. The solution Q = diag(b) P^strength diag(a) needs only the two scaling vectors: one additive price log a
for each cluster decides the labels, of these items and of new ones.

Logits may come in blocks of items, kept in float32 or float16: then no N x K matrix of doubles is ever made
(`planned_bytes`), and each pass over the blocks computes their exponentials anew. On a CPU each block is worked on in
parts of a MiB, clusters by items: an iteration reads memory once, and both its products run along it.

All is worked in float64, and in the log domain where exp() leaves its range. Float32 would be safe only while each
item's scores lie within some 40 of each other: the prices then do, too, and their products with exp(scores) stay within
e^80, inside the range of float32. With strength 25 that is a range of 1.6 nats: a network at its start, where few
iterations are needed anyway. Later it fails without a word (tests/bench_core/nn/test_sinkhorn.py), so it is not
offered.

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

_LOOK = 10  # iterations between two looks at the error, as the reference does; each waits for the device
_TIE = 1e-9  # in log Q: closer scores than this differ by rounding only
_WIDER = 2.0  # factor by which mixing may widen the spread of what a step changes
_CACHED = 2**17  # entries of a part of a block, on a CPU: a MiB of doubles
_WORK = 40  # bytes for an entry of the part that is worked on: three doubles, those of the part before it, and room


@dataclass(frozen=True)
class Assignment:
    """Balanced labels, and how they were reached.

    Attributes:
        labels: (N,) int64, argmax of `strength * logits + log_prices`; ties go round the clusters that share them.
        log_prices: (K,) float64, of mean 0; +log a of the problem on the logits as they were given.
        iterations: Updates of the prices.
        converged: Whether `mass_error` fell below the tolerance before the cap.
        domain: "linear", or "log" where exp() left the range of float64.
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
    """Label items so that the clusters are filled equally.

    Soft Q is balanced to the tolerance; its argmax is only nearly so (less, the flatter the logits are).

    Args:
        logits: (N, K), any finite numbers; a constant added to an item or to a cluster changes no label. Or blocks
            (n, K) of them, of any float type, which give the labels of the whole but for rounding.
        strength: lambda > 0, the inverse of the entropy's weight: large is close to the exact assignment, and slow.
        start: (K,) log prices of an earlier, similar problem: the solution is the same, reached in fewer iterations.
        tolerance: On `Assignment.mass_error`.
        max_iterations: Labels agree with the converged ones long before; the cap is reported, not raised.
        mixing: Steps that the next prices are extrapolated from; 0 is the plain iteration, which takes some times as
            many. Both stop within the tolerance, and there a few labels may differ.

    Returns:
        Labels on the device of the logits. Worked in float64, on the CPU where the device has none (MPS).

    Raises:
        ValueError: Logits that are not finite or not a matrix, blocks of different widths, or a strength <= 0.
    """
    blocks = [logits] if isinstance(logits, Tensor) else list(logits)
    if not blocks or any(b.ndim != 2 or 0 in b.shape or b.shape[1] != blocks[0].shape[1] for b in blocks):
        shapes = ", ".join(str(tuple(block.shape)) for block in blocks)
        raise ValueError(f"logits must be (N, K) with N, K >= 1, got {shapes or 'no block'}")
    if not strength > 0:
        raise ValueError(f"strength must be > 0, got {strength}")
    if not all(bool(torch.stack(block.aminmax()).isfinite().all()) for block in blocks):
        bad = sum(int((~torch.isfinite(block)).sum()) for block in blocks)
        raise ValueError(f"logits must be finite, {bad} of {sum(b.numel() for b in blocks)} are not")
    scores = _Scores(blocks, strength)
    domain: Literal["linear", "log"] = "linear"
    first = torch.zeros_like(scores.shift) if start is None else start.to(scores.shift) + scores.shift
    log_a, iterations, error = _linear(scores, first - first.max(), tolerance, max_iterations, _Mixing(mixing))
    if not (math.isfinite(error) and bool(torch.isfinite(log_a).all())):
        domain = "log"
        log_a, iterations, error = _log(scores, first, tolerance, max_iterations, _Mixing(mixing))
    log_prices = log_a - scores.shift
    return Assignment(
        labels=_labels(scores, log_a).to(blocks[0].device),
        log_prices=log_prices - log_prices.mean(),
        iterations=iterations,
        converged=error < tolerance,
        domain=domain,
        mass_error=error,
    )


def transport_plan(logits: Tensor, log_prices: Tensor, strength: float) -> Tensor:
    """The soft assignment Q (N, K) that prices stand for, float64; every item's sum is exactly 1/N."""
    return torch.softmax(strength * logits.double() + log_prices, dim=1) / len(logits)


def halved(logits: Tensor) -> Tensor:
    """Logits (n, K) less their row's maximum, in float16: they stand for the same labels but for rounding.

    The maximum goes first because float16 is exact to 1 in 2,000 of a number's size: what is close to an item's best
    cluster stays exact, and what is 65,504 or more below it is cut there.
    """
    top = logits.amax(1, keepdim=True)
    return (logits - top).clamp_min(torch.finfo(torch.float16).min).half()


def planned_bytes(items: int, clusters: int, block_rows: int | None = None, half: bool = False) -> int:
    """What one call of `sinkhorn` holds at most on a CPU.

    Its blocks, the exponentials of a single one, the work on a part of it, and vectors over items and clusters. Bytes
    of tensors; an allocator may keep gaps besides, of small blocks more than of large ones.

    Args:
        items: N.
        clusters: K.
        block_rows: Items in a block; None is one block of all.
        half: Whether blocks are float16 (`halved`); else float32.
    """
    rows = min(block_rows or items, items)
    part = min(rows, _cached_rows(clusters))
    kept = items * clusters * 8 if rows == items else 0
    vectors = 8 * (4 * items + (-(-rows // part) * -(-items // rows) + 8) * clusters)
    return items * clusters * (2 if half else 4) + kept + part * clusters * _WORK + vectors


def _cached_rows(clusters: int) -> int:
    return max(1, _CACHED // clusters)


class _Scores:
    """Strength times log p, part by part: (K, n) float64, the same at every pass.

    The normaliser of the softmax goes with the item's maximum, then the cluster's maximum goes: the two shifts change
    no label and keep exp() in range where a cluster is far from all items.
    """

    def __init__(self, blocks: Sequence[Tensor], strength: float) -> None:
        device, clusters = blocks[0].device, blocks[0].shape[1]
        rows = _cached_rows(clusters) if device.type == "cpu" else max(len(block) for block in blocks)
        self._parts = [part.detach() for block in blocks for part in torch.split(block, rows)]
        self._strength, self._device = strength, torch.device("cpu") if device.type == "mps" else device
        self.shift = torch.zeros(clusters, dtype=torch.float64, device=self._device)
        self._made = list(self) if len(blocks) == 1 else None
        self.shift = torch.stack([scores.amax(1) for scores in self._made or self]).amax(0)  # (K,)

    @property
    def num_items(self) -> int:
        return sum(len(part) for part in self._parts)

    def kept_exponentials(self) -> list[Tensor] | None:
        """Of a single block, all parts; may be asked for once. None where there are several."""
        made, self._made = self._made, None
        return None if made is None else [scores.sub_(self.shift[:, None]).exp_() for scores in made]

    def __iter__(self) -> Iterator[Tensor]:
        for part in self._parts:
            scores = part.T.contiguous().to(self._device, torch.float64) * self._strength
            scores -= scores.amax(0)
            yield scores.sub_(self.shift[:, None])


class _Mixing:
    """Anderson's extrapolation of log prices from the last plain steps.

    A plain step never widens the spread of what it changes. Where mixing widens it much, or leaves the range of
    numbers, what it remembers is dropped, and plain steps are taken from the last good prices, twice as many each time:
    the hardest problems take about as many iterations as without it.
    """

    def __init__(self, memory: int) -> None:
        self.memory, self._spread, self._good = memory, math.inf, torch.empty(0)
        self._rest = self._next_rest = 1  # plain steps still to take, and after the next failure
        self._past = deque[tuple[Tensor, Tensor]](maxlen=memory + 1)  # where plain steps led, and what they changed

    @property
    def can_return(self) -> bool:
        return len(self._past) > 0

    def next(self, log_a: Tensor, plain: Tensor) -> Tensor:
        """The prices (K,) to go on with, where a plain step leads from log_a to plain."""
        step = plain - log_a
        spread = float(step.max() - step.min())
        if self.can_return and not spread < _WIDER * self._spread:  # NaN is wider, too
            self._past.clear()
            self._next_rest *= 2
            self._rest = self._next_rest
            return self._good
        if self._rest:
            self._rest -= 1
            return plain
        self._past.append((plain, step))
        self._spread, self._good = spread, plain
        images, steps = (torch.stack(each, 1) for each in zip(*self._past, strict=True))
        if len(self._past) == 1:
            return plain
        weights: Tensor = torch.linalg.pinv(steps.diff(dim=1), rtol=1e-8) @ step
        return plain - images.diff(dim=1) @ weights


def _linear(
    scores: _Scores, log_a: Tensor, tolerance: float, max_iterations: int, mixing: _Mixing
) -> tuple[Tensor, int, float]:
    """Two matrix-vector products an iteration; log a (K,), iterations, error (not finite on over- or underflow)."""
    a, n, k = log_a.exp(), scores.num_items, len(log_a)
    kept = scores.kept_exponentials()
    for iteration in range(max_iterations + 1):
        kernels = kept or (part.exp_() for part in scores)
        reach = torch.stack([kernel @ (a @ kernel).mul_(n).reciprocal_() for kernel in kernels]).sum(
            0
        )  # b is in the brackets
        if mixing.memory or iteration % _LOOK == 0 or iteration == max_iterations:
            error = float((k * a * reach - 1).abs().max())
            lost = not error < math.inf and not mixing.can_return  # NaN is lost, too
            if error < tolerance or lost or iteration == max_iterations:
                break
        a = mixing.next(a.log(), -(k * reach).log()).exp() if mixing.memory else 1 / (k * reach)
    return a.log(), iteration, error


def _log(
    scores: _Scores, log_a: Tensor, tolerance: float, max_iterations: int, mixing: _Mixing
) -> tuple[Tensor, int, float]:
    """The same iteration on logarithms: never out of range, some 50 times slower."""
    log_n, log_k = math.log(scores.num_items), math.log(len(log_a))
    for iteration in range(max_iterations + 1):
        reaches = []
        for part in scores:
            log_b = -log_n - torch.logsumexp(part + log_a[:, None], dim=0)
            reaches.append(torch.logsumexp(part.add_(log_b), dim=1))
        log_reach = torch.logsumexp(torch.stack(reaches), dim=0)
        if mixing.memory or iteration % _LOOK == 0 or iteration == max_iterations:
            error = float((log_k + log_a + log_reach).expm1().abs().max())
            if error < tolerance or iteration == max_iterations:
                break
        plain = -log_k - log_reach
        log_a = mixing.next(log_a, plain) if mixing.memory else plain
    return log_a, iteration, error


def _labels(scores: _Scores, log_a: Tensor) -> Tensor:
    """Argmax over clusters (N,); items that tie take turns, so that a constant head does not fill one cluster."""
    labels, before = [], 0
    numbers = torch.arange(len(log_a), dtype=torch.float32, device=log_a.device)
    ask = torch.stack([numbers, torch.ones_like(numbers)])
    for part in scores:
        tied = part.add_(log_a[:, None]) >= part.amax(0) - _TIE
        total, count = ask @ tied.float()  # of the numbers of the clusters that tie: its own, where there is but one
        label, several = total.long(), (count > 1).nonzero()[:, 0]
        mine = tied[:, several]
        turn = (before + several) % mine.sum(0)
        label[several] = (mine & (mine.cumsum(0) == turn + 1)).int().argmax(0)
        labels.append(label)
        before += len(label)
    return torch.cat(labels)
