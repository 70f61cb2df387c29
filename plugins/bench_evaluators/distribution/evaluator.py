"""Task distribution: distance of an embedding to a prior, for each coordinate and for random directions.

The prior's CDF turns values into normal scores, so that one set of measures serves every prior; for a Gaussian prior
the normal scores are the values themselves.

Of a method with a posterior (a VAE) draws are tested, one for each item, because these are what its loss brings to the
prior; the means stand beside them. If the posterior is the prior for every item, the draws match it perfectly, and the
means are all equal.

A method that sends its embedding through a noisy channel also gets a certificate, the gap: its upper bound on the
information minus the information that arrives, on test items. The noisy embedding cannot differ by more than the gap
from the distribution that meets the bound (Kullback-Leibler divergence in nats, if the embedding has the second moments
of that distribution).

Source: ours. Tests and distances are those of `bench_evaluators.distribution.normality`; the certificate follows from
        the bounds of Butakov et al., ICLR 2025, https://arxiv.org/abs/2410.06993
Shapes: N items, D coordinates.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from bench_core import (
    Config,
    DataSpec,
    Evaluation,
    Evaluator,
    Frozen,
    Matching,
    NoisyChannel,
    Objective,
    PosteriorSampling,
    Score,
    hookimpl,
    param,
    stream,
)
from bench_core.data import open_split
from bench_core.evaluation.embeddings import embedding_of, loss_embedding_name
from bench_core.nn.priors import check_prior, cumulative, quantile, to_normal

from .normality import (
    ALPHA,
    PROJECTIONS,
    SAMPLES,
    excess_kurtosis,
    ks_distance,
    max_correlation,
    pass_rates,
    sliced_ks,
    sliced_wasserstein,
)

BINS = 40  # bins of the histogram
DRAWS = "posterior_draws"  # "embedding" of the scores of draws from the posterior
_MEANS = "_means"  # end of the metrics of its means
_BATCH = 256  # items whose posterior is drawn from at once


@dataclass(frozen=True, kw_only=True)
class DistributionConfig(Config):
    """Parameters of the comparison between an embedding and a prior."""

    embedding: str | None = param(
        None,
        "name of the embedding that is evaluated; none uses the first that exists of embedding, latent, features, "
        "and, where `latent` has a posterior, draws from it",
        "ours: what was matched",
    )
    prior: str | None = param(
        None,
        "prior, by name or as in scipy.stats: beta(2, 5); none uses the method's own prior, else gaussian",
        "usual",
    )
    standardize: bool = param(False, "give each coordinate mean 0 and deviation 1 on train first", "ours: off")
    test_dims: int = param(
        16,
        "maximal number of coordinates for the pass rates, drawn at random",
        "ours: of 50, every normal sample of 200 passes",
        ge=1,
    )
    batch_size: int = param(
        256, "items in a batch of the held-out information, which cannot exceed log(batch_size) nats", "ours", ge=2
    )

    def __post_init__(self) -> None:
        """Check ranges, and that the prior exists."""
        super().__post_init__()
        if self.prior is not None:
            check_prior(self.prior)


class Distribution(Evaluator):
    """Distance of an embedding to its prior.

    The first score is the Kolmogorov-Smirnov distance of random projections to the prior (lower is better). Other
    distances, and the part of small samples that pass tests of normality, follow. Of methods with a posterior (VAE)
    draws are tested; scores of its means have the ending `_means`. Methods with a noisy channel (noisy DIM) also get
    the information that arrives in nats, and its gap to the upper bound. Needs a test split of 100 items or more; no
    labels.
    """

    Config = DistributionConfig
    revision = 2  # 2: of a posterior draws are tested, not its means
    ranks = False

    def __init__(self, config: DistributionConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data with fewer than 100 test items."""
        return None if data.splits.get("test", 0) >= 100 else "needs a test split of 100 items or more"

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Measure the test split."""
        method = frozen.method()
        prior = self.config.prior or (method.matched_prior() if isinstance(method, Matching) else "gaussian")
        read = self._read(frozen, method)
        name = next(iter(read))
        values = self._values(frozen, read[name])
        scores = self._scores(prior, name, values, frozen.seed)
        if name == DRAWS:
            scores += self._scores(prior, "latent", self._values(frozen, read["latent"]), frozen.seed, _MEANS)
        if isinstance(method, NoisyChannel):
            scores += _certificate(method, method, frozen, self.config.batch_size)
        n, dims = values.shape
        size, coordinates = self._tested(n, dims, frozen.seed)
        drawn_prior = torch.randn(n, dims, generator=stream(frozen.seed, "distribution", "prior"))
        floors = _sliced_ks(drawn_prior, frozen.seed), _sliced_wasserstein(drawn_prior, frozen.seed)
        what = f"{name}: one draw of each item's posterior ({_MEANS}: its means)" if name == DRAWS else name
        return Evaluation(
            scores=scores,
            protocol=(
                f"test split; {what}{', standardised on train' if self.config.standardize else ''}, against the prior "
                f"{prior}{'' if prior == 'gaussian' else ' by normal scores, each tail cut at 1e-6'}; KS distances on "
                f"all items, mean over coordinates and over {PROJECTIONS} random projections; pass rates at level "
                f"{ALPHA:g}, which 95% of normal samples pass, of {SAMPLES} samples of {size} items, "
                f"{len(coordinates)} of {dims} coordinates; kurtosis: mean absolute excess; information and gap, where "
                "the method has a channel: one draw of views and noise of the test split, in batches of "
                f"{self.config.batch_size}; sliced Wasserstein: of order 2, along the projections of sliced KS"
            ),
            notes=[
                f"as many samples of the prior itself: sliced KS {floors[0]:.4f}",
                f"as many samples of the prior itself: sliced Wasserstein {floors[1]:.4f}",
            ],
            curves={"histogram": histogram(prior, values[:, coordinates])},
        )

    def _read(self, frozen: Frozen, method: Objective) -> dict[str, Callable[[str], Tensor]]:
        """Return what is tested: name -> function that returns its values (N, D) of a split; the first one ranks."""
        name = self.config.embedding or loss_embedding_name(frozen.splits["test"])
        means = {name: lambda split: embedding_of(frozen.splits[split], name)}
        if self.config.embedding or name != "latent" or not isinstance(method, PosteriorSampling):
            return means
        return {DRAWS: lambda split: _draw(method, frozen, split), **means}

    def _values(self, frozen: Frozen, read: Callable[[str], Tensor]) -> Tensor:
        """Return the values of the test split (N, D) float64, standardised on train if the config says so."""
        values = read("test").double()
        if not self.config.standardize:
            return values
        train = read("train").double()
        return (values - train.mean(0)) / train.std(0, correction=0).clamp(min=1e-12)

    def _tested(self, n: int, dims: int, seed: int) -> tuple[int, Tensor]:
        """Return the size of a sample that is tested for normality, and the coordinates that are read."""
        size = min(200, n // 2)
        drawn = min(dims, self.config.test_dims, size // 2)
        return size, torch.randperm(dims, generator=stream(seed, "distribution", "dims"))[:drawn]

    def _scores(self, prior: str, name: str, values: Tensor, seed: int, end: str = "") -> list[Score]:
        """Measure values (N, D) of the embedding `name`; all metrics have the ending `end`."""
        normal = to_normal(prior, values)
        size, coordinates = self._tested(len(values), values.shape[1], seed)
        rates = pass_rates(normal[:, coordinates], stream(seed, "distribution", "samples"), size=size)
        distances = {
            "sliced_ks": (_sliced_ks(normal, seed), "distance"),
            "ks_mean": (float(ks_distance(cumulative(prior, values)).mean()), "distance"),
            "max_correlation": (max_correlation(normal), "correlation"),
            "excess_kurtosis": (float(excess_kurtosis(normal).abs().mean()), "moment"),
            "sliced_wasserstein": (_sliced_wasserstein(normal, seed), "distance"),
        }
        scores = [
            Score(
                metric=f"{metric}{end}", value=value, unit=unit, higher_is_better=False, best=0.0, embedding=name,
                n=len(values),
            )
            for metric, (value, unit) in distances.items()
        ]  # fmt: skip
        scores += [
            Score(metric=f"{test}_pass_rate{end}", value=rate, embedding=name, n=size * SAMPLES)
            for test, rate in rates.items()
        ]
        return scores


@torch.inference_mode()
def _draw(model: PosteriorSampling, frozen: Frozen, split: str) -> Tensor:
    """Draw one latent (N, P) of each item of a split from its posterior, on the CPU."""
    rng = stream(frozen.seed, "distribution", "posterior", split, device=frozen.device)
    batches = open_split(frozen.inputs(split), frozen.device).batches(_BATCH)
    return torch.cat([model.sample_posterior(batch.inputs, rng).cpu() for batch in batches])


def histogram(prior: str, values: Tensor) -> dict[str, list[float]]:
    """Return the density of all values and that of the prior, over a range that holds 99 % of both.

    Args:
        prior: Name of the prior.
        values: (N, D) float64; all coordinates are pooled.

    Returns:
        `centre` of each of `BINS` equal bins, mean `density` of the values in it, and mean density of the `prior`.
    """
    pooled = values.flatten().sort().values
    ends = quantile(prior, torch.tensor([0.005, 0.995], dtype=torch.float64))
    low = min(float(pooled[int(0.005 * (len(pooled) - 1))]), float(ends[0]))
    high = max(float(pooled[math.ceil(0.995 * (len(pooled) - 1))]), float(ends[1]))
    edges = torch.linspace(low, high, BINS + 1, dtype=torch.float64)
    width = (high - low) / BINS
    counts = torch.histogram(pooled, edges).hist
    return {
        "centre": ((edges[1:] + edges[:-1]) / 2).tolist(),
        "density": (counts / len(pooled) / width).tolist(),
        "prior": (cumulative(prior, edges).diff() / width).tolist(),
    }


def _sliced_wasserstein(normal: Tensor, seed: int) -> float:
    """Measure normal scores (N, D) along the same directions as `_sliced_ks`."""
    return sliced_wasserstein(normal, stream(seed, "distribution", "directions"))


def _sliced_ks(normal: Tensor, seed: int) -> float:
    """Measure normal scores (N, D) along random directions; a seed draws the same ones for all methods."""
    return sliced_ks(normal, stream(seed, "distribution", "directions"))


@torch.inference_mode()
def _certificate(method: Objective, channel: NoisyChannel, frozen: Frozen, batch_size: int) -> list[Score]:
    """Return the information that arrives on the test split, a mean over whole batches, and its gap to the bound.

    The channel transmits the embedding `embedding`, so both scores are about it, even if the config names another one.
    """
    name = "embedding"
    rng = stream(frozen.seed, "distribution", "views", device=frozen.device)
    order = stream(frozen.seed, "distribution", "batches")
    source = open_split(frozen.inputs("test"), frozen.device)
    batches = source.batches(batch_size, rng=order, drop_last=True)
    values = [float(channel.information(method.make_views(batch, rng))) for batch in batches]
    n, arrived, bound = len(values) * min(batch_size, len(source)), fmean(values), channel.capacity()
    scores = [Score(metric="information", value=arrived, unit="nats", embedding=name, n=n)]
    if bound < math.inf:
        gap = Score(metric="gap", value=bound - arrived, unit="nats", higher_is_better=False, embedding=name, n=n)
        scores.append(gap)
    return scores


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"distribution": Distribution}
