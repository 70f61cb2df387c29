"""U-CTRL: spread all latents, but keep an image, its other view and its decoded copy together.

Paper: Tong, Dai, Chen, Li, Li, Yi, LeCun, Ma, CPAL 2024, https://arxiv.org/abs/2210.16782
Code:  none was released (https://github.com/Delay-Xili/uCTRL is a README). The program is that of the authors' book,
       https://github.com/Ma-Lab-Berkeley/deep-representation-learning-book (229c64b, chapter 5); gradient paths and
       recipe are those of CTRL's code, https://github.com/Delay-Xili/LDR/tree/4c6098a
Note:  U-CTRL's own schedule, batch size and lambdas were not found. Pairwise terms are means over the batch: with the
       book's sums any lambda near 1 outweighs the rate, and training collapses. The book allows a cosine in place of
       the pairwise rate, and it is the default here: the rate is the same for z and -z, and hardly pulls distant pairs
       together. Images lie in [0, 1], and f is any encoder with a linear layer (`bench_core.nn.transcription`).
       The weight of decoded copies is small: with one as large as that of views, encoder and decoder agree on copies
       that are no pictures. Through an encoder that keeps positions the copies are better than through one whose
       features are an average over positions. docs/methods/uctrl.md has what was tried.

Shapes: N images, C channels, H x W pixels, D features, P latents.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

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
    Variant,
    hookimpl,
    log,
    param,
)
from bench_core.nn.coding_rate import (
    coding_rate,
    pair_distance,
    rate_ceiling,
    rate_floor,
    set_distance,
)
from bench_core.nn.decoders import decoder_skip_reason
from bench_core.nn.rate_clusters import Memberships
from bench_core.nn.transcription import Transcription, pixel_parts
from bench_core.views import PRESET_NAMES, augment, preset

# Floor of `pixel_r2`, and what helps below it; ours. Encoder and decoder can agree on latents, with a cosine near 1,
# while the decoded images are noise: the cosine does not show it.
PIXEL_FLOOR = 0.0
PIXEL_HINT = (
    "the mean image is a better copy than the decoded images: train longer, take an encoder that keeps positions "
    "(NAME.encoder=dim_conv), or a smaller lambda_cons"
)


@dataclass(frozen=True, kw_only=True)
class UCTRLConfig(Config):
    """Parameters of U-CTRL; defaults for CIFAR-10, as far as they are known."""

    latent_dim: int = param(
        128,
        "dimension of the space of latents, which lie on its unit sphere",
        "paper, as others cite it; 256 on larger sets",
        ge=2,
    )
    eps2: float = param(
        0.2,
        "squared error that the coding rates allow",
        "paper, as others cite it; NMCE code",
        gt=0,
        tune=log(0.05, 1.0),
    )
    constraint: Literal["cosine", "rate"] = param(
        "cosine", "comparison of pairs: 1 - cosine, or the pairwise rate", "book: either; ours: see Note"
    )
    lambda_aug: float = param(
        20.0,
        "weight of the difference between an image and its view; 0.16 of the smaller of latent_dim and batch",
        "ours: tried at 32 and 128 latents; NMCE: 30",
        ge=0,
        tune=log(1.0, 100.0),
    )
    lambda_cons: float = param(
        2.0,
        "weight of the difference between an image and its decoded copy; 0.016 of the smaller of latent_dim and batch",
        "ours: tried at 32 and 128 latents, see Note",
        ge=0,
        tune=log(0.1, 30.0),
    )
    width: int = param(64, "channels of the decoder's last stage", "CTRL code, NGF", ge=1)
    encoder_steps: int = param(
        1, "steps of the encoder for each step of the decoder", "CTRL code, INNER_LOOP's default", ge=1
    )
    clusters: int = param(
        10, "number of clusters that are found after training, for `assign`", "ours: the classes of CIFAR-10", ge=1
    )
    augmentation: str = param(
        "simclr", "preset of the view", "NMCE code, by a co-author: SimCLR's without blur", choices=PRESET_NAMES
    )


class UCTRLViews(NamedTuple):
    """Images (N, C, H, W) without augmentation, which the decoder copies, and one augmented view of each."""

    images: Tensor
    augmented: Tensor


class UCTRL(Objective):
    """CTRL's game with a second view (Tong 2024).

    Trains the encoder with a head to the sphere, against a decoder. Tasks read `features`, `latent`, and the clusters
    of `assign`, which are found after training.
    """

    Config = UCTRLConfig
    revision = 2  # 2: batch norm's statistics are those of images, measured after training
    recipe = Recipe(
        optimizer="adam", learning_rate=1.5e-4, momentum=0.5, schedule="linear", epochs=1452, batch_size=1600
    )
    recipe_source = "CTRL code, experiments/cifar10.yaml: 45 000 steps; U-CTRL's own was not found"
    variants: ClassVar[Mapping[str, Variant]] = {
        "rate": Variant(
            {"constraint": "rate", "lambda_aug": 1.0, "lambda_cons": 1.0},
            "book; ours: weights",
            "compare pairs by their rate, not their cosine",
        )
    }

    def __init__(self, encoder: Encoder, data: DataSpec, config: UCTRLConfig) -> None:
        """Add head, decoder and clusters."""
        super().__init__(encoder, data, config)
        self.config = config
        self.augmentation = preset(config.augmentation, data)
        self.loop = Transcription(encoder.dim, data, config.latent_dim, config.width)
        self.memberships = Memberships(config.latent_dim, config.clusters)

    def players(self) -> list[Player]:
        """Return two players: the encoder with its head, then the decoder."""
        return self.loop.players(self.encoder, self.config.encoder_steps)

    def make_views(self, batch: Batch, rng: torch.Generator) -> UCTRLViews:
        """Augment each image once; return the images (N, C, H, W) in [0, 1] and the views."""
        return UCTRLViews(batch.inputs, augment(batch.inputs, rng, self.augmentation))

    def forward(self, views: UCTRLViews, player: str = "encoder") -> Loss:
        """Return the loss of one player in nats, with its terms."""
        config = self.config
        n, p = len(views.images), config.latent_dim
        z, decoded, z_hat = self.loop.transcribe(self.encoder, views.images, player)
        distance = set_distance(z, z_hat, config.eps2)
        cons = config.lambda_cons * pair_loss(z, z_hat, config.eps2, config.constraint)
        parts = {"set_distance": distance, "cosine_decoded": (z * z_hat).sum(1).mean()}
        if player == "decoder":
            parts |= pixel_parts(views.images, decoded)
            floors, hints = {"pixel_r2": PIXEL_FLOOR}, {"pixel_r2": PIXEL_HINT}
            return Loss(distance + cons, parts, floors=floors, hints=hints)
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
        """Return `features` (N, D) and `latent` (N, P), rows of length 1."""
        features = self.encoder(inputs)
        return {"features": features, "latent": self.loop.latents(features)}

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents (N, P), of any length, to images (N, C, H, W) in [0, 1]."""
        return self.loop.decode(F.normalize(latents.float(), dim=1))

    def sample(self, n: int, rng: torch.Generator, like: Tensor | None = None) -> Tensor:
        """Draw n images (n, C, H, W).

        Their latents come from one Gaussian of all training latents or, with the latents `like` of a cluster, from the
        main directions of these.
        """
        return self.loop.sample(n, rng, like)

    def assign(self, inputs: Tensor) -> Tensor:
        """Return clusters (1, N) int64: for each image the one that reduces the rate of the training latents most."""
        return self.memberships.assign(self.embed(inputs)["latent"])[None]

    @classmethod
    def skip_reason(cls, data: DataSpec, config: UCTRLConfig) -> str | None:
        """Return a reason unless the data are images of a size that the decoder can make."""
        return decoder_skip_reason(data)


def pair_loss(z: Tensor, w: Tensor, eps2: float, constraint: str) -> Tensor:
    """Return the mean difference of paired rows, ().

    Args:
        z: (N, P), rows of length 1.
        w: (N, P), rows of length 1; row i belongs to row i of z.
        eps2: Squared error of the rates, > 0.
        constraint: "cosine" for 1 - cosine, "rate" for the pairwise rate Delta R(z_i, w_i) in nats.

    Returns:
        () >= 0; 0 if paired rows are equal.
    """
    return 1 - (z * w).sum(1).mean() if constraint == "cosine" else pair_distance(z, w, eps2).mean()


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"uctrl": UCTRL}
