"""Bounds against closed forms: a linear-Gaussian model has a known likelihood, and probabilities sum to 1."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import multivariate_normal, norm
from torch import Tensor

from bench_core.nn.latent_sampling import gaussian_like
from bench_core.nn.variational import (
    LatentModel,
    Likelihood,
    Posterior,
    active_units,
    discretised_gaussian,
    gaussian_kl,
    log_likelihood,
)

LEVELS = torch.arange(256, dtype=torch.float64) / 255


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


class LinearGaussian:
    """Model x = W z + s e with orthogonal columns in W.

    Its posterior is normal with independent coordinates (probabilistic PCA).
    """

    def __init__(self) -> None:
        self.weight = torch.linalg.qr(draw(7, 3)).Q * torch.tensor([2.0, 1.0, 0.5]).double()
        self.scale = 0.3
        self.x = draw(5, 3, seed=1) @ self.weight.T + self.scale * draw(5, 7, seed=2)

    def conditional(self, latents: Tensor) -> Tensor:
        residual = (self.x - latents @ self.weight.T) / self.scale
        likelihood: Tensor = (-0.5 * residual.square() - math.log(self.scale * math.sqrt(2 * math.pi))).sum(1)
        return likelihood

    def posterior(self) -> Posterior:
        precision = self.weight.square().sum(0) / self.scale**2 + 1
        return Posterior(self.x @ self.weight / self.scale**2 / precision, precision.rsqrt().expand(5, 3))

    def exact(self) -> Tensor:
        covariance = self.weight @ self.weight.T + self.scale**2 * torch.eye(7).double()
        return torch.from_numpy(multivariate_normal(cov=covariance.numpy()).logpdf(self.x.numpy()))

    def elbo(self, posterior: Posterior) -> Tensor:
        """Return the exact ELBO: a quadratic form has its mean over the 2P points at sqrt(P) deviations."""
        points = math.sqrt(3) * torch.cat([torch.eye(3), -torch.eye(3)]).double()
        likelihoods = [self.conditional(posterior.mean + posterior.deviation * point) for point in points]
        return torch.stack(likelihoods).mean(0) - gaussian_kl(posterior)


def test_elbo_is_the_likelihood_at_the_true_posterior_and_less_at_others() -> None:
    model = LinearGaussian()
    mean, deviation = model.posterior()
    assert torch.allclose(model.elbo(Posterior(mean, deviation)), model.exact(), atol=1e-10)
    for wrong in (Posterior(mean + 0.1, deviation), Posterior(mean, 1.5 * deviation), Posterior(0 * mean, deviation)):
        assert (model.elbo(wrong) < model.exact() - 0.01).all()


def test_one_draw_of_the_true_posterior_gives_the_exact_likelihood() -> None:
    model = LinearGaussian()
    assert torch.allclose(log_likelihood(model.conditional, model.posterior(), 1, rng()), model.exact(), atol=1e-10)


def test_importance_weighted_bound_rises_from_the_elbo_to_the_likelihood() -> None:
    model = LinearGaussian()
    mean, deviation = model.posterior()
    wrong = Posterior(mean + 0.7 * deviation, 1.3 * deviation)
    generator = rng(3)

    def bound(samples: int) -> Tensor:
        draws = [log_likelihood(model.conditional, wrong, samples, generator) for _ in range(2000 // samples)]
        return torch.stack(draws).mean(0)

    bounds = [bound(1), bound(3), bound(12), model.exact()]
    assert all((after > before + 0.02).all() for before, after in itertools.pairwise(bounds))
    assert torch.allclose(bounds[0], model.elbo(wrong), atol=0.2)
    assert torch.allclose(bound(2000), model.exact(), atol=0.15)


def test_bound_without_samples_is_refused() -> None:
    model = LinearGaussian()
    with pytest.raises(ValueError, match="samples must be >= 1, got 0"):
        log_likelihood(model.conditional, model.posterior(), 0, rng())


def test_kl_equals_that_of_torch_and_is_zero_for_the_prior() -> None:
    posterior = Posterior(draw(4, 3), draw(4, 3, seed=1).exp())
    q, p = torch.distributions.Normal(*posterior), torch.distributions.Normal(0.0, 1.0)
    assert torch.allclose(gaussian_kl(posterior), torch.distributions.kl_divergence(q, p).sum(1))
    assert not gaussian_kl(Posterior(torch.zeros(4, 3), torch.ones(4, 3))).any()


@pytest.mark.parametrize("scale", [1.1e-3, 0.01, 0.14, 1.0, 20.0])
@pytest.mark.parametrize("mean", [-3.0, 0.0, 0.3333, 0.5, 1.0, 1.7])
def test_probabilities_of_all_levels_sum_to_one(scale: float, mean: float) -> None:
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 2e-4)):
        levels = LEVELS.to(dtype)
        log_probs = discretised_gaussian(levels, torch.full_like(levels, mean), torch.tensor(scale, dtype=dtype))
        assert log_probs.isfinite().all()
        assert log_probs.exp().sum().item() == pytest.approx(1.0, abs=tolerance)


def test_level_has_the_mass_of_its_bin_and_the_outermost_levels_have_the_tails() -> None:
    mean, scale = torch.tensor([0.02, 0.7, 0.4, 0.9]), torch.tensor(0.2)
    log_probs = discretised_gaussian(torch.tensor([0.0, 1.0, 100 / 255, 30 / 255]), mean, scale)
    expected = [
        norm.logcdf((0.5 / 255 - 0.02) / 0.2),
        norm.logsf((254.5 / 255 - 0.7) / 0.2),
        *(math.log(norm.cdf(high, m, 0.2) - norm.cdf(low, m, 0.2)) for low, high, m in bins()),
    ]
    assert log_probs.tolist() == pytest.approx(expected, abs=2e-4)


def bins() -> list[tuple[float, float, float]]:
    return [(99.5 / 255, 100.5 / 255, 0.4), (29.5 / 255, 30.5 / 255, 0.9)]


def test_tails_are_symmetric() -> None:
    mean, scale = torch.rand(256, generator=rng(4), dtype=torch.float64), torch.tensor(0.01)
    assert torch.allclose(
        discretised_gaussian(LEVELS, mean, scale), discretised_gaussian(1 - LEVELS, 1 - mean, scale), atol=1e-6
    )


def test_mean_outside_the_range_makes_black_or_white_nearly_certain() -> None:
    levels = torch.tensor([0.0, 1.0])
    log_probs = discretised_gaussian(levels, torch.tensor([-1.0, 2.0]), torch.tensor(0.2))
    assert (log_probs > -1e-5).all()
    wrong = discretised_gaussian(levels, torch.tensor([300.0, -300.0]), torch.tensor(0.01))
    assert wrong.isfinite().all()
    assert (wrong < -1e8).all()


def test_gradients_of_the_discretised_gaussian_equal_finite_differences_and_are_finite_in_the_tails() -> None:
    images = torch.tensor([0.0, 1.0, 0.2, 0.6, 1.0, 0.0]).double()
    mean = torch.tensor([-0.1, 1.2, 0.3, 0.6, 0.1, 0.9]).double().requires_grad_()
    scale = torch.tensor(0.15).double().requires_grad_()
    function: Callable[[Tensor, Tensor], Tensor] = lambda m, s: discretised_gaussian(images, m, s)  # noqa: E731
    assert torch.autograd.gradcheck(function, (mean, scale))
    sharp = torch.tensor(1.1e-3, requires_grad=True)
    far = mean.detach().float().requires_grad_()
    gradients = torch.autograd.grad(discretised_gaussian(images.float(), far, sharp).sum(), (far, sharp))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_units_are_active_if_their_means_vary_by_more_than_a_hundredth() -> None:
    signs = torch.tensor([[1.0], [-1.0]])
    assert active_units(signs * torch.tensor([0.0, 0.09, 0.11, 3.0]) + 7).item() == 2
    assert active_units(torch.ones(1, 4)).item() == 0


def test_bernoulli_likelihood_of_grey_values_is_the_mean_over_binary_images() -> None:
    torch.manual_seed(0)
    model = LatentModel(6, (1, 8, 8), 4, "bernoulli", 2).eval()
    images, latents = torch.rand(1, 1, 8, 8, generator=rng(1)), torch.randn(1, 4, generator=rng(2))
    generator = rng(3)
    binary = torch.bernoulli(images.expand(20_000, -1, -1, -1), generator=generator)
    with torch.no_grad():
        values = model.decoder(latents).expand_as(binary)
        likelihoods = F.logsigmoid((2 * binary - 1) * values).flatten(1).sum(1)
        assert model.conditional(images, latents).item() == pytest.approx(likelihoods.mean().item(), abs=0.02)


def test_only_the_gaussian_likelihood_learns_a_scale_which_is_one_number() -> None:
    gaussian = dict(LatentModel(6, (3, 8, 8), 4, "gaussian", 2).named_parameters())
    bernoulli = dict(LatentModel(6, (3, 8, 8), 4, "bernoulli", 2).named_parameters())
    assert gaussian["log_scale"].shape == ()
    assert set(gaussian) - set(bernoulli) == {"log_scale"}


def test_bits_are_named_after_the_kind_of_values() -> None:
    posterior = Posterior(torch.ones(2, 4), torch.ones(2, 4))
    conditional, kl = torch.tensor([-100.0, -200.0]), torch.tensor([3.0, 5.0])
    kinds: list[tuple[Likelihood, str]] = [("gaussian", "bits_per_dim"), ("bernoulli", "bits_per_binary_value")]
    for kind, name in kinds:
        parts = LatentModel(6, (3, 8, 8), 4, kind, 2).parts(posterior, conditional, kl, 192)
        assert set(parts) == {"elbo", "kl", "reconstruction", "active_units", name}
        assert parts["elbo"].item() == -154
        assert parts[name].item() == pytest.approx(154 / 192 / math.log(2))


def test_samples_are_decoded_from_the_prior_or_from_a_gaussian_of_given_latents() -> None:
    torch.manual_seed(0)
    model = LatentModel(6, (1, 8, 8), 3, "bernoulli", 2).eval()
    assert torch.equal(model.sample(4, rng()), model.decode(torch.randn(4, 3, generator=rng())).detach())
    like = torch.randn(9, 3, generator=rng(1))
    assert torch.equal(model.sample(4, rng(), like), model.decode(gaussian_like(like, 4, rng())).detach())
