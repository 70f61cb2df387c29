"""Detectors of outliers: distances and densities, fitted to training points, that score any point.

    Mahalanobis           min_c (z - mu_c)^T S^+ (z - mu_c),   S = 1/N sum_i (z_i - mu_{y_i}) (z_i - mu_{y_i})^T
    relative Mahalanobis  the same less that of one Gaussian for all: min_c M_c(z) - M_0(z)

Papers: Lee, Lee, Lee, Shin, NeurIPS 2018, https://arxiv.org/abs/1807.03888 (Mahalanobis); Ren et al., 2021,
        https://arxiv.org/abs/2106.09022 (relative); Sehwag, Chiang, Mittal, ICLR 2021 (SSD),
        https://arxiv.org/abs/2103.12051 (without labels); Sun, Ming, Zhu, Li, ICML 2022,
        https://arxiv.org/abs/2204.06507 (nearest neighbours)
Code:   https://github.com/inspire-group/SSD/blob/0ecc1796/eval_ssd.py (unit length, k-means in the place of classes),
        https://github.com/deeplearning-wisc/knn-ood/blob/97125c61/run_cifar.py (unit length, k = 50)
Note:   directions in which the training points do not vary are left out, so that collapsed features have a distance.

Shapes: N training points, M points to score, D features, R <= min(N, D) directions with variance.
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
from bench_core.evaluation.kmeans import kmeans, nearest_centres
from bench_core.evaluation.logistic_regression import principal_directions
from bench_core.evaluation.nearest_neighbours import top_k
from bench_core.nn.priors import to_normal

_STARTS = 3  # random starts of k-means
_RIDGE = 1e-3  # added to the variances of each Gaussian of the mixture, so that small clusters have a density

Detector = Callable[[Tensor], Tensor]
"""Maps points (M, D) to scores (M,) float64, finite; higher is further out."""


def mahalanobis(train: Tensor, labels: Tensor) -> Detector:
    """Score by the squared distance to the nearest class mean, with one covariance for all classes (divided by N).

    Args:
        train: (N, D) floats.
        labels: (N,) int64, of classes or clusters; any numbers.
    """
    points = train.double()
    class_of = torch.from_numpy(np.unique(labels, return_inverse=True)[1])
    sizes = class_of.bincount()[:, None]
    means = torch.zeros(len(sizes), points.shape[1], dtype=torch.float64).index_add_(0, class_of, points) / sizes
    whiten = _whitening(points - means[class_of])
    centre = points.mean(0)  # it changes only the rounding of distances
    white_means = (means - centre) @ whiten

    def score(features: Tensor) -> Tensor:
        return torch.cdist((features.double() - centre) @ whiten, white_means).square().amin(1)

    return score


def gaussian(train: Tensor) -> Detector:
    """Score by the Mahalanobis distance to the mean of all points: one Gaussian, no labels."""
    return mahalanobis(train, torch.zeros(len(train), dtype=torch.int64))


def relative_mahalanobis(train: Tensor, labels: Tensor) -> Detector:
    """Score by the Mahalanobis distance to the nearest class minus that to all points.

    For a point that is unusual in every respect both distances are large and cancel; what remains tells how unusual it
    is for its class.
    """
    near, background = mahalanobis(train, labels), gaussian(train)
    return lambda features: near(features) - background(features)


def nearest_cluster(train: Tensor, count: int, seed: int) -> Detector:
    """Score by the Mahalanobis distance of features scaled to length 1, with k-means clusters instead of classes.

    In SSD each cluster has its own covariance; here all share one, as classes do, so that clusters may have fewer
    points than features.

    Args:
        train: (N, D) floats.
        count: Number of clusters; fewer where there are fewer distinct points.
        seed: Seed of k-means.
    """
    unit = F.normalize(train.double(), dim=1)
    distance = mahalanobis(unit, nearest_centres(unit, kmeans(unit, count, seed=seed, restarts=_STARTS)))
    return lambda features: distance(F.normalize(features.double(), dim=1))


def nearest_neighbour(train: Tensor, k: int, device: torch.device | str = "cpu") -> Detector:
    """Score by 1 minus the cosine of the k-th nearest training point: half the squared distance at length 1.

    Args:
        train: (N, D) floats.
        k: The neighbour that counts; at most N.
        device: Device of the search.
    """
    bank = F.normalize(train.float(), dim=1)

    def score(features: Tensor) -> Tensor:
        similarity, _ = top_k(F.normalize(features.float(), dim=1), bank, min(k, len(bank)), device)
        return 1 - similarity[:, -1].double()

    return score


def gaussian_mixture(train: Tensor, count: int, dims: int, seed: int) -> Detector:
    """Score by minus the log-density of a mixture of Gaussians in the first whitened principal components.

    The start is k-means: each cluster gives a Gaussian its weight, mean and covariance.

    Args:
        train: (N, D) floats.
        count: Number of Gaussians, each with its own covariance; fewer where there are fewer distinct points.
        dims: Number of principal components; fewer if fewer vary.
        seed: Seed of the start.
    """
    from sklearn.mixture import GaussianMixture  # takes a second to load: only where it is used

    centre = train.double().mean(0)
    whiten = _whitening(train.double() - centre)[:, -dims:]  # the last ones: variances ascend
    if whiten.shape[1] == 0:
        return lambda features: torch.zeros(len(features), dtype=torch.float64)
    points = (train.double() - centre) @ whiten
    start = kmeans(points, count, seed=seed, spherical=False, restarts=_STARTS)
    clusters = nearest_centres(points, start, spherical=False)
    parts = [points[clusters == cluster] for cluster in torch.unique(clusters)]
    ridge = _RIDGE * torch.eye(points.shape[1], dtype=torch.float64)
    covariances = [torch.cov(part.T, correction=0).view_as(ridge) + ridge for part in parts]
    model = GaussianMixture(
        len(parts),
        reg_covar=_RIDGE,
        weights_init=np.array([len(part) / len(points) for part in parts]),
        means_init=torch.stack([part.mean(0) for part in parts]).numpy(),
        precisions_init=torch.linalg.inv(torch.stack(covariances)).numpy(),
    )
    with _reproducible():
        model.fit(points.numpy())

    def score(features: Tensor) -> Tensor:
        return -torch.from_numpy(model.score_samples(((features.double() - centre) @ whiten).numpy()))

    return score


def prior_density(prior: PriorName) -> Detector:
    """Score by minus the log-density of the prior's normal scores, up to a constant; nothing is fitted.

    The density of a uniform prior is the same everywhere, so it separates nothing. In normal scores, which for a
    Gaussian prior are the coordinates themselves, every prior has its highest density in its middle.
    """
    return lambda values: to_normal(prior, values).square().sum(1) / 2


def _whitening(centred: Tensor) -> Tensor:
    """Return the matrix (D, R) that gives centred points (N, D) covariance I; directions by ascending variance."""
    basis, variance = principal_directions(centred)
    return basis / variance.sqrt()


@contextmanager
def _reproducible() -> Iterator[None]:
    """Run on one thread, as more would sum in another order; ignore warnings of scikit-learn on convergence.

    It warns of few distinct points, and of an early stop; both are no error here.
    """
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
