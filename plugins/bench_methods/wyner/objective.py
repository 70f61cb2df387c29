"""Variational Wyner model: what two modalities have in common, in a latent with little else in it.

Paper: Ryu, Choi, Kim, El-Khamy, Lee, 2019, revised 2022, https://arxiv.org/abs/1905.10945
Code:  https://github.com/jongharyu/wyner-model/tree/6c5ecd8/src/models/adversarial/bimodal
Note:  The joint and the two conditional terms, the information term of the variational encoder, and reconstructions
       are here; the code has more terms, each off by default: cross, marginal and aggregate ones, and the information
       of the model's own samples. The code's weights of all terms are 0 by default and its commands are not published,
       so ours are chosen here. The networks are small; q(z | x, y) is the encoder under study. In a step the same
       private latents and the same instance noise serve all terms, and the information term compares with the latents
       of the next item, not of a random one.

Shapes: N pairs of items (N, ...), D features, Z coordinates of the common latent, P and Q of the private ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import (
    Batch,
    Config,
    DataSpec,
    Encoder,
    EpochContext,
    Loss,
    Objective,
    Player,
    Recipe,
    choice,
    hookimpl,
    log,
    param,
)
from bench_core.data import Pair
from bench_core.nn.momentum import momentum_copy, update_copy
from bench_core.nn.mutual_information import jensen_shannon

from .networks import Decoder, ModalityEncoder, modality_skip_reason
from .ratios import RatioNetworks, Sample

# The latents that each term's log-ratio reads beside the pair.
TERMS: Mapping[str, tuple[str, ...]] = {
    "joint": ("z", "u", "v"), "to_second": ("z", "v"), "to_first": ("z", "u"), "information": ("z",),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class WynerConfig(Config):
    """Parameters of the model: latents, weights of the terms, networks."""

    common_dim: int = param(16, "length of the common latent z, in coordinates", "code: dim-z", ge=1)
    private_dim: int = param(
        2, "length of each private latent, u and v, in coordinates", "ours: room for a style; code has 8", ge=1
    )
    joint_weight: float = param(
        1.0, "weight of matching pairs and latents of model and data", "ours: code has 0 unless set", ge=0
    )
    conditional_weight: float = param(
        1.0, "weight of matching pairs of which one half is made from the other", "ours: code has 0 unless set", ge=0
    )
    information_weight: float = param(
        0.01,
        "weight of the information between pair and common latent",
        "ours: code has 0 unless set",
        ge=0,
        tune=log(1e-4, 1.0),
    )
    reconstruction_weight: float = param(
        100.0,
        "weight of the mean absolute errors of reconstructions",
        "ours: 10 is far slower on digits",
        ge=0,
        tune=log(3.0, 300.0),
    )
    noise: float = param(
        0.25,
        "standard deviation of the noise on all that the log-ratios read",
        "code: discriminator noise",
        ge=0,
        tune=log(0.03, 1.0),
    )
    momentum: float = param(
        0.999,
        "momentum of the averaged weights that training ends with",
        "code",
        ge=0,
        lt=1,
        tune=choice(0.9, 0.99, 0.999),
    )
    width: int = param(32, "channels of the first convolutions, and before a decoder's last one", "code: base-cc", ge=1)
    units: int = param(256, "units of the networks of features and log-ratios", "ours: CPU; code has 512", ge=1)


class WynerViews(NamedTuple):
    """Pairs of one step, with all random numbers of the step.

    Attributes:
        pairs: Pairs of the data.
        z: (N, Z) common latents of the prior.
        u: (N, P) private latents of the prior, of the first modality.
        v: (N, Q) the same, of the second modality.
        noise: Standard normal noise for all parts of a sample.
    """

    pairs: Pair
    z: Tensor
    u: Tensor
    v: Tensor
    noise: Sample


class Codes(NamedTuple):
    """Features and common latents of the pairs of a batch.

    Attributes:
        first: (N, U) features of the first modality by itself, which its private latent is made from.
        second: (N, U) the same of the second modality.
        z_pair: (N, Z) common latents of the pairs.
        z_first: (N, Z) those of the first modality by itself.
        z_second: (N, Z) those of the second modality by itself.
    """

    first: Tensor
    second: Tensor
    z_pair: Tensor
    z_first: Tensor
    z_second: Tensor


class Generator(nn.Module):
    """Networks that make samples beside the encoder of pairs: its head, an encoder and a decoder of each modality."""

    def __init__(self, features: int, first: DataSpec, second: DataSpec, config: WynerConfig) -> None:
        """Build the networks.

        Args:
            features: Number of features D of the encoder of pairs.
            first: The first modality.
            second: The second modality.
            config: Sizes of latents and networks.
        """
        super().__init__()
        sizes = config.common_dim, config.private_dim, config.width, config.units
        self.to_common = nn.Linear(features, config.common_dim)
        self.encode_first, self.encode_second = (ModalityEncoder(data, *sizes) for data in (first, second))
        self.decode_first, self.decode_second = (Decoder(data, *sizes) for data in (first, second))


class Wyner(Objective):
    """Common and private latents of pairs (Ryu 2019).

    Trains the encoder of pairs with encoders of each modality and two decoders against networks of log-ratios. Tasks
    read `features`, `latent` (common latents of pairs), `first` and `second` (those of each modality by itself).
    """

    Config = WynerConfig
    recipe = Recipe(optimizer="adam", learning_rate=1e-4, momentum=0.5, schedule="constant", epochs=100, batch_size=64)
    recipe_source = "code, options.py: Adam 1e-4 with betas .5 and .999, batches of 64, 100 epochs"
    step: int = 0  # number of the batch, from the training loop

    def __init__(self, encoder: Encoder, data: DataSpec, config: WynerConfig) -> None:
        """Add the networks of the model, those of the log-ratios, and averages of the first."""
        super().__init__(encoder, data, config)
        assert data.modalities is not None, "pairs have modalities"
        self.config = config
        first, second = data.modalities.values()
        self.generator = Generator(encoder.dim, first, second, config)
        dims = {"z": config.common_dim, "u": config.private_dim, "v": config.private_dim}
        self.ratios = RatioNetworks(first, second, TERMS, dims, config.width, config.units)
        self.average = momentum_copy(nn.ModuleList([encoder, self.generator]))

    def players(self) -> list[Player]:
        """Return `ratios`, the networks of log-ratios, and `model`, all others."""
        model = [*self.encoder.parameters(), *self.generator.parameters()]
        return [Player("ratios", list(self.ratios.parameters())), Player("model", model)]

    def make_views(self, batch: Batch, rng: torch.Generator) -> WynerViews:
        """Return the pairs unchanged, with latents of the prior and instance noise."""
        first, second = batch.inputs.first, batch.inputs.second
        n, common, private = len(first), self.config.common_dim, self.config.private_dim

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=rng, device=rng.device)

        z, u, v = normal(n, common), normal(n, private), normal(n, private)
        noise = Sample(
            normal(*first.shape), normal(*second.shape), normal(n, common), normal(n, private), normal(n, private)
        )
        return WynerViews(batch.inputs, z, u, v, noise)

    def before_step(self, context: EpochContext) -> Mapping[str, float]:
        """Keep the number of the step, for the averages."""
        self.step = context.step
        return {}

    def forward(self, views: WynerViews, player: str = "model") -> Loss:
        """Return the loss of the log-ratios, or that of the model."""
        with torch.set_grad_enabled(player == "model" and torch.is_grad_enabled()):
            codes = self._codes(views.pairs)
            samples = self._samples(views, codes)
        ratios = self._ratios(samples, views.noise)
        if player == "ratios":
            fits = {f"fit_{term}": jensen_shannon(high, low) for term, (high, low) in ratios.items()}
            return Loss(-torch.stack(list(fits.values())).sum(), fits)
        errors = self._reconstruction_errors(views.pairs, codes)
        parts = {term: (high - low).mean() for term, (high, low) in ratios.items() if term != "information"}
        parts |= {"information": ratios["information"][0].mean(), "reconstruction": errors}
        config = self.config
        total = (
            config.joint_weight * parts["joint"]
            + config.conditional_weight * (parts["to_first"] + parts["to_second"])
            + config.information_weight * parts["information"]
            + config.reconstruction_weight * errors
        )
        return Loss(total, parts)

    def _codes(self, pairs: Pair) -> Codes:
        g = self.generator
        first, second = g.encode_first.features(pairs.first), g.encode_second.features(pairs.second)
        z_pair = g.to_common(self.encoder(pairs))
        return Codes(first, second, z_pair, g.encode_first.to_common(first), g.encode_second.to_common(second))

    def _samples(self, views: WynerViews, codes: Codes) -> dict[str, Sample]:
        """Return a sample of the data, "data", and one of the model for each term but "information"."""
        g, (pairs, z, u, v, _) = self.generator, views
        u_data = g.encode_first.private(codes.first, codes.z_pair)
        v_data = g.encode_second.private(codes.second, codes.z_pair)
        to_second = g.decode_second(codes.z_first, v)
        to_first = g.decode_first(codes.z_second, u)
        return {
            "data": Sample(pairs.first, pairs.second, codes.z_pair, u_data, v_data),
            "joint": Sample(g.decode_first(z, u), g.decode_second(z, v), z, u, v),
            "to_second": Sample(pairs.first, to_second, codes.z_first, u, v),
            "to_first": Sample(to_first, pairs.second, codes.z_second, u, v),
        }

    def _reconstruction_errors(self, pairs: Pair, codes: Codes) -> Tensor:
        """Return the sum () of four mean absolute errors.

        Each modality is made from its private latent and the common one of the pair, then that of the other modality.
        """
        g, errors = self.generator, list[Tensor]()
        for z in (codes.z_pair, codes.z_second):
            errors.append(F.l1_loss(g.decode_first(z, g.encode_first.private(codes.first, z)), pairs.first))
        for z in (codes.z_pair, codes.z_first):
            errors.append(F.l1_loss(g.decode_second(z, g.encode_second.private(codes.second, z)), pairs.second))
        return torch.stack(errors).sum()

    def _ratios(self, samples: Mapping[str, Sample], noise: Sample) -> dict[str, tuple[Tensor, Tensor]]:
        """Return for each term the log-ratios (N,) of the data and of the term's own sample.

        Those of "information" are of the data, and of the data with each common latent replaced by the next item's.
        """
        noisy = {name: sample.plus(noise, self.config.noise) for name, sample in samples.items()}
        data = noisy.pop("data")
        features = self.ratios.features(data)
        ratios = {
            term: (self.ratios(term, features, data), self.ratios(term, self.ratios.features(sample), sample))
            for term, sample in noisy.items()
        }
        joint, shuffled = (self.ratios("information", features, s) for s in (data, data._replace(z=data.z.roll(1, 0))))
        return ratios | {"information": (joint, shuffled)}

    @torch.no_grad()
    def after_step(self) -> None:
        """Move the averages towards the model; in the first steps more, so that they forget the initial weights."""
        count = self.step + 1
        model = nn.ModuleList([self.encoder, self.generator])
        update_copy(self.average, model, min(self.config.momentum, (1 + count) / (10 + count)))

    @torch.no_grad()
    def after_training(self, context: EpochContext) -> Mapping[str, float]:
        """Give the model its averaged weights; the statistics of batch norm stay."""
        model = nn.ModuleList([self.encoder, self.generator])
        for parameter, average in zip(model.parameters(), self.average.parameters(), strict=True):
            parameter.copy_(average)
        return {}

    def embed(self, inputs: Pair) -> dict[str, Tensor]:
        """Return `features` (N, D), and common latents (N, Z): `latent`, `first` and `second`."""
        features = self.encoder(inputs)
        return {
            "features": features,
            "latent": self.generator.to_common(features),
            "first": self.embed_first(inputs.first),
            "second": self.embed_second(inputs.second),
        }

    def embed_first(self, inputs: Tensor) -> Tensor:
        """Return the common latent (N, Z) of items of the first modality."""
        return self._common(self.generator.encode_first, inputs)

    def embed_second(self, inputs: Tensor) -> Tensor:
        """Return the common latent (N, Z) of items of the second modality."""
        return self._common(self.generator.encode_second, inputs)

    def to_first(self, second: Tensor, rng: torch.Generator) -> Tensor:
        """Make the first modality (N, ...) of items of the second, with private latents of the prior."""
        return self._decoded(self.generator.decode_first, self.embed_second(second), rng)

    def to_second(self, first: Tensor, rng: torch.Generator) -> Tensor:
        """Make the second modality (N, ...) of items of the first, with private latents of the prior."""
        return self._decoded(self.generator.decode_second, self.embed_first(first), rng)

    def sample_pairs(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n pairs, with latents of the prior."""
        z = torch.randn(n, self.config.common_dim, generator=rng, device=rng.device)
        return self._decoded(self.generator.decode_first, z, rng), self._decoded(self.generator.decode_second, z, rng)

    def _common(self, encoder: ModalityEncoder, inputs: Tensor) -> Tensor:
        latent: Tensor = encoder.to_common(encoder.features(inputs))
        return latent

    def _decoded(self, decoder: Decoder, z: Tensor, rng: torch.Generator) -> Tensor:
        private = torch.randn(len(z), self.config.private_dim, generator=rng, device=rng.device)
        items: Tensor = decoder(z, private)
        return items

    @classmethod
    def skip_reason(cls, data: DataSpec, config: WynerConfig) -> str | None:
        """Return a reason unless the data are pairs of images of at least 8 pixels, or of vectors."""
        if data.kind != "pairs" or data.modalities is None:
            return f"learns from pairs; this data has the kind {data.kind}"
        reasons = {name: modality_skip_reason(spec) for name, spec in data.modalities.items()}
        return next((f"modality {name}: {reason}" for name, reason in reasons.items() if reason), None)


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"wyner": Wyner}
