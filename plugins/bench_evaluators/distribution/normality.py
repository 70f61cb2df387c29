"""Tests of normality on small samples, and distances of an embedding to N(0, I).

A test on many items rejects everything that is not exactly normal. So tests are repeated on small samples, and the part
of samples that pass is reported: 95 % of truly normal samples do. Shapiro-Wilk, D'Agostino-Pearson and Henze-Zirkler
allow any mean and scale (the last any correlation, too); Kolmogorov-Smirnov distances and correlations do not.

Papers: Shapiro and Wilk, Biometrika 52, 1965; D'Agostino and Pearson, Biometrika 60, 1973; Henze and Zirkler, Commun.
        Stat. Theory Methods 19(10), 1990. The first two are scipy's.
Shapes: N items, D coordinates, n items of a sample.
"""

import math

import numpy as np
import scipy  # its submodules take a second to load: they do so at their first use
import torch
from torch import Tensor

ALPHA = 0.05  # level of the tests
PROJECTIONS = 64  # random directions of the sliced distances
SAMPLES = 40  # small samples that are tested


def henze_zirkler(x: Tensor) -> tuple[float, float]:
    """Test whether rows are multivariate normal, of any mean and covariance.

    Args:
        x: (n, D), n > D.

    Returns:
        The statistic, and its p-value by the log-normal of the same mean and variance; infinity and 0 if the covariance
        is singular.

    Raises:
        ValueError: There are no more rows than coordinates.
    """
    n, p = x.shape
    if n <= p:
        raise ValueError(f"henze_zirkler needs more rows than coordinates, got {n} rows of {p}")
    centred = x.double() - x.double().mean(0)
    factor, singular = torch.linalg.cholesky_ex(centred.T @ centred / n)
    if int(singular) or float(factor.diagonal().min()) <= 1e-7 * float(factor.diagonal().max()):
        return math.inf, 0.0
    white = torch.linalg.solve_triangular(factor, centred.T, upper=False).T
    norms = white.square().sum(1)
    distances = (norms[:, None] + norms - 2 * white @ white.T).clamp(min=0)
    b2 = ((2 * p + 1) * n / 4) ** (2 / (p + 4)) / 2  # the kernel's width, squared
    a, w = 1 + 2 * b2, (1 + b2) * (1 + 3 * b2)
    statistic = n * (
        float((-b2 / 2 * distances).exp().mean())
        - 2 * (1 + b2) ** (-p / 2) * float((-b2 / (2 * (1 + b2)) * norms).exp().mean())
        + a ** (-p / 2)
    )
    mean = 1 - a ** (-p / 2) * (1 + p * b2 / a + p * (p + 2) * b2**2 / (2 * a**2))
    variance = (
        2 * (1 + 4 * b2) ** (-p / 2)
        + 2 * a**-p * (1 + 2 * p * b2**2 / a**2 + 3 * p * (p + 2) * b2**4 / (4 * a**4))
        - 4 * w ** (-p / 2) * (1 + 3 * p * b2**2 / (2 * w) + p * (p + 2) * b2**4 / (2 * w**2))
    )
    spread = math.log1p(variance / mean**2)
    middle = math.log(mean) - spread / 2
    return statistic, float(scipy.stats.norm.sf((math.log(max(statistic, 1e-300)) - middle) / math.sqrt(spread)))


def pass_rates(x: Tensor, rng: torch.Generator, samples: int = SAMPLES, size: int = 200) -> dict[str, float]:
    """Return the part of random samples that pass each test of normality at level .05.

    Args:
        x: (N, D) on the CPU, N >= size > D.
        rng: Generator that draws the samples, each without replacement.
        samples: Number of samples.
        size: n, the items of a sample; fixed, as the power of a test depends on it.

    Returns:
        `shapiro_wilk` and `dagostino_pearson`, over samples and coordinates; `henze_zirkler`, over samples.
    """
    drawn = [x[torch.randperm(len(x), generator=rng)[:size]] for _ in range(samples)]
    columns = [column for sample in drawn for column in sample.double().numpy().T]
    varied = [column for column in columns if np.ptp(column) > 0]  # constants are not normal, and scipy warns of them
    shapiro = [scipy.stats.shapiro(column).pvalue > ALPHA for column in varied]
    dagostino = [scipy.stats.normaltest(column).pvalue > ALPHA for column in varied]
    return {
        "shapiro_wilk": sum(shapiro) / len(columns),
        "dagostino_pearson": sum(dagostino) / len(columns),
        "henze_zirkler": sum(henze_zirkler(sample)[1] > ALPHA for sample in drawn) / samples,
    }


def ks_distance(below: Tensor) -> Tensor:
    """Return the Kolmogorov-Smirnov distance of each column to a fixed distribution.

    Args:
        below: (N, D), the distribution's CDF at each value.

    Returns:
        (D,) in [1 / (2 N), 1], float64; about .87 / sqrt(N) for samples of the distribution itself.
    """
    ordered = below.double().sort(0).values
    steps = torch.arange(len(below) + 1, dtype=torch.float64)[:, None] / len(below)
    return torch.maximum(steps[1:] - ordered, ordered - steps[:-1]).amax(0)


def sliced_ks(x: Tensor, rng: torch.Generator, projections: int = PROJECTIONS) -> float:
    """Return the mean Kolmogorov-Smirnov distance of random projections to N(0, 1).

    If rows follow N(0, I), each projection on a unit vector follows N(0, 1).

    Args:
        x: (N, D) on the CPU.
        rng: Generator that draws the directions.
        projections: Number of directions.
    """
    projected = x.double() @ _directions(x.shape[1], projections, rng)
    return float(ks_distance(torch.special.ndtr(projected)).mean())


def sliced_wasserstein(x: Tensor, rng: torch.Generator, projections: int = PROJECTIONS) -> float:
    """Return the sliced 2-Wasserstein distance of rows to N(0, I): to the distribution, not to samples of it.

    For a projection with ordered values x_1 <= ... <= x_n the squared distance is mean(x^2) - 2 sum_i c_i x_i + 1,
    where c_i is the integral of the normal quantile over ((i - 1) / n, i / n). The result is the root of the mean over
    projections (Bonneel et al., J. Math. Imaging Vis. 51, 2015).

    Args:
        x: (N, D) on the CPU.
        rng: Generator that draws the directions.
        projections: Number of directions.
    """
    ordered = (x.double() @ _directions(x.shape[1], projections, rng)).sort(0).values
    below = torch.arange(len(x) + 1, dtype=torch.float64) / len(x)
    density = torch.exp(-torch.special.ndtri(below).square() / 2) / math.sqrt(2 * math.pi)  # 0 at both ends
    squared = ordered.square().mean(0) - 2 * -density.diff() @ ordered + 1
    return math.sqrt(max(float(squared.mean()), 0.0))


def _directions(dims: int, projections: int, rng: torch.Generator) -> Tensor:
    """Draw random unit columns (D, projections)."""
    directions = torch.randn(dims, projections, generator=rng, dtype=torch.float64)
    unit: Tensor = directions / directions.norm(dim=0)
    return unit


def excess_kurtosis(x: Tensor) -> Tensor:
    """Return the fourth standardised moment minus 3 of each column (D,), float64; 0 for normals and for constants."""
    centred = _centred(x)
    variance = centred.square().mean(0)
    return torch.where(variance > 0, centred.pow(4).mean(0) / variance.square().clamp(min=1e-300) - 3, 0.0)


def max_correlation(x: Tensor) -> float:
    """Return the largest |correlation| of two columns of (N, D); 0 if D is 1; constants count as uncorrelated."""
    centred = _centred(x)
    unit = centred / centred.norm(dim=0).clamp(min=1e-300)
    return float((unit.T @ unit).fill_diagonal_(0).abs().max())


def _centred(x: Tensor) -> Tensor:
    """Subtract the mean from each column, float64; constants give exactly 0, which a rounded mean would not."""
    values = x.double()
    return torch.where(values.amin(0) < values.amax(0), values - values.mean(0), 0.0)
