"""Data whose items are combinations of known factors: seeded draws of them, disjoint for train and test.

The combinations are numbered as in a table of all of them, the last factor varying fastest. FactorDraws use numpy's
RandomState, whose stream is frozen, so that a count names the same items on every machine.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench_core.config import param
from bench_core.errors import ConfigError, RequestError


@dataclass(frozen=True, kw_only=True)
class FactorDraws:
    """How many combinations are drawn of all that there are."""

    train_size: int = param(10_000, "combinations to train on, drawn at random", "ours: minutes on a CPU")
    test_size: int = param(5_000, "combinations to test on, none of which is trained on", "disentanglement_lib")

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("train_size", "test_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")


def drawn(config: FactorDraws, split: str, total: int) -> npt.NDArray[np.int64]:
    """Which combinations a split holds.

    The test split is the end of one order of all, whatever `train_size` is; smaller splits lie within larger ones.

    Args:
        config: The sizes.
        split: `train` or `test`.
        total: Number of all combinations.

    Returns:
        (N,) ascending numbers of combinations.

    Raises:
        ConfigError: There are not enough.
        RequestError: There is no such split.
    """
    if config.train_size + config.test_size > total:
        asked = f"{config.train_size:,} and {config.test_size:,}"
        raise ConfigError(f"train_size and test_size ask for {asked} combinations, there are {total:,}")
    order = np.random.RandomState(0).permutation(total)
    if split == "train":
        return np.sort(order[: config.train_size])
    if split == "test":
        return np.sort(order[total - config.test_size :])
    raise RequestError(f"no split named {split!r}; there are: train, test.")


def values_of(index: npt.NDArray[np.int64], sizes: Sequence[int]) -> Tensor:
    """Values (N, F) int64 of F factors that have so many values each, of combinations with these numbers (N,)."""
    assert math.prod(sizes) > int(index.max(initial=0))
    return torch.from_numpy(np.stack(np.unravel_index(index, tuple(sizes)), 1).astype(np.int64))
