"""Toy methods that can do all that only some methods can, for the checks of tasks that measure such methods.

Shapes: N items, C channels, H x W pixels or D values of a vector, P latents.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench_core.conformance.tiny_encoders import TinyPairEncoder
from bench_core.conformance.toys import Untrained
from bench_core.contracts import DataSpec, Encoder, PriorName
from bench_core.data import Pair


class CapableOfImages(Untrained):
    """Method of images that trains nothing and has every capability of `bench_core.contracts.capabilities` (ours)."""

    def __init__(self, encoder: Encoder, data: DataSpec, config: Any) -> None:
        """Add a decoder of one linear layer."""
        super().__init__(encoder, data, config)
        self.shape, self.factors = data.shape, data.factors or {}
        self.decoder = nn.Linear(encoder.dim, math.prod(data.shape))

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the features under each name that a task may ask for."""
        features = self.encoder(inputs)
        return {"features": features, "latent": features, "embedding": features}

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents (N, P) to images (N, C, H, W) in [0, 1]."""
        images: Tensor = self.decoder(latents).sigmoid().view(-1, *self.shape)
        return images

    def sample(self, n: int, rng: torch.Generator, like: Tensor | None = None) -> Tensor:
        """Decode normal latents, or some of those that are given."""
        if like is None:
            return self.decode(torch.randn(n, self.encoder.dim, generator=rng, device=rng.device))
        return self.decode(like[torch.randint(len(like), (n,), generator=rng, device=rng.device)])

    def log_likelihood(self, inputs: Tensor, samples: int, rng: torch.Generator) -> Tensor:
        """Return the negative squared error of each reconstruction (N,)."""
        return -(self.decode(self.encoder(inputs)) - inputs).square().flatten(1).sum(1)

    def divergence(self, inputs: Tensor) -> Tensor:
        """Return the divergence (N,) of a normal law around each feature vector from the one around 0."""
        features: Tensor = self.encoder(inputs)
        return features.square().sum(1) / 2

    def likelihood_of(self) -> Literal["levels", "binary"]:
        """Return that the likelihood is of 256 levels."""
        return "levels"

    def sample_posterior(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        """Return the features (N, P) with normal noise."""
        features: Tensor = self.encoder(inputs)
        return features + torch.randn(features.shape, generator=rng, device=rng.device)

    def assign(self, inputs: Tensor) -> Tensor:
        """Return the largest feature of each item as its cluster, (1, N)."""
        features: Tensor = self.encoder(inputs)
        return features.argmax(1)[None]

    def outlier_score(self, inputs: Tensor) -> Tensor:
        """Return the squared error of each reconstruction (N,)."""
        return (self.decode(self.encoder(inputs)) - inputs).square().flatten(1).sum(1)

    def subspaces(self) -> Mapping[str, slice]:
        """Return one latent for each factor, in their order."""
        return {factor: slice(number, number + 1) for number, factor in enumerate(self.factors)}

    def matched_prior(self) -> PriorName:
        """Return the normal law."""
        return "gaussian"

    def capacity(self) -> float:
        """Return a finite capacity in nats."""
        return 1.0

    def information(self, views: Any) -> Tensor:
        """Return an estimate () below the capacity."""
        return torch.tensor(0.5)


class CapableOfVectors(Untrained):
    """Method of vectors that trains nothing and draws new ones (ours)."""

    def __init__(self, encoder: Encoder, data: DataSpec, config: Any) -> None:
        """Add a generator of one linear layer."""
        super().__init__(encoder, data, config)
        self.generator = nn.Linear(encoder.dim, data.shape[0])

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Make n vectors (n, D) from normal latents."""
        vectors: Tensor = self.generator(torch.randn(n, self.encoder.dim, generator=rng, device=rng.device))
        return vectors


class CapableOfPairs(Untrained):
    """Method of pairs that trains nothing and embeds, translates and draws both modalities (ours)."""

    encoder: TinyPairEncoder

    def __init__(self, encoder: Encoder, data: DataSpec, config: Any) -> None:
        """Add a decoder of one linear layer for each modality."""
        super().__init__(encoder, data, config)
        self.shapes = [modality.shape for modality in (data.modalities or {}).values()]
        dims = (self.encoder.first.dim, self.encoder.second.dim)
        self.decoders = nn.ModuleList(
            nn.Linear(dim, math.prod(shape)) for dim, shape in zip(dims, self.shapes, strict=True)
        )

    def embed(self, inputs: Pair) -> dict[str, Tensor]:
        """Return the features, and those of each modality."""
        first, second = self.embed_first(inputs.first), self.embed_second(inputs.second)
        return {"features": torch.cat([first, second], 1), "first": first, "second": second}

    def embed_first(self, inputs: Any) -> Tensor:
        """Return features (N, 12) of the first modality."""
        features: Tensor = self.encoder.first(inputs)
        return features

    def embed_second(self, inputs: Any) -> Tensor:
        """Return features (N, 12) of the second modality."""
        features: Tensor = self.encoder.second(inputs)
        return features

    def to_first(self, second: Any, rng: torch.Generator) -> Tensor:
        """Decode the features of the second modality to the first one."""
        return self._decode(0, self.embed_second(second))

    def to_second(self, first: Any, rng: torch.Generator) -> Tensor:
        """Decode the features of the first modality to the second one."""
        return self._decode(1, self.embed_first(first))

    def sample_pairs(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Decode normal latents to both modalities."""
        latents = torch.randn(n, self.encoder.first.dim, generator=rng, device=rng.device)
        return self._decode(0, latents), self._decode(1, latents)

    def _decode(self, side: int, latents: Tensor) -> Tensor:
        values: Tensor = self.decoders[side](latents).sigmoid()
        return values.view(-1, *self.shapes[side])


class UntrainedTeacher(Untrained):
    """Teacher that was not trained, with the logits of a linear head (ours)."""

    def __init__(self, encoder: Encoder, data: DataSpec, config: Any) -> None:
        """Add the head, of one class where the data has none."""
        super().__init__(encoder, data, config)
        self.head = nn.Linear(encoder.dim, data.num_classes or 1)

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (N, K) of features (N, dim)."""
        logits: Tensor = self.head(features)
        return logits
