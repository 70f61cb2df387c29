"""Likelihood of a latent-variable model whose exact likelihood is known, and skip reasons."""

import math
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from bench_core import Batch, DataSpec, Embedded, Frozen, LatentVariable, Loss, NoConfig, Objective, Split
from bench_core.conformance.toys import TinyEncoder, Untrained
from bench_evaluators.likelihood import Likelihood, LikelihoodConfig
from bench_methods.beta_vae import BetaVAE
from bench_methods.vae import VAE

SHAPE = (1, 8, 8)
DATA = DataSpec(shape=SHAPE, splits={"train": 8, "test": 40})


class Linear(Objective):
    """x = z + N(0, 1) in one coordinate, the mean pixel; q is the true posterior, shifted by `off`."""

    off = 0.0

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        return Loss(torch.zeros(()))

    def exact(self, inputs: Tensor) -> Tensor:
        """Return the exact log-likelihood, log N(x; 0, 2)."""
        return -0.25 * inputs.flatten(1).mean(1) ** 2 - 0.5 * math.log(4 * math.pi)

    def log_likelihood(self, inputs: Tensor, samples: int, rng: torch.Generator) -> Tensor:
        x = inputs.flatten(1).mean(1)
        weights = []
        for _ in range(samples):
            noise = torch.randn(x.shape, generator=rng)
            z = x / 2 + self.off + noise * math.sqrt(0.5)
            log_q = -0.5 * noise**2 - 0.5 * math.log(math.pi)
            weights.append(-0.5 * (x - z) ** 2 - 0.5 * z**2 - math.log(2 * math.pi) - log_q)
        return torch.logsumexp(torch.stack(weights), 0) - math.log(samples)

    def divergence(self, inputs: Tensor) -> Tensor:
        mean = inputs.flatten(1).mean(1) / 2 + self.off
        return 0.5 * (mean**2 + 0.5 - 1 + math.log(2))

    def likelihood_of(self) -> Literal["levels", "binary"]:
        return "levels"


def frozen(off: float = 0.0) -> Frozen:
    method = Linear(TinyEncoder(DATA), DATA, NoConfig()).eval()
    method.off = off
    images = torch.randint(0, 256, (40, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    latent = torch.randn(40, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, 0.5, 1e-3])
    embedded = Embedded({"features": latent, "latent": latent})
    return Frozen({"test": embedded}, DATA, 0, torch.device("cpu"), lambda: method, lambda name: Split(images))


def measured(off: float = 0.0, **config: int) -> dict[str, float]:
    evaluation = Likelihood(LikelihoodConfig(**config)).evaluate(frozen(off))
    return {score.metric: score.value for score in evaluation.scores}


def test_with_the_true_posterior_both_bounds_are_the_log_likelihood() -> None:
    scores, around = measured(samples=3), frozen()
    images = around.inputs("test").inputs
    assert isinstance(images, Tensor)
    exact = float(Linear(TinyEncoder(DATA), DATA, NoConfig()).exact(images / 255).mean())
    assert scores["log_likelihood"] == pytest.approx(exact, abs=1e-5)
    assert scores["elbo"] == pytest.approx(exact, abs=1e-5)
    assert scores["bits_per_dim"] == pytest.approx(-exact / (64 * math.log(2)), abs=1e-6)


def test_with_a_worse_posterior_more_draws_are_tighter_and_the_kl_is_larger() -> None:
    true_posterior, few, many = measured(), measured(off=1.0, samples=1), measured(off=1.0, samples=200)
    assert few["log_likelihood"] < many["log_likelihood"] < true_posterior["log_likelihood"] + 0.1
    assert many["kl"] > true_posterior["kl"] + 0.5


def test_units_that_do_not_vary_are_not_active() -> None:
    assert measured()["active_units"] == 2


def test_items_are_drawn_by_seed_and_their_number_is_in_the_protocol() -> None:
    evaluation = Likelihood(LikelihoodConfig(items=7, samples=2)).evaluate(frozen())
    assert {score.n for score in evaluation.scores} == {7}
    assert "7 items of test" in evaluation.protocol
    assert measured(items=7, samples=2) == measured(items=7, samples=2)


def test_methods_without_a_likelihood_are_skipped() -> None:
    task = Likelihood(LikelihoodConfig())
    assert task.skip_reason(DATA, Untrained) == "has no likelihood"
    for cls in (VAE, BetaVAE):
        assert issubclass(cls, LatentVariable)
        assert task.skip_reason(DATA, cls) is None


def test_likelihoods_of_binary_values_have_other_metric_names(monkeypatch: pytest.MonkeyPatch) -> None:
    of_levels = measured(items=10, samples=2)
    monkeypatch.setattr(Linear, "likelihood_of", lambda self: "binary")
    of_binary = measured(items=10, samples=2)
    assert {"log_likelihood", "elbo", "bits_per_dim"} == set(of_levels) - set(of_binary)
    assert {"log_likelihood_binary", "elbo_binary", "bits_per_binary_value"} == set(of_binary) - set(of_levels)
    assert of_binary["elbo_binary"] == of_levels["elbo"]


def test_a_vae_is_measured() -> None:
    torch.manual_seed(0)
    vae = VAE(TinyEncoder(DATA), DATA, VAE.Config(latent_dim=3, width=4)).eval()
    template = frozen()
    with_vae = Frozen(template.splits, DATA, 0, torch.device("cpu"), lambda: vae, template.inputs)
    scores = {s.metric: s.value for s in Likelihood(LikelihoodConfig(items=20, samples=5)).evaluate(with_vae).scores}
    assert scores["log_likelihood"] >= scores["elbo"] - 5
    assert scores["kl"] >= 0
    assert scores["bits_per_dim"] == pytest.approx(-scores["log_likelihood"] / (64 * math.log(2)))


@pytest.mark.parametrize("name", ["items", "samples"])
def test_counts_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be >= 1, got 0"):
        LikelihoodConfig(**{name: 0})
