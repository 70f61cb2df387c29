"""Sinkhorn-Knopp: labels for N items in K clusters of equal size, at the least total cost.

Minimises <Q, -log P> + 1/strength KL(Q || 1/(N K)) over Q >= 0 with cluster sums 1/K and item sums 1/N, P a softmax
of logits. The solution Q = diag(b) P^strength diag(a) needs only the two scaling vectors: one additive price log a
for each cluster decides the labels, of these items and of new ones.

Paper: Cuturi, NeurIPS 2013, https://arxiv.org/abs/1306.0895; as used by Asano et al., ICLR 2020 (SeLa) and by
       Caron et al., NeurIPS 2020 (SwAV, where epsilon = 1 / strength).
Shapes: N items, K clusters.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

_LOOK = 10  # iterations between two looks at the error, as the reference does; each waits for the device
_TIE = 1e-9  # in log Q: closer scores than this differ by rounding only


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
    logits: Tensor,
    strength: float,
    *,
    start: Tensor | None = None,
    tolerance: float = 1e-3,
    max_iterations: int = 2000,
) -> Assignment:
    """Label items so that the clusters are filled equally.

    Soft Q is balanced to the tolerance; its argmax is only nearly so (less, the flatter the logits are).

    Args:
        logits: (N, K), any finite numbers; a constant added to an item or to a cluster changes no label.
        strength: lambda > 0, the inverse of the entropy's weight: large is close to the exact assignment, and slow.
        start: (K,) log prices of an earlier, similar problem: the solution is the same, reached in fewer iterations.
        tolerance: On `Assignment.mass_error`.
        max_iterations: Labels agree with the converged ones long before; the cap is reported, not raised.

    Returns:
        Labels on the device of the logits. Worked in float64, on the CPU where the device has none (MPS).

    Raises:
        ValueError: Logits that are not finite or not a matrix, or a strength <= 0.
    """
    if logits.ndim != 2 or 0 in logits.shape:
        raise ValueError(f"logits must be (N, K) with N, K >= 1, got {tuple(logits.shape)}")
    if not strength > 0:
        raise ValueError(f"strength must be > 0, got {strength}")
    bad = int((~torch.isfinite(logits)).sum())
    if bad:
        raise ValueError(f"logits must be finite, {bad} of {logits.numel()} are not")
    device = torch.device("cpu") if logits.device.type == "mps" else logits.device
    # Strength times log p; the normaliser of the softmax goes with the row maximum. The two shifts change no label
    # and keep exp() in range where a cluster is far from all items.
    scores = strength * logits.detach().to(device).double()
    scores -= scores.amax(1, keepdim=True)
    shift = scores.amax(0)
    scores -= shift
    domain: Literal["linear", "log"] = "linear"
    first = scores.new_zeros(scores.shape[1]) if start is None else start.to(device).double() + shift
    log_a, iterations, error = _linear(scores, first - first.max(), tolerance, max_iterations)
    if not (math.isfinite(error) and bool(torch.isfinite(log_a).all())):
        domain = "log"
        log_a, iterations, error = _log(scores, first, tolerance, max_iterations)
    log_prices = log_a - shift
    return Assignment(
        labels=_argmax(scores + log_a).to(logits.device),
        log_prices=log_prices - log_prices.mean(),
        iterations=iterations,
        converged=error < tolerance,
        domain=domain,
        mass_error=error,
    )


def transport_plan(logits: Tensor, log_prices: Tensor, strength: float) -> Tensor:
    """The soft assignment Q (N, K) that prices stand for, float64; every item's sum is exactly 1/N."""
    return torch.softmax(strength * logits.double() + log_prices, dim=1) / len(logits)


def _linear(scores: Tensor, log_a: Tensor, tolerance: float, max_iterations: int) -> tuple[Tensor, int, float]:
    """Two matrix-vector products an iteration; log a (K,), iterations, error (not finite on over- or underflow)."""
    kernel, a = scores.exp(), log_a.exp()
    n, k = kernel.shape
    for iteration in range(max_iterations + 1):
        b = 1 / (n * (kernel @ a))
        reach = kernel.T @ b
        if iteration % _LOOK == 0 or iteration == max_iterations:
            error = float((k * a * reach - 1).abs().max())
            if not tolerance <= error < math.inf or iteration == max_iterations:  # NaN leaves too
                break
        a = 1 / (k * reach)
    return a.log(), iteration, error


def _log(scores: Tensor, log_a: Tensor, tolerance: float, max_iterations: int) -> tuple[Tensor, int, float]:
    """The same iteration on logarithms: never out of range, some 50 times slower."""
    log_n, log_k = math.log(scores.shape[0]), math.log(scores.shape[1])
    for iteration in range(max_iterations + 1):
        log_b = -log_n - torch.logsumexp(scores + log_a, dim=1, keepdim=True)
        log_reach = torch.logsumexp(scores + log_b, dim=0)
        if iteration % _LOOK == 0 or iteration == max_iterations:
            error = float((log_k + log_a + log_reach).expm1().abs().max())
            if error < tolerance or iteration == max_iterations:
                break
        log_a = -log_k - log_reach
    return log_a, iteration, error


def _argmax(scores: Tensor) -> Tensor:
    """Argmax over clusters (N,); items that tie take turns, so that a constant head does not fill one cluster."""
    tied = scores >= scores.amax(1, keepdim=True) - _TIE
    turn = torch.arange(len(scores), device=scores.device) % tied.sum(1)
    return (tied & (tied.cumsum(1) == turn[:, None] + 1)).int().argmax(1)
