"""Measure Sinkhorn-Knopp against lightly, POT and NumPy: `python -m benchmarks.sinkhorn [--save]`.

All run to the same marginal error. The NumPy form is the one of the self-label repository, written anew from what it
computes: clusters by items in float64, two products of the matrix with a vector an iteration. lightly's is SwAV's: the
matrix is normalised in place.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import ot
import torch
import torch.nn.functional as F
from lightly.loss.swav_loss import sinkhorn as lightly_sinkhorn
from torch import Tensor

from bench_core.nn.sinkhorn import sinkhorn
from benchmarks.contest import Contender, Contest, Goal, main

Array = npt.NDArray[Any]
_ERROR = 1e-3  # largest relative error of a cluster's sum
_STRENGTH = 25.0  # SeLa's; 1 / epsilon in SwAV's terms, which has 20
_MIXING = 8  # steps that ours extrapolates from
_FIXED = 50  # iterations, where cost is measured as clusters grow


def contests(items: int = 50_000, clusters: int = 128, dims: int = 64) -> Sequence[Contest]:
    """Return two contests: from cosines of clustered features with prototypes to labels, and growth with clusters.

    The peers get the number of steps that they need, because they do not stop on their own.
    """
    logits = _cosines(items, clusters, dims)
    steps = _steps(logits)
    plans: dict[str, Callable[[], Tensor]] = {
        "lightly (SwAV), float32": lambda: lightly_sinkhorn(logits, steps, 1 / _STRENGTH) / items,
        "POT ot.sinkhorn, float64": lambda: torch.from_numpy(_pot(logits, steps)),
        "self-label's form in NumPy, float64": lambda: torch.from_numpy(_scaled(logits, steps)),
    }
    ours_plain = sinkhorn(logits, _STRENGTH, tolerance=_ERROR)
    notes = [f"ours takes {ours_plain.iterations} iterations (it checks every 10), the peers run {steps}"]
    for name, plan in plans.items():
        error = float((clusters * plan().double().sum(0) - 1).abs().max())
        same = float((plan().argmax(1) == ours_plain.labels).double().mean())
        if error > 1.01 * _ERROR or same < 1 - max(1e-3, 5 / items):
            raise AssertionError(f"{name}: an error of {error}, {same:.2%} of the labels as ours")
        notes.append(f"{name}: error {error:.1e}, {same:.3%} of the labels as ours ({ours_plain.mass_error:.1e})")
    mixed = sinkhorn(logits, _STRENGTH, tolerance=_ERROR, mixing=_MIXING)
    same = float((mixed.labels == ours_plain.labels).double().mean())
    if not mixed.converged or same < 1 - max(1e-3, 5 / items):
        raise AssertionError(f"mixing: an error of {mixed.mass_error}, {same:.2%} of the labels")
    notes.append(f"mixed: {mixed.iterations} iterations, {same:.3%} of the labels of the plain iteration")
    notes.append(
        "what limits the speed: an iteration of ours reads the matrix of doubles once, from memory; lightly passes "
        "several times over floats, which a cache of 32 MiB holds. With mixing some two fifths of the time are not "
        "iterations but exponentials, maxima and labels in float64. float32 is faster and fails without a message on "
        "logits of a trained network (bench_core.nn.sinkhorn)"
    )
    plain, ours = "ours, plain iteration", f"ours, mixing = {_MIXING}"
    sizes = [clusters // 4, clusters, 4 * clusters]
    return [
        Contest(
            f"Sinkhorn-Knopp, {items:,} x {clusters}: labels at a marginal error of {_ERROR:g}",
            [
                Contender(ours, lambda: sinkhorn(logits, _STRENGTH, tolerance=_ERROR, mixing=_MIXING).labels),
                Contender(plain, lambda: sinkhorn(logits, _STRENGTH, tolerance=_ERROR).labels),
                *(Contender(name, partial(_labels, plan)) for name, plan in plans.items()),
            ],
            [
                *(Goal(ours, name, ratio) for name, ratio in zip(plans, (2.5, 2.0, 1.0), strict=True)),
                *(Goal(plain, name, ratio) for name, ratio in zip(plans, (2.5, 2.0, 1.0), strict=True)),
            ],
            notes,
        ),
        Contest(
            f"Sinkhorn-Knopp as clusters grow: {items:,} items, {_FIXED} iterations",
            [Contender(f"{size} clusters", partial(_run, _cosines(items, size, dims))) for size in sizes],
            sizes=sizes,
        ),
    ]


def _labels(plan: Callable[[], Tensor]) -> Tensor:
    return plan().argmax(1)


def _run(logits: Tensor) -> None:
    sinkhorn(logits, _STRENGTH, tolerance=1e-15, max_iterations=_FIXED)


def _cosines(items: int, clusters: int, dims: int) -> Tensor:
    """Return cosines (N, K) of items in unequal clusters with prototypes; these are items, as after k-means++."""
    rng = torch.Generator().manual_seed(0)
    centres, sizes = torch.randn(100, dims, generator=rng), torch.rand(100, generator=rng).square() + 0.05
    classes = torch.multinomial(sizes, items, replacement=True, generator=rng)
    values = F.normalize(centres[classes] + torch.randn(items, dims, generator=rng), dim=1)
    return values @ values[torch.randperm(items, generator=rng)[:clusters]].T


def _steps(logits: Tensor) -> int:
    """Return the fewest iterations, clusters then items, after which all cluster sums are right to the error."""
    kernel, (items, clusters) = (_STRENGTH * logits.double()).exp(), logits.shape
    reach = kernel.sum(0) / items
    for step in range(1, 10_000):
        prices = 1 / (clusters * reach)
        reach = kernel.T @ (1 / (items * (kernel @ prices)))
        if float((clusters * prices * reach - 1).abs().max()) < _ERROR:
            return step
    raise AssertionError("no convergence")


def _pot(logits: Tensor, steps: int) -> Array:
    """Return the plan of POT after so many iterations."""
    items, clusters = logits.shape
    masses = np.full(items, 1 / items), np.full(clusters, 1 / clusters)
    plan: Array = ot.sinkhorn(*masses, -logits.double().numpy(), 1 / _STRENGTH, numItermax=steps, stopThr=0, warn=False)
    return plan


def _scaled(logits: Tensor, steps: int) -> Array:
    """Return the plan of self-label's form, `steps` iterations in float64."""
    items, clusters = logits.shape
    kernel = np.exp(_STRENGTH * logits.numpy().T.astype(np.float64, order="C"))  # (K, N)
    column = np.full((items, 1), 1 / items)
    for _ in range(steps):
        row = 1 / (clusters * (kernel @ column))  # (K, 1)
        column = 1 / (items * (row.T @ kernel).T)
    kernel *= column.T
    kernel *= row
    return kernel.T


if __name__ == "__main__":
    main("sinkhorn", contests)
