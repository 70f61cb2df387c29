"""Sign patterns of ReLU units: how many of them the data reach, which measures linear regions, and how they differ.

A sign pattern says which units are on. A ReLU network is linear where the pattern stays the same, so items with
different patterns lie in different linear regions. For a code C of an input X, received as Y through a noisy channel,
exp I(Y; X) <= exp H(C) <= the number of distinct codes. So a lower bound on the information is also a lower bound on
the logarithm of the number of regions.

Paper: Park, Lee, Kim, Blei, ICML 2021, https://arxiv.org/abs/2112.04014
Note:  with wide layers almost every item has its own pattern, so counts approach N: report N with them, or count few
       units (a code of 8 to 16 bits). An encoder's maps are the outputs of its stages, not of every ReLU (in vgg16_bn
       they are max-pooled). So the number of their patterns is a lower bound on the number of regions.

Shapes: N items, U units, K distinct patterns.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def patterns(maps: Mapping[str, Tensor]) -> Tensor:
    """Return the sign pattern of each item: True for units that are on.

    Args:
        maps: Name -> outputs (N, ...) of ReLUs (`Encoder.maps`), or pre-activations.

    Returns:
        Patterns (N, U) bool; the units of the maps in order.
    """
    return torch.cat([values.flatten(1) > 0 for values in maps.values()], 1)


def pattern_counts(bits: Tensor) -> Tensor:
    """Count the items of each distinct pattern among patterns (N, U) bool: (K,) int64, most frequent first.

    The count is exact: rows are packed to bytes, and a Counter compares rows of equal hash byte by byte.
    """
    packed = np.packbits(_require_patterns(bits).cpu().numpy(), axis=1)
    counts = Counter(row.tobytes() for row in packed)
    return torch.tensor(sorted(counts.values(), reverse=True), dtype=torch.int64)


def count_distinct(bits: Tensor) -> int:
    """Return the number K of distinct patterns among (N, U) bool; at most min(N, 2^U)."""
    return len(pattern_counts(bits))


def pattern_entropy(bits: Tensor) -> float:
    """Return the entropy of the histogram of patterns (N, U), in nats: 0 for one pattern, log(N) if all differ."""
    share = pattern_counts(bits).double() / len(bits)
    return float(torch.special.entr(share).sum())


def on_rates(bits: Tensor) -> Tensor:
    """Return the fraction of items at which each unit is on: (N, U) bool -> (U,) float64; 0 or 1 for a dead unit."""
    return _require_patterns(bits).sum(0).double() / len(bits)


def mean_hamming(bits: Tensor) -> float:
    """Return the mean, over all N (N - 1) / 2 pairs of items, of the fraction of units that differ; 0.5 for fair coins.

    It is computed from the on-rate of each unit, without forming pairs.

    Args:
        bits: Patterns (N, U) bool, N >= 2.
    """
    if len(bits) < 2:
        raise ValueError(f"a mean over pairs needs at least 2 items, got {len(bits)}")
    on = on_rates(bits)
    return float((2 * on * (1 - on)).mean() * len(bits) / (len(bits) - 1))


def _require_patterns(bits: Tensor) -> Tensor:
    if bits.dtype != torch.bool or bits.ndim != 2:
        raise ValueError(f"sign patterns are bool (N, U), got {bits.dtype} of shape {tuple(bits.shape)}")
    return bits
