"""Detectors against their formulas and scikit-learn, and on degenerate features."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import multivariate_normal
from sklearn.covariance import EmpiricalCovariance
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from bench_evaluators.outliers import detectors as module
from bench_evaluators.outliers.detectors import (
    Detector,
    gaussian,
    gaussian_mixture,
    mahalanobis,
    nearest_cluster,
    nearest_neighbour,
    prior_density,
    relative_mahalanobis,
)
from bench_evaluators.outliers.rates import auroc

DETECTORS: dict[str, Callable[[Tensor, Tensor], Detector]] = {
    "knn": lambda x, y: nearest_neighbour(x, 10),
    "gaussian": lambda x, y: gaussian(x),
    "clusters": lambda x, y: nearest_cluster(x, 4, 0),
    "mixture": lambda x, y: gaussian_mixture(x, 4, 6, 0),
    "mahalanobis": mahalanobis,
    "relative": relative_mahalanobis,
}


def blobs(items: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw four classes in six correlated features."""
    rng = torch.Generator().manual_seed(seed)
    mix = torch.randn(6, 6, generator=torch.Generator().manual_seed(9))
    labels = torch.arange(items) % 4
    return (3 * F.one_hot(labels, 6) + torch.randn(items, 6, generator=rng)) @ mix, labels


def test_mahalanobis_equals_the_formula_and_scikit_learn() -> None:
    train, labels = blobs(200)
    points = blobs(20, seed=1)[0]
    means = torch.stack([train[labels == c].double().mean(0) for c in range(4)])
    within = train.double() - means[labels]
    inverse = torch.linalg.inv(within.T @ within / 200)
    slow = torch.tensor([min(float((z - m) @ inverse @ (z - m)) for m in means) for z in points.double()])
    torch.testing.assert_close(mahalanobis(train, labels)(points), slow.double(), rtol=1e-4, atol=1e-4)
    shared = EmpiricalCovariance(assume_centered=True).fit(within.numpy())
    distance = torch.stack([torch.from_numpy(shared.mahalanobis((points.double() - m).numpy())) for m in means])
    torch.testing.assert_close(mahalanobis(train, labels)(points), distance.amin(0), rtol=1e-6, atol=1e-6)


def test_one_gaussian_equals_scikit_learn_and_the_relative_distance_is_the_difference() -> None:
    train, labels = blobs(200)
    points = blobs(20, seed=1)[0]
    expected = EmpiricalCovariance().fit(train.double().numpy()).mahalanobis(points.double().numpy())
    torch.testing.assert_close(gaussian(train)(points), torch.from_numpy(expected), rtol=1e-6, atol=1e-6)
    difference = mahalanobis(train, labels)(points) - gaussian(train)(points)
    torch.testing.assert_close(relative_mahalanobis(train, labels)(points), difference)


def test_mahalanobis_ignores_affine_maps_and_names_of_classes() -> None:
    train, labels = blobs(200)
    points = blobs(20, seed=1)[0]
    move = torch.randn(6, 6, generator=torch.Generator().manual_seed(3))
    first, second = mahalanobis(train, labels), mahalanobis(train @ move + 7, 10 - 3 * labels)
    torch.testing.assert_close(first(points), second(points @ move + 7), rtol=1e-3, atol=1e-3)


def test_the_kth_neighbours_distance_equals_scikit_learn() -> None:
    train, points = blobs(100)[0], blobs(20, seed=1)[0]
    search = NearestNeighbors(n_neighbors=7).fit(F.normalize(train, dim=1).numpy())
    distance = torch.from_numpy(search.kneighbors(F.normalize(points, dim=1).numpy())[0][:, -1])
    torch.testing.assert_close(nearest_neighbour(train, 7)(points), (distance**2 / 2).double(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        nearest_neighbour(train, 7)(5 * points), nearest_neighbour(train, 7)(points), rtol=0, atol=1e-6
    )
    assert float(nearest_neighbour(train, 1)(train).abs().max()) < 1e-6
    torch.testing.assert_close(nearest_neighbour(train, 1000)(points), nearest_neighbour(train, 100)(points))


def test_clusters_that_are_the_classes_give_their_distance() -> None:
    directions = torch.eye(6)[:3].repeat_interleave(50, 0)
    train = directions + 0.02 * torch.randn(150, 6, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(3).repeat_interleave(50)
    points = F.normalize(torch.randn(20, 6, generator=torch.Generator().manual_seed(1)), dim=1)
    expected = mahalanobis(F.normalize(train, dim=1), labels)(points)
    torch.testing.assert_close(nearest_cluster(train, 3, 0)(points), expected, rtol=1e-4, atol=1e-3)


def test_a_mixture_of_one_gaussian_is_that_density_up_to_a_constant() -> None:
    train, points = blobs(400)[0].double(), blobs(20, seed=1)[0].double()
    law = multivariate_normal(train.mean(0).numpy(), torch.cov(train.T, correction=0).numpy())
    difference = gaussian_mixture(train, 1, 6, 0)(points) + torch.from_numpy(law.logpdf(points.numpy()))
    assert float(difference.std()) < 0.01 * float(gaussian_mixture(train, 1, 6, 0)(points).std())


def test_the_density_of_a_prior_falls_from_its_middle_to_its_ends() -> None:
    z = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    assert prior_density("gaussian")(z).tolist() == [0, 2.5]
    uniform = prior_density("uniform")(torch.tensor([[0.5, 0.5], [0.5, 0.9], [0.01, 0.9], [3.0, -3.0]]))
    assert uniform.tolist() == sorted(uniform.tolist())
    assert float(uniform[0]) == pytest.approx(0, abs=1e-9)
    assert uniform.isfinite().all()


@pytest.mark.parametrize("name", DETECTORS)
def test_distant_points_are_detected_and_points_of_the_train_distribution_are_not(name: str) -> None:
    train, labels = blobs(400)
    detector = DETECTORS[name](train, labels)
    inside, same = detector(blobs(400, seed=1)[0]), detector(blobs(400, seed=2)[0])
    far = detector(-3 * blobs(400, seed=3)[0])
    assert auroc(inside, same) == pytest.approx(0.5, abs=0.07)
    assert auroc(inside, far) > 0.75  # detectors that scale rows to length 1 see only directions


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("shape", ["constant", "rank 1", "more features than items", "one item", "zeros"])
def test_degenerate_features_give_finite_numbers(name: str, shape: str) -> None:
    rng = torch.Generator().manual_seed(0)
    train = {
        "constant": torch.full((40, 6), 0.3),
        "rank 1": torch.randn(40, 1, generator=rng) * torch.arange(1.0, 7),
        "more features than items": torch.randn(12, 60, generator=rng),
        "one item": torch.randn(1, 6, generator=rng),
        "zeros": torch.zeros(40, 6),
    }[shape]
    score = DETECTORS[name](train, torch.arange(len(train)) % 4)(torch.randn(9, train.shape[1], generator=rng))
    assert score.shape == (9,)
    assert score.isfinite().all()


def test_clusters_and_mixture_start_from_the_k_means_that_all_tasks_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """A k-means that puts all into one cluster makes both detectors that of one Gaussian."""
    train, points = blobs(200)[0], blobs(20, seed=1)[0]
    monkeypatch.setattr(module, "kmeans", lambda rows, count, **_: rows.float().mean(0, keepdim=True))
    unit = F.normalize(train.double(), dim=1)
    torch.testing.assert_close(
        nearest_cluster(train, 4, 0)(points), gaussian(unit)(F.normalize(points.double(), dim=1))
    )
    torch.testing.assert_close(gaussian_mixture(train, 4, 6, 0)(points), gaussian_mixture(train, 1, 6, 1)(points))


def test_a_mixture_is_as_likely_as_scikit_learns() -> None:
    train, points = blobs(400)[0], blobs(200, seed=1)[0]
    centre = train.double().mean(0)
    whiten = module._whitening(train.double() - centre)
    model = GaussianMixture(4, random_state=0, n_init=5, reg_covar=1e-3).fit(
        ((train.double() - centre) @ whiten).numpy()
    )
    theirs = -model.score_samples(((points.double() - centre) @ whiten).numpy()).mean()
    assert float(gaussian_mixture(train, 4, 6, 0)(points).mean()) == pytest.approx(theirs, abs=0.05)
