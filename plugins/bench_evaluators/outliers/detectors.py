"""How far a point is from a set of training points: distances and densities, fitted once, asked of any point.

    Mahalanobis           min_c (z - mu_c)^T S^+ (z - mu_c),   S = 1/N sum_i (z_i - mu_{y_i}) (z_i - mu_{y_i})^T
    relative Mahalanobis  the same less that of one Gaussian for all: min_c M_c(z) - M_0(z)

Papers: Lee, Lee, Lee, Shin, NeurIPS 2018, https://arxiv.org/abs/1807.03888 (Mahalanobis); Ren et al., 2021,
        https://arxiv.org/abs/2106.09022 (relative); Sehwag, Chiang, Mittal, ICLR 2021 (SSD),
        https://arxiv.org/abs/2103.12051 (without labels); Sun, Ming, Zhu, Li, ICML 2022,
        https://arxiv.org/abs/2204.06507 (nearest neighbours)
Code:   https://github.com/inspire-group/SSD/blob/0ecc1796/eval_ssd.py (unit length, k-means in the place of classes),
        https://github.com/deeplearning-wisc/knn-ood/blob/97125c61/run_cifar.py (unit length, k = 50)
Note:   directions in which the training points do not vary are left out, so collapsed features have a distance, too.

Shapes: N training points, M points asked for, D features, R <= min(N, D) directions with variance.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits
from torch import Tensor

from bench_core import PriorName
from bench_core.evaluation.logistic_regression import principal_directions
from bench_core.evaluation.nearest_neighbours import top_k
from bench_core.nn.priors import to_normal

Detector = Callable[[Tensor], Tensor]
"""(M, D) -> (M,) float64, finite, higher is further out."""


def mahalanobis(train: Tensor, labels: Tensor) -> Detector:
    """Squared distance to the nearest class mean, in the covariance that all classes share (divided by N).

    Args:
        train: (N, D) floats.
        labels: (N,) int64, of classes or clusters; any numbers.
    """
    points = train.double()
    own = torch.from_numpy(np.unique(labels, return_inverse=True)[1])
    sizes = own.bincount()[:, None]
    means = torch.zeros(len(sizes), points.shape[1], dtype=torch.float64).index_add_(0, own, points) / sizes
    whiten = _whitening(points - means[own])
    centre = points.mean(0)  # of no effect on distances but their rounding
    white_means = (means - centre) @ whiten

    def score(features: Tensor) -> Tensor:
        return torch.cdist((features.double() - centre) @ whiten, white_means).square().amin(1)

    return score


def gaussian(train: Tensor) -> Detector:
    """Mahalanobis distance to the mean of all: one Gaussian, no labels."""
    return mahalanobis(train, torch.zeros(len(train), dtype=torch.int64))


def relative_mahalanobis(train: Tensor, labels: Tensor) -> Detector:
    """Distance to the nearest class less that to all: what is unusual of no class, not what is unusual at all."""
    near, background = mahalanobis(train, labels), gaussian(train)
    return lambda features: near(features) - background(features)


def clusters(train: Tensor, count: int, seed: int) -> Detector:
    """Mahalanobis distance of features of unit length, with k-means clusters in the place of classes.

    SSD gives each cluster a covariance of its own; here they share one, as classes do, so that clusters may have fewer
    points than features.

    Args:
        train: (N, D) floats.
        count: Clusters; capped at N.
        seed: Of k-means, in [0, 2**32).
    """
    from sklearn.cluster import KMeans  # costs a second: only where it is used

    unit = F.normalize(train.double(), dim=1)
    with _as_seeded():
        found = KMeans(min(count, len(unit)), n_init=1, random_state=seed).fit_predict(unit.numpy())
    distance = mahalanobis(unit, torch.from_numpy(found).long())
    return lambda features: distance(F.normalize(features.double(), dim=1))


def nearest(train: Tensor, k: int, device: torch.device | str = "cpu") -> Detector:
    """One less the cosine of the k-th nearest training point: half its squared distance at unit length.

    Args:
        train: (N, D) floats.
        k: Capped at N.
        device: Where the search is done.
    """
    bank = F.normalize(train.float(), dim=1)

    def score(features: Tensor) -> Tensor:
        similarity, _ = top_k(F.normalize(features.float(), dim=1), bank, min(k, len(bank)), device)
        return 1 - similarity[:, -1].double()

    return score


def mixture(train: Tensor, count: int, dims: int, seed: int) -> Detector:
    """Minus the log-density of a mixture of Gaussians in the first whitened principal components.

    Args:
        train: (N, D) floats.
        count: Gaussians, each with a covariance of its own; capped at N.
        dims: Principal components; fewer where fewer vary.
        seed: Of the start (k-means), in [0, 2**32).
    """
    from sklearn.mixture import GaussianMixture

    centre = train.double().mean(0)
    whiten = _whitening(train.double() - centre)[:, -dims:]  # variances ascend
    if whiten.shape[1] == 0:
        return lambda features: torch.zeros(len(features), dtype=torch.float64)
    with _as_seeded():
        model = GaussianMixture(min(count, len(train)), random_state=seed, reg_covar=1e-3).fit(
            ((train.double() - centre) @ whiten).numpy()
        )

    def score(features: Tensor) -> Tensor:
        return -torch.from_numpy(model.score_samples(((features.double() - centre) @ whiten).numpy()))

    return score


def prior_density(prior: PriorName) -> Detector:
    """Minus the log-density of the prior's normal scores, up to a constant; nothing is fitted.

    A density depends on the coordinates: that of a uniform prior is the same everywhere. In normal scores, which are
    the coordinates themselves for a Gaussian prior, every prior tells its middle from its ends.
    """
    return lambda values: to_normal(prior, values).square().sum(1) / 2


def _whitening(centred: Tensor) -> Tensor:
    """(D, R) that gives (N, D) float64 covariance I; directions in order of ascending variance."""
    basis, variance = principal_directions(centred)
    return basis / variance.sqrt()


@contextmanager
def _as_seeded() -> Iterator[None]:
    """On one thread, as more sum in another order; few distinct points, or a stop before the end, are no error."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
