"""Pairs of correlated Gaussian vectors, whose mutual information is known: a test of estimators of information.

Source: ours, as Belghazi et al., ICML 2018, https://arxiv.org/abs/1801.04062, test MINE on correlated Gaussians.
Note:  Coordinate i of one vector has the correlation rho with coordinate i of the other, and all else is independent.
    So the information is -dim/2 log(1 - rho^2) nats. A cube is a bijection and changes no information; it makes the
    dependence harder to see. Draws use numpy's RandomState, whose stream never changes.

Shapes: N pairs, two vectors of `dim` values.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from bench_core import Config, Dataset, DataSpec, Split, hookimpl, param
from bench_core.data import Pair, digest_of
from bench_core.errors import RequestError

VERSION = 1  # of the draws; part of the digest
SEEDS = {"train": 0, "test": 1}


@dataclass(frozen=True, kw_only=True)
class GaussianPairsConfig(Config):
    """Parameters of the pairs: their size, their correlation and their number."""

    dim: int = param(20, "values of each vector", "paper: 2 and 20", ge=1, le=1000)
    rho: float = param(0.5, "correlation of each coordinate with its partner", "ours: 2.9 nats at dim 20", gt=-1, lt=1)
    transform: Literal["none", "cubic"] = param(
        "none", "'cubic' raises each value of the second vector to the third power", "ours: hides the dependence"
    )
    train_size: int = param(50_000, "pairs to fit an estimator on", "ours: few enough to overfit", ge=1)
    test_size: int = param(10_000, "pairs to measure on", "ours: the mean of log-ratios is within .1 nats", ge=1)


class GaussianPairs(Dataset):
    """Correlated Gaussians of known information.

    Pairs of two vectors that are made by a formula; nothing is read from the data root.
    """

    Config = GaussianPairsConfig
    licence = "Apache-2.0, made by code of this project"

    def __init__(self, root: Path, config: GaussianPairsConfig) -> None:
        """Keep the config; `root` is not used."""
        self.config = config

    def spec(self) -> DataSpec:
        """Return both vectors, the numbers of pairs, and the true information in nats."""
        config = self.config
        splits = {"train": config.train_size, "test": config.test_size}
        vector = DataSpec(shape=(config.dim,), splits=splits)
        return DataSpec(
            shape=(),
            splits=splits,
            kind="pairs",
            modalities={"first": vector, "second": vector},
            information=true_information(config.dim, config.rho),
        )

    def digest(self) -> str:
        """Return the SHA-256 of VERSION and of the parameters that define the pairs."""
        return digest_of("gaussian_pairs", f"{VERSION} {self.config}")

    def load(self, split: str) -> Split:
        """Draw the pairs of `train` or `test`; a smaller split is the beginning of a larger one.

        Raises:
            RequestError: The split is neither `train` nor `test`.
        """
        config = self.config
        if split not in SEEDS:
            raise RequestError(f"no split named {split!r}; there are: train, test.")
        size = {"train": config.train_size, "test": config.test_size}[split]
        draws = np.random.RandomState(SEEDS[split]).standard_normal((size, 2, config.dim))
        first = draws[:, 0]
        second = config.rho * first + math.sqrt(1 - config.rho**2) * draws[:, 1]
        if config.transform == "cubic":
            second = second**3
        return Split(Pair(torch.from_numpy(first).float(), torch.from_numpy(second).float()))


def true_information(dim: int, rho: float) -> float:
    """Return the mutual information -dim/2 log(1 - rho^2) of the two vectors, in nats; 0 for rho = 0."""
    return -dim / 2 * math.log1p(-(rho**2))


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"gaussian_pairs": GaussianPairs}
