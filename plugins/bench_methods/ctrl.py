"""CTRL: the encoder drives images and their decoded copies apart on the sphere, the decoder brings them together.

Paper: Dai et al., Entropy 2022, https://www.mdpi.com/1099-4300/24/4/456
Code:  https://github.com/Delay-Xili/LDR/tree/4c6098a
Note:  `ctrl` is the code's MODE 0 (binary), without labels, `ctrl_multi` its MODE 1, with them. MODE 2, of which the
       first of two encoder steps sees Delta R(Z) alone, is not here. An absent class adds 0; in the code its log det
       is 1. As everywhere here the network is any encoder and a linear layer, and images lie in [0, 1]
       (`bench_core.nn.transcription`); the paper's nearest-subspace classifier is a matter of evaluation.

Shapes: N images, C channels, H x W pixels, D features, P latents, K classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import Batch, DataSpec, Encoder, EpochContext, Loss, Objective, Player, Recipe, hookimpl, param
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
from bench_core.nn.transcription import Transcription

_RECIPE = Recipe(optimizer="adam", learning_rate=1.5e-4, momentum=0.5, schedule="linear", epochs=1452, batch_size=1600)
_RECIPE_SOURCE = "experiments/cifar10.yaml: 45 000 steps, there of MODE 2"


@dataclass(frozen=True, kw_only=True)
class CTRLMultiConfig:
    """Defaults are those of the small DCGAN."""

    latent_dim: int = param(128, "of the sphere", "evaluation.py and the MNIST networks; default.py: 100")
    eps2: float = param(0.5, "> 0, squared error of the rates", "experiments/cifar10.yaml, EPS")
    width: int = param(64, "of the decoder's last stage", "default.py, NGF")
    encoder_steps: int = param(1, "of the encoder for one of the decoder", "default.py, INNER_LOOP")

    def __post_init__(self) -> None:
        """Check ranges."""
        for name, least in (("latent_dim", 2), ("width", 1), ("encoder_steps", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}")
        if not self.eps2 > 0:
            raise ValueError(f"eps2 must be > 0, got {self.eps2}")


@dataclass(frozen=True, kw_only=True)
class CTRLConfig(CTRLMultiConfig):
    """And the clusters of the binary form."""

    clusters: int = param(10, "found after training, for `assign`", "ours: the classes of CIFAR-10")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if self.clusters < 1:
            raise ValueError(f"clusters must be >= 1, got {self.clusters}")


class CTRL(Objective):
    """Binary: all images against all copies, without labels."""

    Config = CTRLConfig
    recipe = _RECIPE
    recipe_source = _RECIPE_SOURCE

    def __init__(self, encoder: Encoder, data: DataSpec, config: CTRLConfig) -> None:
        """Add the loop and the clusters."""
        super().__init__(encoder, data, config)
        self.config = config
        self.loop = Transcription(encoder.dim, data, config.latent_dim, config.width)
        self.memberships = Memberships(config.latent_dim, config.clusters)

    def players(self) -> list[Player]:
        """The encoder with its head, then the decoder."""
        return self.loop.players(self.encoder, self.config.encoder_steps)

    def make_views(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """The images (N, C, H, W) as they are."""
        images: Tensor = batch.inputs
        return images

    def forward(self, views: Tensor, player: str = "encoder") -> Loss:
        """Delta R(Z, Z^) in nats, which the encoder maximises and the decoder minimises."""
        z, z_hat = self.loop.transcribe(self.encoder, views, player)
        return _game(set_distance(z, z_hat, self.config.eps2), z, z_hat, self.config.eps2, player)

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
    def skip_reason(cls, data: DataSpec, config: CTRLConfig) -> str | None:
        """The decoder makes images."""
        return decoder_skip_reason(data)


class CTRLMulti(Objective):
    """Multi-class: classes are driven apart, and each one's images from their copies; trained on labels."""

    Config = CTRLMultiConfig
    uses_labels = True
    recipe = _RECIPE
    recipe_source = _RECIPE_SOURCE

    def __init__(self, encoder: Encoder, data: DataSpec, config: CTRLMultiConfig) -> None:
        """Add the loop."""
        super().__init__(encoder, data, config)
        if data.num_classes is None:
            raise ValueError("ctrl_multi needs classes, the data has none; see skip_reason")
        self.config, self.num_classes = config, data.num_classes
        self.loop = Transcription(encoder.dim, data, config.latent_dim, config.width)

    def players(self) -> list[Player]:
        """The encoder with its head, then the decoder."""
        return self.loop.players(self.encoder, self.config.encoder_steps)

    def make_views(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """The images (N, C, H, W) as they are, with their classes (N, K), one-hot."""
        assert batch.labels is not None, "uses_labels asks for them"
        return batch.inputs, F.one_hot(batch.labels, self.num_classes)

    def forward(self, views: tuple[Tensor, Tensor], player: str = "encoder") -> Loss:
        """`multi_class_value` in nats, which the encoder maximises and the decoder minimises."""
        images, classes = views
        z, z_hat = self.loop.transcribe(self.encoder, images, player)
        value = multi_class_value(z, z_hat, classes, self.config.eps2)
        return _game(value, z, z_hat, self.config.eps2, player)

    def after_training(self, context: EpochContext) -> Mapping[str, float]:
        """Fit the Gaussian of the training latents."""
        self.loop.fit(self.encoder, context)
        return {}

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """`features` (N, D); `latent` (N, P), rows of length 1."""
        features = self.encoder(inputs)
        return {"features": features, "latent": self.loop.latents(features)}

    def decode(self, latents: Tensor) -> Tensor:
        """(N, P) -> images (N, C, H, W) in [0, 1]."""
        return self.loop.decode(latents)

    def sample(self, n: int, rng: torch.Generator, like: Tensor | None = None) -> Tensor:
        """Images (n, C, H, W): of one Gaussian of all training latents, or along the directions of a class's."""
        return self.loop.sample(n, rng, like)

    @classmethod
    def skip_reason(cls, data: DataSpec, config: CTRLMultiConfig) -> str | None:
        """The decoder makes images, and each has one class."""
        if data.num_classes is None:
            return "needs one class for each image"
        return decoder_skip_reason(data)


def multi_class_value(z: Tensor, z_hat: Tensor, classes: Tensor, eps2: float) -> Tensor:
    """Delta R(Z | classes) + Delta R(Z^ | classes) + sum over classes of Delta R(Z_k, Z^_k).

    Args:
        z: (N, P) latents of the images.
        z_hat: (N, P) of their decoded copies, row by row.
        classes: (N, K), one-hot.
        eps2: Of the rates, > 0.

    Returns:
        () >= 0, in nats.
    """
    apart = class_set_distances(z, z_hat, classes, eps2).sum()
    return rate_reduction(z, classes, eps2) + rate_reduction(z_hat, classes, eps2) + apart


def _game(value: Tensor, z: Tensor, z_hat: Tensor, eps2: float, player: str) -> Loss:
    """The loss of one player of a zero-sum game, with what is logged."""
    n, p = z.shape
    parts = {"set_distance": set_distance(z, z_hat, eps2), "cosine_decoded": (z * z_hat).sum(1).mean()}
    if player == "decoder":
        return Loss(value, parts)
    parts["rate"] = coding_rate(z, eps2)
    return Loss(-value, parts, {"rate": rate_ceiling(n, p, eps2)}, {"rate": rate_floor(n, p, eps2)})


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"ctrl": CTRL, "ctrl_multi": CTRLMulti}
