"""Task likelihood: bounds on the log-likelihood that a latent-variable model (VAE) gives to test images.

Measured are the ELBO, the tighter importance-weighted bound, the divergence of the posterior from the prior (KL), and
the number of latents in use. NAC's authors report that its encoder gives a VAE higher log-likelihood and higher KL.

Paper: Burda, Grosse, Salakhutdinov, ICLR 2016, https://arxiv.org/abs/1509.00519 (the bound, active units)
Note:  a likelihood of 256 levels cannot be compared with one of binary values; their scores have different names, so
       that no column of a table holds both.

Shapes: N items, P latents.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from bench_core import (
    Config,
    DataSpec,
    Evaluation,
    Evaluator,
    Frozen,
    LatentVariable,
    Objective,
    Score,
    Split,
    hookimpl,
    param,
    stream,
)
from bench_core.data import open_split
from bench_core.nn.variational import active_units

_BATCH = 250  # images at once; the random draws depend on it, so the protocol names it


@dataclass(frozen=True, kw_only=True)
class LikelihoodConfig(Config):
    """Parameters of the estimate: number of items and of draws."""

    items: int = param(2000, "maximal number of test items, drawn at random", "ours: seconds on a CPU", ge=1)
    samples: int = param(
        50,
        "draws from the posterior for each item; more draws give a tighter bound",
        "ours: seconds on a CPU; more draws, tighter",
        ge=1,
    )


class Likelihood(Evaluator):
    """Bounds on the log-likelihood of test images.

    The first score is the importance-weighted bound in nats an image (higher is better). The ELBO, the divergence of
    the posterior from the prior (KL), the number of active units and bits per dimension follow. Needs images with a
    test split, and a model with a likelihood (VAE).
    """

    Config = LikelihoodConfig
    family = "generation"

    def __init__(self, config: LikelihoodConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip methods without a likelihood, and data without a test split."""
        if not issubclass(objective, LatentVariable):
            return "has no likelihood"
        return None if "test" in data.splits else "needs a test split"

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Measure random items of the test split."""
        method = frozen.method()
        model = cast(LatentVariable, method)
        split = frozen.inputs("test")
        chosen = torch.randperm(len(split), generator=stream(frozen.seed, "likelihood", "items"))
        chosen = chosen[: self.config.items].sort().values
        rng = stream(frozen.seed, "likelihood", device=frozen.device)
        elbo, weighted, divergence = self._measure(model, split, chosen, frozen.device, rng)
        values = math.prod(frozen.data.shape)
        pixels = model.likelihood_of()
        bits, kind = {"levels": ("bits_per_dim", ""), "binary": ("bits_per_binary_value", "_binary")}[pixels]
        units = active_units(frozen.splits["test"].embeddings["latent"][chosen])
        n = len(chosen)
        scores = [
            Score(metric=f"log_likelihood{kind}", value=float(weighted.mean()), unit="nats", embedding="latent", n=n),
            Score(metric=f"elbo{kind}", value=float(elbo.mean()), unit="nats", embedding="latent", n=n),
            Score(metric="kl", value=float(divergence.mean()), unit="nats", embedding="latent", n=n),
            Score(metric="active_units", value=float(units), unit="count", embedding="latent", n=n),
            Score(
                metric=bits, value=-float(weighted.mean()) / (values * math.log(2)), unit="bits",
                higher_is_better=False, embedding="latent", n=n,
            ),
        ]  # fmt: skip
        images = {
            "levels": "images of 256 levels",
            "binary": "binary images drawn with the grey values as chances",
        }[pixels]
        return Evaluation(
            scores=scores,
            protocol=(
                f"{n:,} items of test, seeded, in batches of {_BATCH}; {images}; log_likelihood: importance-weighted "
                f"bound of {self.config.samples} draws, in nats an image, its bits for each value; elbo: one draw; "
                "active units: variance of the posterior's mean above .01"
            ),
        )

    @torch.inference_mode()
    def _measure(
        self, model: LatentVariable, split: Split, chosen: Tensor, device: torch.device, rng: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return ELBO, importance-weighted bound and KL of the chosen items, each (N,) in nats."""
        inputs = split.read(chosen)
        elbos, bounds, divergences = [], [], []
        for batch in open_split(Split(inputs), device).batches(_BATCH):
            elbos.append(model.log_likelihood(batch.inputs, 1, rng).cpu())
            bounds.append(model.log_likelihood(batch.inputs, self.config.samples, rng).cpu())
            divergences.append(model.divergence(batch.inputs).cpu())
        return torch.cat(elbos), torch.cat(bounds), torch.cat(divergences)


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"likelihood": Likelihood}
