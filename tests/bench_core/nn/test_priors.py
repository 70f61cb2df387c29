from typing import Any, get_args

import pytest
import torch
from scipy import stats

from bench_core.contracts import PriorName
from bench_core.nn.priors import (
    PRIORS,
    check_prior,
    cumulative,
    from_normal,
    quantile,
    to_normal,
)

SCIPY_LAWS = {
    "gaussian": stats.norm,
    "uniform": stats.uniform,
    "laplace": stats.laplace,
    "exponential": stats.expon,
    "cauchy": stats.cauchy,
}
names = pytest.mark.parametrize("name", get_args(PriorName))


@names
def test_quantiles_and_cdf_equal_those_of_scipy(name: PriorName) -> None:
    scores = torch.linspace(-4, 4, 33, dtype=torch.float64)
    values = from_normal(name, scores)
    expected = SCIPY_LAWS[name].ppf(stats.norm.cdf(scores.numpy()))
    assert torch.allclose(values, torch.from_numpy(expected), rtol=1e-6)
    assert torch.allclose(cumulative(name, values), torch.from_numpy(stats.norm.cdf(scores.numpy())), atol=1e-8)


@names
def test_to_normal_is_the_inverse_of_from_normal(name: PriorName) -> None:
    scores = torch.linspace(-4, 4, 33, dtype=torch.float64)
    assert torch.allclose(to_normal(name, from_normal(name, scores)), scores, atol=1e-5)


@names
def test_values_are_finite_monotone_and_keep_their_type(name: PriorName) -> None:
    far = torch.tensor([-40.0, -6.0, 0.0, 6.0, 40.0])
    values = from_normal(name, far)
    assert values.dtype == torch.float32
    assert values.isfinite().all()
    assert (values.diff() >= 0).all()
    assert to_normal(name, torch.tensor([-1e9, 1e9])).isfinite().all()


def test_values_outside_the_support_count_as_its_ends() -> None:
    assert cumulative("uniform", torch.tensor([-1.0, 2.0])).tolist() == [0, 1]
    assert cumulative("exponential", torch.tensor([-1.0])).tolist() == [0]
    assert to_normal("uniform", torch.tensor([2.0])).item() == pytest.approx(stats.norm.ppf(1 - 1e-6), rel=1e-4)


def test_each_name_of_a_prior_has_a_distribution() -> None:
    assert tuple(PRIORS) == get_args(PriorName)


@pytest.mark.parametrize(
    ("name", "law"),
    [("beta(2, 5)", stats.beta(2, 5)), ("norm(1,2)", stats.norm(1, 2)), ("logistic()", stats.logistic())],
)
def test_any_continuous_law_of_scipy_is_a_prior(name: str, law: Any) -> None:
    check_prior(name)
    scores = torch.linspace(-3, 3, 13, dtype=torch.float64)
    values = from_normal(name, scores)
    assert torch.allclose(values, torch.from_numpy(law.ppf(stats.norm.cdf(scores.numpy()))))
    assert torch.allclose(cumulative(name, values), torch.from_numpy(law.cdf(values.numpy())))
    assert torch.allclose(to_normal(name, values), scores, atol=1e-6)
    assert float(quantile(name, torch.tensor([0.5]))) == pytest.approx(law.median())


@pytest.mark.parametrize(
    "name", ["gauss", "beta", "beta(2)", "beta(-1, 2)", "poisson(3)", "kstest(1)", "norm(a)", "norm(0"]
)
def test_name_that_is_no_continuous_law_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"prior must be gaussian, uniform, .* as beta"):
        check_prior(name)
