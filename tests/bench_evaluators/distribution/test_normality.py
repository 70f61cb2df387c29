import math

import numpy as np
import ot
import pytest
import torch
from scipy import stats
from torch import Tensor

from bench_core.nn.priors import to_normal
from bench_evaluators.distribution.normality import (
    excess_kurtosis,
    henze_zirkler,
    ks_distance,
    max_correlation,
    pass_rates,
    sliced_ks,
    sliced_wasserstein,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def drawn(kind: str, draws: int, dim: int) -> Tensor:
    """Draw samples (draws, 200, dim) of a distribution whose pass rates the tests below know."""
    if kind == "t5":
        return torch.from_numpy(np.random.default_rng(0).standard_t(5, (draws, 200, dim)))
    if kind == "uniform":
        return torch.rand(draws, 200, dim, generator=generator(), dtype=torch.float64)
    return draw(draws, 200, dim)


def slow_henze_zirkler(x: Tensor) -> float:
    """Return the statistic as a double sum, with the inverse of the covariance."""
    n, p = x.shape
    inverse = torch.linalg.inv(torch.cov(x.T, correction=0).view(p, p))
    b: float = ((2 * p + 1) * n / 4) ** (1 / (p + 4)) / math.sqrt(2)
    centred = x - x.mean(0)
    first: float = sum(
        math.exp(-(b**2) / 2 * float((x[i] - x[j]) @ inverse @ (x[i] - x[j]))) for i in range(n) for j in range(n)
    )
    second: float = sum(math.exp(-(b**2) / (2 * (1 + b**2)) * float(c @ inverse @ c)) for c in centred)
    return n * (first / n**2 - 2 * math.pow(1 + b**2, -p / 2) * second / n + math.pow(1 + 2 * b**2, -p / 2))


@pytest.mark.parametrize("dim", [1, 3])
def test_henze_zirkler_is_its_double_sum(dim: int) -> None:
    x = draw(20, dim)
    assert henze_zirkler(x)[0] == pytest.approx(slow_henze_zirkler(x), rel=1e-9)


def test_henze_zirkler_ignores_mean_scale_and_correlation() -> None:
    x = draw(60, 3)
    transformed = x @ draw(3, 3, seed=1) * 7 + 100
    assert henze_zirkler(transformed)[0] == pytest.approx(henze_zirkler(x)[0], rel=1e-6)


def test_henze_zirkler_refuses_a_singular_covariance_as_not_normal() -> None:
    x = draw(60, 2)
    assert henze_zirkler(torch.cat([x, x[:, :1]], 1)) == (math.inf, 0.0)
    assert henze_zirkler(torch.ones(60, 2)) == (math.inf, 0.0)


def test_henze_zirkler_needs_more_rows_than_coordinates() -> None:
    with pytest.raises(ValueError, match="more rows than coordinates, got 5 rows of 5"):
        henze_zirkler(draw(5, 5))


@pytest.mark.parametrize(
    ("kind", "dim", "rate"),
    [("normal", 1, 0.95), ("normal", 2, 0.95), ("normal", 8, 0.94), ("t5", 1, 0.34), ("t5", 2, 0.18), ("t5", 8, 0.07)],
)
def test_henze_zirkler_has_the_known_pass_rates(kind: str, dim: int, rate: float) -> None:
    passed = [henze_zirkler(sample)[1] > 0.05 for sample in drawn(kind, 300, dim)]
    error = math.sqrt(2 * rate * (1 - rate) / 300)  # standard error of the difference of two such rates
    assert sum(passed) / 300 == pytest.approx(rate, abs=max(0.03, 2.5 * error))


@pytest.mark.parametrize(("kind", "shapiro", "dagostino"), [("normal", 0.95, 0.94), ("t5", 0.19, 0.18)])
def test_other_tests_have_the_known_pass_rates(kind: str, shapiro: float, dagostino: float) -> None:
    rates = pass_rates(drawn(kind, 300, 1).view(-1, 1), generator(), samples=300)
    assert rates["shapiro_wilk"] == pytest.approx(shapiro, abs=0.07)
    assert rates["dagostino_pearson"] == pytest.approx(dagostino, abs=0.07)


def test_uniforms_and_constants_never_pass() -> None:
    for x in (drawn("uniform", 10, 2).view(-1, 2), torch.ones(400, 2)):
        assert list(pass_rates(x, generator()).values()) == [0, 0, 0]


def test_duplicated_coordinates_pass_each_by_itself_but_not_together() -> None:
    rates = pass_rates(draw(4000, 1).repeat(1, 2), generator())
    assert rates["shapiro_wilk"] > 0.85
    assert rates["henze_zirkler"] == 0
    assert max_correlation(draw(4000, 1).repeat(1, 2)) == pytest.approx(1)


def test_ks_distance_equals_scipy() -> None:
    x = draw(300, 2) * 1.3 + 0.2
    distances = ks_distance(torch.special.ndtr(x))
    expected = [stats.kstest(column, "norm").statistic for column in x.numpy().T]
    assert distances.tolist() == pytest.approx(expected)


def test_ks_distance_by_hand() -> None:
    assert ks_distance(torch.tensor([[0.5]])).item() == 0.5
    assert ks_distance(torch.tensor([[0.25], [0.75]])).item() == 0.25
    assert ks_distance(torch.zeros(4, 1)).item() == 1


def test_sliced_ks_of_normals_has_its_known_value_and_detects_shift_and_scale() -> None:
    x = draw(4000, 3)
    level = math.sqrt(math.pi / 2) * math.log(2) / math.sqrt(4000)
    assert sliced_ks(x, generator()) == pytest.approx(level, rel=0.3)
    mixed = x.clone()
    mixed[:, 1] = 0.8 * x[:, 0] + 0.6 * x[:, 1]  # each coordinate is as normal as before
    for changed in (x + 0.3, x * 1.3, mixed):
        assert sliced_ks(changed, generator()) > 2 * level


def test_sliced_ks_is_the_mean_over_unit_projections() -> None:
    x = draw(50, 2)
    directions = draw(2, 3, seed=4)
    directions = directions / directions.square().sum(0).sqrt()
    slow = [stats.kstest((x @ directions)[:, k].numpy(), "norm").statistic for k in range(3)]
    assert sliced_ks(x, generator(4), projections=3) == pytest.approx(sum(slow) / 3)


def test_kurtosis_equals_scipy_and_is_0_for_constants() -> None:
    x = torch.cat([draw(200, 2) ** 3, torch.ones(200, 1)], 1)
    expected = [*stats.kurtosis(x[:, :2].numpy()), 0]
    assert excess_kurtosis(x).tolist() == pytest.approx(expected)


def test_largest_correlation_equals_numpy() -> None:
    x = draw(100, 4) @ draw(4, 4, seed=1)
    expected = np.abs(np.corrcoef(x.numpy().T) - np.eye(4)).max()
    assert max_correlation(x) == pytest.approx(expected)
    assert max_correlation(x[:, :1]) == 0
    assert max_correlation(torch.ones(9, 2)) == 0


def test_sliced_wasserstein_is_the_integral_of_squared_quantile_differences() -> None:
    x = draw(9, 1) * 1.7 + 0.4
    levels = (torch.arange(900_000, dtype=torch.float64) + 0.5) / 900_000
    steps = x[:, 0].sort().values.repeat_interleave(100_000)
    slow = (steps - torch.special.ndtri(levels)).square().mean().sqrt()
    assert sliced_wasserstein(x, generator()) == pytest.approx(float(slow), abs=1e-4)


def test_sliced_wasserstein_agrees_with_another_package_on_many_samples() -> None:
    x = draw(500, 3) @ draw(3, 3, seed=1) + 0.5
    directions = draw(3, 64, seed=4)
    directions = (directions / directions.norm(dim=0)).numpy()
    many = np.random.default_rng(0).standard_normal((20_000, 3))
    expected = ot.sliced_wasserstein_distance(x.numpy(), many, projections=directions)
    assert sliced_wasserstein(x, generator(4)) == pytest.approx(expected, rel=0.02)


def test_sliced_wasserstein_of_shifted_and_scaled_normals_is_the_formula() -> None:
    x = draw(20_000, 1)
    assert sliced_wasserstein(x, generator()) < 0.03
    assert sliced_wasserstein(x + 2, generator()) == pytest.approx(2, rel=0.02)
    assert sliced_wasserstein(3 * x, generator()) == pytest.approx(2, rel=0.02)
    assert sliced_wasserstein(torch.zeros(50, 4), generator()) == pytest.approx(1)


@pytest.mark.parametrize("n", [777, 1000])
def test_constants_have_no_kurtosis_and_no_correlation_despite_rounded_means(n: int) -> None:
    constant = to_normal("uniform", torch.full((n, 3), 0.77))
    assert float((constant - constant.mean(0)).abs().max()) > 0  # the mean is not exact
    assert excess_kurtosis(constant).tolist() == [0.0] * 3
    assert max_correlation(constant) == 0.0


@pytest.mark.parametrize("p", [1, 2, 5])
def test_p_value_of_henze_zirkler_is_that_of_the_papers_lognormal(p: int) -> None:
    """Henze and Zirkler, 1990, Theorem 3.1: mean and variance of the statistic, written term by term."""
    x, n = draw(50, p), 50
    b = ((2 * p + 1) * n / 4) ** (1 / (p + 4)) / math.sqrt(2)
    a, w = 1 + 2 * b**2, (1 + b**2) * (1 + 3 * b**2)
    mean = 1 - (1 + p * b**2 / a + p * (p + 2) * b**4 / (2 * a**2)) / math.sqrt(a) ** p
    variance = 2 / math.sqrt(1 + 4 * b**2) ** p
    for factor in (1, 2 * p * b**4 / a**2, 3 * p * (p + 2) * b**8 / (4 * a**4)):
        variance += 2 / a**p * factor
    for factor in (1, 3 * p * b**4 / (2 * w), p * (p + 2) * b**8 / (2 * w**2)):
        variance -= 4 / math.sqrt(w) ** p * factor
    spread = math.sqrt(math.log(1 + variance / mean**2))
    lognormal = stats.lognorm(s=spread, scale=mean / math.sqrt(1 + variance / mean**2))
    statistic, p_value = henze_zirkler(x)
    assert p_value == pytest.approx(float(lognormal.sf(statistic)), rel=1e-9)
