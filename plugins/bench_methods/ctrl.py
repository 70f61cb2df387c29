"""CTRL: on the sphere, the encoder separates images from their decoded copies; the decoder brings them together.

Paper: Dai et al., Entropy 2022, https://www.mdpi.com/1099-4300/24/4/456
Code:  https://github.com/Delay-Xili/LDR/tree/4c6098a
Note:  `ctrl` is the code's MODE 0 (binary), without labels; `ctrl_multi` is its MODE 1, with labels. MODE 2, in which
       the first of two encoder steps gets Delta R(Z) alone, is not implemented. A class that is absent from a batch
       adds 0; the code divides by its number of images, 0, and stops with an error. The network is any encoder with a
       linear layer, and images lie in [0, 1] (`bench_core.nn.transcription`). The paper's nearest-subspace classifier
       belongs to evaluation, not to training.

Shapes: N images, C channels, H x W pixels, D features, P latents, K classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

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
    hookimpl,
    log,
    param,
)
from bench_core.nn.coding_rate import (
    class_set_distances,
    coding_rate,
    rate_ceiling,
    rate_floor,
    rate_reduction,
    set_distance,
)
from bench_core.nn.decoders import decoder_skip_reason
from bench_core.nn.rate_clusters import Memberships
from bench_core.nn.transcription import Transcribed, Transcription, pixel_parts

_RECIPE = Recipe(optimizer="adam", learning_rate=1.5e-4, momentum=0.5, schedule="linear", epochs=1452, batch_size=1600)
_RECIPE_SOURCE = "code, experiments/cifar10.yaml: 45 000 steps, there of MODE 2"


@dataclass(frozen=True, kw_only=True)
class CTRLMultiConfig(Config):
    """Parameters of both forms of CTRL; defaults of the code's small DCGAN."""

    latent_dim: int = param(
        128,
        "dimension of the space of latents, which lie on its unit sphere",
        "evaluation.py and the MNIST networks; default.py: 100",
        ge=2,
    )
    eps2: float = param(
        0.5, "squared error that the coding rates allow", "experiments/cifar10.yaml, EPS", gt=0, tune=log(0.05, 2.0)
    )
    width: int = param(64, "channels of the decoder's last stage", "default.py, NGF", ge=1)
    encoder_steps: int = param(1, "steps of the encoder for each step of the decoder", "default.py, INNER_LOOP", ge=1)


@dataclass(frozen=True, kw_only=True)
class CTRLConfig(CTRLMultiConfig):
    """Parameters of the binary form, which also finds clusters."""

    clusters: int = param(
        10, "number of clusters that are found after training, for `assign`", "ours: the classes of CIFAR-10", ge=1
    )


class CTRL(Objective):
    """Game of encoder and decoder, no labels (Dai 2022).

    Trains the encoder with a head to the sphere, against a decoder. All images of a batch are compared with all their
    decoded copies. Tasks read `features`, `latent`, and the clusters of `assign`, which are found after training.
    """

    Config = CTRLConfig
    revision = 2  # 2: batch norm's statistics are those of images, measured after training
    recipe = _RECIPE
    recipe_source = _RECIPE_SOURCE

    def __init__(self, encoder: Encoder, data: DataSpec, config: CTRLConfig) -> None:
        """Add head, decoder and clusters."""
        super().__init__(encoder, data, config)
        self.config = config
        self.loop = Transcription(encoder.dim, data, config.latent_dim, config.width)
        self.memberships = Memberships(config.latent_dim, config.clusters)

    def players(self) -> list[Player]:
        """Return two players: the encoder with its head, then the decoder."""
        return self.loop.players(self.encoder, self.config.encoder_steps)

    def make_views(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Return the images (N, C, H, W) unchanged."""
        images: Tensor = batch.inputs
        return images

    def forward(self, views: Tensor, player: str = "encoder") -> Loss:
        """Return the loss for Delta R(Z, Z^) in nats, which the encoder maximises and the decoder minimises."""
        loop = self.loop.transcribe(self.encoder, views, player)
        return _game(set_distance(loop.z, loop.z_hat, self.config.eps2), views, loop, self.config.eps2, player)

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
    def skip_reason(cls, data: DataSpec, config: CTRLConfig) -> str | None:
        """Return a reason unless the data are images of a size that the decoder can make."""
        return decoder_skip_reason(data)


class CTRLMulti(Objective):
    """CTRL's game class by class, on labels (Dai 2022).

    Trains the encoder with a head to the sphere, against a decoder. The encoder separates classes, and within each
    class the images from their decoded copies. Tasks read `features` and `latent`.
    """

    Config = CTRLMultiConfig
    revision = 2  # 2: batch norm's statistics are those of images, measured after training
    uses_labels = True
    recipe = _RECIPE
    recipe_source = _RECIPE_SOURCE

    def __init__(self, encoder: Encoder, data: DataSpec, config: CTRLMultiConfig) -> None:
        """Add head and decoder."""
        super().__init__(encoder, data, config)
        if data.num_classes is None:
            raise ValueError("ctrl_multi needs classes, the data has none; see skip_reason")
        self.config, self.num_classes = config, data.num_classes
        self.loop = Transcription(encoder.dim, data, config.latent_dim, config.width)

    def players(self) -> list[Player]:
        """Return two players: the encoder with its head, then the decoder."""
        return self.loop.players(self.encoder, self.config.encoder_steps)

    def make_views(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the images (N, C, H, W) unchanged, with their classes (N, K), one-hot."""
        assert batch.labels is not None, "uses_labels asks for them"
        return batch.inputs, F.one_hot(batch.labels, self.num_classes)

    def forward(self, views: tuple[Tensor, Tensor], player: str = "encoder") -> Loss:
        """Return the loss for `multi_class_value` in nats, which the encoder maximises and the decoder minimises."""
        images, classes = views
        loop = self.loop.transcribe(self.encoder, images, player)
        value = multi_class_value(loop.z, loop.z_hat, classes, self.config.eps2)
        return _game(value, images, loop, self.config.eps2, player)

    def after_training(self, context: EpochContext) -> Mapping[str, float]:
        """Fit the Gaussian of the training latents."""
        self.loop.fit(self.encoder, context)
        return {}

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `features` (N, D) and `latent` (N, P), rows of length 1."""
        features = self.encoder(inputs)
        return {"features": features, "latent": self.loop.latents(features)}

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents (N, P), of any length, to images (N, C, H, W) in [0, 1]."""
        return self.loop.decode(F.normalize(latents.float(), dim=1))

    def sample(self, n: int, rng: torch.Generator, like: Tensor | None = None) -> Tensor:
        """Draw n images (n, C, H, W).

        Their latents come from one Gaussian of all training latents or, with the latents `like` of a class, from the
        main directions of these.
        """
        return self.loop.sample(n, rng, like)

    @classmethod
    def skip_reason(cls, data: DataSpec, config: CTRLMultiConfig) -> str | None:
        """Return a reason unless the data are images with one class each, of a size that the decoder can make."""
        if data.num_classes is None:
            return "needs one class for each image"
        return decoder_skip_reason(data)


def multi_class_value(z: Tensor, z_hat: Tensor, classes: Tensor, eps2: float) -> Tensor:
    """Return Delta R(Z | classes) + Delta R(Z^ | classes) + sum over classes of Delta R(Z_k, Z^_k).

    Args:
        z: (N, P) latents of the images.
        z_hat: (N, P) of their decoded copies, row by row.
        classes: (N, K), one-hot.
        eps2: Squared error of the rates, > 0.

    Returns:
        () >= 0, in nats.
    """
    distances = class_set_distances(z, z_hat, classes, eps2).sum()
    return rate_reduction(z, classes, eps2) + rate_reduction(z_hat, classes, eps2) + distances


def _game(value: Tensor, images: Tensor, loop: Transcribed, eps2: float, player: str) -> Loss:
    """Return the loss of one player of the zero-sum game, with numbers for the log.

    Args:
        value: () of the game, in nats; the encoder maximises it, the decoder minimises it.
        images: (N, C, H, W) in [0, 1].
        loop: Their way around the loop.
        eps2: Squared error of the rates, > 0.
        player: "encoder" or "decoder".
    """
    z, decoded, z_hat = loop
    n, p = z.shape
    parts = {"set_distance": set_distance(z, z_hat, eps2), "cosine_decoded": (z * z_hat).sum(1).mean()}
    if player == "decoder":
        return Loss(value, parts | pixel_parts(images, decoded))
    parts["rate"] = coding_rate(z, eps2)
    return Loss(-value, parts, {"rate": rate_ceiling(n, p, eps2)}, {"rate": rate_floor(n, p, eps2)})


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"ctrl": CTRL, "ctrl_multi": CTRLMulti}
