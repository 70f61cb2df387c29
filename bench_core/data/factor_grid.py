"""Datasets whose items are combinations of known factors: seeded draws of combinations, disjoint for train and test.

Combinations are numbered as rows of a table of all of them, in which the last factor varies fastest: with factors of
2 and 3 values, number 4 is (1, 1). Draws use numpy's RandomState, whose stream never changes, so the same counts select
the same items on every machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench_core.config import Config, param
from bench_core.errors import ConfigError, RequestError


@dataclass(frozen=True, kw_only=True)
class FactorDraws(Config):
    """Numbers of combinations that are drawn for each split; base of the Config of datasets with known factors."""

    train_size: int = param(10_000, "combinations to train on, drawn at random", "ours: minutes on a CPU", ge=1)
    test_size: int = param(5_000, "combinations to test on, none of which is trained on", "disentanglement_lib", ge=1)


def draw_combinations(config: FactorDraws, split: str, total: int) -> npt.NDArray[np.int64]:
    """Draw the combinations of a split.

    The test split is the end of one random order of all combinations, whatever `train_size` is. A smaller split is
    part of a larger one.

    Args:
        config: Sizes of the splits.
        split: `train` or `test`.
        total: Number of all combinations.

    Returns:
        Numbers (N,) of the combinations, ascending.

    Raises:
        ConfigError: Both splits together are larger than `total`.
        RequestError: The split is neither `train` nor `test`.
    """
    if config.train_size + config.test_size > total:
        sizes = f"{config.train_size:,} + {config.test_size:,}"
        raise ConfigError(f"train_size + test_size must be at most {total:,}, the number of combinations, got {sizes}")
    order = np.random.RandomState(0).permutation(total)
    if split == "train":
        return np.sort(order[: config.train_size])
    if split == "test":
        return np.sort(order[total - config.test_size :])
    raise RequestError(f"no split named {split!r}; there are: train, test.")


def factor_values(combinations: npt.NDArray[np.int64], sizes: Sequence[int]) -> Tensor:
    """Return the factor values of combinations.

    Args:
        combinations: Numbers (N,) of combinations.
        sizes: Number of values of each of the F factors.

    Returns:
        Values (N, F) int64, each counted from 0.
    """
    return torch.from_numpy(np.stack(np.unravel_index(combinations, tuple(sizes)), 1).astype(np.int64))
