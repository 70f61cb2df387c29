"""Linear regions: how many sign patterns of ReLU units the data reach, and how these differ.

A network of ReLUs is linear wherever the set of units that are on stays the same; two items with different patterns
count as lying in different linear regions. For a code c sent through a noisy channel, received as y, and any x,
exp I(Y; X) <= exp H(C) <= the number of distinct codes, so what bounds the information from below bounds the
logarithm of the number of regions from below.

Paper: Park, Lee, Kim, Blei, ICML 2021, https://arxiv.org/abs/2112.04014
Note:  counts saturate at N for wide layers: report them beside N, or count few units (an 8 to 16 bit code). An
       encoder's maps are the outputs of its stages and not of every ReLU in them (max-pooled ones in vgg16_bn), so
       their patterns are a function of all units' patterns, and their count a lower bound on that of regions.

Shapes: N items, U units, K distinct patterns.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def patterns(maps: Mapping[str, Tensor]) -> Tensor:
    """Which units are on: one pattern for each item.

    Args:
        maps: Name -> outputs (N, ...) of ReLUs (`Encoder.maps`), or pre-activations.

    Returns:
        (N, U) bool, the maps in their order.
    """
    return torch.cat([values.flatten(1) > 0 for values in maps.values()], 1)


def pattern_counts(bits: Tensor) -> Tensor:
    """Items that show each distinct pattern: (N, U) bool -> (K,) int64, from the most frequent down.

    Exact: rows are packed to bytes and hashed, and equal hashes are compared byte by byte.
    """
    packed = np.packbits(_bool(bits).cpu().numpy(), axis=1)
    found = Counter(row.tobytes() for row in packed)
    return torch.tensor(sorted(found.values(), reverse=True), dtype=torch.int64)


def count_distinct(bits: Tensor) -> int:
    """K, the number of distinct rows of bits (N, U); at most min(N, 2^U)."""
    return len(pattern_counts(bits))


def pattern_entropy(bits: Tensor) -> float:
    """Entropy of the histogram of patterns (N, U), in nats: 0 for one pattern, log(N) where all differ."""
    share = pattern_counts(bits).double() / len(bits)
    return float(torch.special.entr(share).sum())


def on_rates(bits: Tensor) -> Tensor:
    """Part of the items at which each unit is on: (N, U) bool -> (U,) float64; 0 or 1 for a dead unit."""
    return _bool(bits).sum(0).double() / len(bits)


def mean_hamming(bits: Tensor) -> float:
    """Mean over pairs of items of the part of the units in which they differ, in [0, 1]; 0.5 for fair coins.

    Args:
        bits: (N, U) bool, N >= 2. The mean over all N (N - 1) / 2 pairs is taken unit by unit, from its on-rate.
    """
    if len(bits) < 2:
        raise ValueError(f"a mean over pairs needs at least 2 items, got {len(bits)}")
    on = on_rates(bits)
    return float((2 * on * (1 - on)).mean() * len(bits) / (len(bits) - 1))


def _bool(bits: Tensor) -> Tensor:
    if bits.dtype != torch.bool or bits.ndim != 2:
        raise ValueError(f"sign patterns are bool (N, U), got {bits.dtype} of shape {tuple(bits.shape)}")
    return bits
