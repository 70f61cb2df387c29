"""U-CTRL: spread all latents, keep those of an image, of its other view and of its decoded copy together.

Paper: Tong, Dai, Chen, Li, Li, Yi, LeCun, Ma, CPAL 2024, https://arxiv.org/abs/2210.16782
Code:  none was released (https://github.com/Delay-Xili/uCTRL is a README). The program is that of the authors' book,
       https://github.com/Ma-Lab-Berkeley/deep-representation-learning-book (229c64b, chapter 5); gradient paths and
       recipe are those of CTRL's code, https://github.com/Delay-Xili/LDR/tree/4c6098a
Note:  U-CTRL's own schedule, batch and lambdas were not found. Pairwise terms are means over the batch: with the
       book's sums any lambda near 1 outweighs the rate, and all collapses. The book allows a cosine in place of the
       pairwise rate, which does not tell z from -z and hardly pulls what is far apart. Images lie in [0, 1] and f is
       any encoder with a linear layer (`bench_core.nn.transcription`).

Shapes: N images, C channels, H x W pixels, D features, P latents.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from bench_core import Batch, DataSpec, Encoder, EpochContext, Loss, Objective, Player, Recipe, Variant, hookimpl, param
from bench_core.nn.coding_rate import (
    coding_rate,
    pair_distance,
    rate_ceiling,
    rate_floor,
    set_distance,
)
from bench_core.nn.decoders import decoder_skip_reason
from bench_core.nn.rate_clusters import Memberships
from bench_core.nn.transcription import Transcription
from bench_core.views import augment, check_preset, preset


@dataclass(frozen=True, kw_only=True)
class UCTRLConfig:
    """Defaults are those of CIFAR-10, as far as they are known."""

    latent_dim: int = param(128, "of the sphere", "paper, as others cite it; 256 on larger sets")
    eps2: float = param(0.2, "> 0, squared error of the rates", "paper, as others cite it; NMCE code")
    constraint: Literal["cosine", "rate"] = param("cosine", "how pairs are compared", "book: either; ours: see Note")
    lambda_aug: float = param(30.0, ">= 0, on image and view", "ours, from NMCE's 30 at latent_dim 128; scale with it")
    lambda_cons: float = param(30.0, ">= 0, on image and decoded copy", "ours: as lambda_aug")
    width: int = param(64, "of the decoder's last stage", "CTRL code, NGF")
    encoder_steps: int = param(1, "of the encoder for one of the decoder", "CTRL code, INNER_LOOP's default")
    clusters: int = param(10, "found after training, for `assign`", "ours: the classes of CIFAR-10")
    augmentation: str = param("simclr", "preset of the view", "NMCE code, by a co-author: SimCLR's without blur")

    def __post_init__(self) -> None:
        """Check ranges."""
        for name, least in (("latent_dim", 2), ("width", 1), ("encoder_steps", 1), ("clusters", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}")
        for name in ("lambda_aug", "lambda_cons"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")
        if not self.eps2 > 0:
            raise ValueError(f"eps2 must be > 0, got {self.eps2}")
        check_preset(self.augmentation)


class UCTRLViews(NamedTuple):
    """Images (N, C, H, W), which are transcribed as they are, and one augmented view of each."""

    images: Tensor
    augmented: Tensor


class UCTRL(Objective):
    """The encoder under study with a head to the sphere, against a decoder that closes the loop."""

    Config = UCTRLConfig
    recipe = Recipe(
        optimizer="adam", learning_rate=1.5e-4, momentum=0.5, schedule="linear", epochs=1452, batch_size=1600
    )
    recipe_source = "CTRL code, experiments/cifar10.yaml: 45 000 steps; U-CTRL's own was not found"
    variants: ClassVar[Mapping[str, Variant]] = {
        "rate": Variant(
            {"constraint": "rate", "lambda_aug": 1.0, "lambda_cons": 1.0}, "book; ours: weights", "pairs by their rate"
        )
    }

    def __init__(self, encoder: Encoder, data: DataSpec, config: UCTRLConfig) -> None:
        """Add the loop and the clusters."""
        super().__init__(encoder, data, config)
        self.config = config
        self.augmentation = preset(config.augmentation, data)
        self.loop = Transcription(encoder.dim, data, config.latent_dim, config.width)
        self.memberships = Memberships(config.latent_dim, config.clusters)

    def players(self) -> list[Player]:
        """The encoder with its head, then the decoder."""
        return self.loop.players(self.encoder, self.config.encoder_steps)

    def make_views(self, batch: Batch, rng: torch.Generator) -> UCTRLViews:
        """The images (N, C, H, W) in [0, 1], and one view of each."""
        return UCTRLViews(batch.inputs, augment(batch.inputs, rng, self.augmentation))

    def forward(self, views: UCTRLViews, player: str = "encoder") -> Loss:
        """The loss of one player, in nats, with the terms that it is made of."""
        config, (n, p) = self.config, (len(views.images), self.config.latent_dim)
        z, z_hat = self.loop.transcribe(self.encoder, views.images, player)
        distance = set_distance(z, z_hat, config.eps2)
        cons = config.lambda_cons * pair_loss(z, z_hat, config.eps2, config.constraint)
        parts = {"set_distance": distance, "cosine_decoded": (z * z_hat).sum(1).mean()}
        if player == "decoder":
            return Loss(distance + cons, parts)
        a = self.loop.latents(self.encoder(views.augmented))
        rate = coding_rate(z, config.eps2)
        aug = config.lambda_aug * pair_loss(z, a, config.eps2, config.constraint)
        return Loss(
            aug + cons - rate - distance,
            {"rate": rate, "cosine_augmented": (z * a).sum(1).mean(), **parts},
            ceilings={"rate": rate_ceiling(n, p, config.eps2)},
            floors={"rate": rate_floor(n, p, config.eps2)},
            warnings=["the batch is smaller than latent_dim: its rate soon has no room"] if n < p else (),
        )

    def after_training(self, context: EpochContext) -> Mapping[str, float]:
        """Fit the Gaussian and the clusters of the training latents."""
        return self.memberships.fit(self.loop.fit(self.encoder, context), self.config.eps2, context.rng)

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """`features` (N, D); `latent` (N, P), rows of length 1."""
        features = self.encoder(inputs)
        return {"features": features, "latent": self.loop.latents(features)}

    def decode(self, latents: Tensor) -> Tensor:
        """(N, P) -> images (N, C, H, W) in [0, 1]."""
        return self.loop.decode(latents)

    def sample(self, n: int, rng: torch.Generator, like: Tensor | None = None) -> Tensor:
        """Images (n, C, H, W): of one Gaussian of all training latents, or along the directions of a cluster's."""
        return self.loop.sample(n, rng, like)

    def assign(self, inputs: Tensor) -> Tensor:
        """Clusters (1, N) int64: those that reduce the rate of the training latents the most."""
        return self.memberships.assign(self.embed(inputs)["latent"])[None]

    @classmethod
    def skip_reason(cls, data: DataSpec, config: UCTRLConfig) -> str | None:
        """The decoder makes images."""
        return decoder_skip_reason(data)


def pair_loss(z: Tensor, w: Tensor, eps2: float, constraint: str) -> Tensor:
    """() mean over rows (N, P) of length 1: 1 - cosine, or the pairwise rate Delta R(z_i, w_i) in nats; 0 if alike."""
    return 1 - (z * w).sum(1).mean() if constraint == "cosine" else pair_distance(z, w, eps2).mean()


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"uctrl": UCTRL}
