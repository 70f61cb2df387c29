"""Noise-injected Deep InfoMax: recognise a view by its image's noisy embedding, which thereby takes a chosen prior.

Paper: Butakov, Semenenko, Tolmachev, Gladkov, Munkhoeva, Frolov, ICLR 2025, https://arxiv.org/abs/2410.06993
Code:  none was found
Note:  written from the paper's abstract and bounds, and from the MNIST protocol that a later paper of the same authors
       reports. Settings for CIFAR were not found; those here are ours. The information that passes the channel is
       greatest if the embedding follows the prior. For a uniform prior the batch norm's outputs go through Phi (ours).
       Its bound is met exactly on a lattice of step 2 `noise`, so the embedding is uniform only as `noise` goes to 0.
       For any other prior training is that of the Gaussian, and `embed` maps its outputs through F^-1(Phi(.)). Each
       branch is standardised by its own batch. After training all batch norms get their statistics from the images
       without augmentation.

Shapes: N images in a batch, C channels, H x W pixels, D features, P coordinates of the embedding.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from bench_core import (
    Batch,
    Config,
    DataSpec,
    Encoder,
    EpochContext,
    Loss,
    Objective,
    PriorName,
    Recipe,
    Variant,
    hookimpl,
    log,
    param,
)
from bench_core.nn.mutual_information import joint_and_product, lower_bound, nwj
from bench_core.nn.priors import from_normal, ndtr
from bench_core.views import PRESET_NAMES, augment, preset

from .batch_statistics import renew_statistics
from .channel import MLPCritic, QuadraticCritic, Sender, gaussian_bound, uniform_bound


@dataclass(frozen=True, kw_only=True)
class NoisyDIMConfig(Config):
    """Parameters of noisy DIM.

    The information is bounded by dim / 2 log(1 + 1 / noise^2), for a uniform prior by dim log(1 + 1 / (2 noise)).
    """

    dim: int = param(
        4, "length of the embedding, in coordinates", "ours: with noise .5 the bound, 3.2 nats, is below log N", ge=1
    )
    noise: float = param(
        0.5,
        "standard deviation of the noise, for a uniform prior its half-width; 0: no match to the prior (a control)",
        "ours: see dim",
        ge=0,
        lt=math.inf,
        tune=log(0.05, 1.0),
    )
    prior: PriorName = param("gaussian", "distribution of the embedding", "paper, abstract")  # noqa: RUF009  # a Literal
    critic: Literal["quadratic", "mlp"] = param(
        "quadratic",
        "network that scores pairs: 'quadratic' is exact for a Gaussian; a uniform prior needs 'mlp', slow: N^2 rows",
        "ours: later paper has mlp",
    )
    estimator: Literal["infonce", "dv", "nwj"] = param(
        "infonce", "estimate of information that is maximised", "later paper, MNIST"
    )
    clean: bool = param(
        True, "give the noisy branch the image without augmentation; False: a second view", "paper: f(X) and f(X')"
    )
    hidden_dim: int = param(
        128, "hidden width of the head, in units; the mlp critic has twice as many", "later paper, MNIST", ge=1
    )
    augmentation: str = param(
        "simclr", "preset of the views", "ours: CIFAR's usual; MNIST: noise", choices=PRESET_NAMES
    )


class NoisyDIMViews(NamedTuple):
    """Images and noise of one step.

    Attributes:
        anchors: (N, C, H, W), images of the noisy branch.
        images: (N, C, H, W), images of the other branch.
        noise: (N, P), added to the embedding of the anchors.
    """

    anchors: Tensor
    images: Tensor
    noise: Tensor


class NoisyDIM(Objective):
    """DIM through noise, towards a prior (Butakov 2025).

    Trains the encoder, a head that ends in batch norm without parameters, and a critic that scores noisy embeddings
    with embeddings. Tasks read `features` and `embedding`, which follows the prior.
    """

    Config = NoisyDIMConfig
    recipe = Recipe(optimizer="adam", learning_rate=1e-3, schedule="constant", epochs=2000, batch_size=512)
    recipe_source = "later paper of the same authors, MNIST, without its schedule; one for CIFAR was not found"
    variants: ClassVar[Mapping[str, Variant]] = {
        "mnist": Variant(
            settings={"dim": 2, "noise": 0.3, "critic": "mlp", "augmentation": "noise"},
            source="later paper of the same authors, whose encoder ends in max pooling; noise: ours",
            help="two coordinates that can be plotted; views by pixel noise",
        )
    }
    log_average: Tensor  # () logarithm of the running average that the estimate `dv` divides by

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoisyDIMConfig) -> None:
        """Add head and critic; `transport` maps N(0, 1) to the prior and may be replaced by any bijection."""
        super().__init__(encoder, data, config)
        self.config = config
        self.uniform = config.prior == "uniform"
        self.augmentation = preset(config.augmentation, data)
        width, P = config.hidden_dim, config.dim
        self.head = Sender(encoder.dim, width, P)
        self.critic = QuadraticCritic(config.noise) if config.critic == "quadratic" else MLPCritic(P, 2 * width)
        self.transport = partial(from_normal, config.prior)
        self.tolerance = 3 * math.sqrt(P / data.num_train)  # at least three standard errors of an epoch's mean
        self.register_buffer("log_average", torch.tensor(-torch.inf))

    def make_views(self, batch: Batch, rng: torch.Generator) -> NoisyDIMViews:
        """Augment each image once, or twice without `clean`, and draw the noise.

        The noise is drawn even if its scale is 0, so that runs with different `noise` see the same views.
        """
        inputs = batch.inputs
        images = augment(inputs, rng, self.augmentation)
        anchors = inputs if self.config.clean else augment(inputs, rng, self.augmentation)
        shape = len(inputs), self.config.dim
        if self.uniform:
            noise = 2 * torch.rand(shape, generator=rng, device=inputs.device) - 1
        else:
            noise = torch.randn(shape, generator=rng, device=inputs.device)
        return NoisyDIMViews(anchors, images, self.config.noise * noise)

    def forward(self, views: NoisyDIMViews, player: str = "main") -> Loss:
        """Return the negative estimate in nats, with its gap to the bound."""
        value, bound = self.information(views), self.capacity()
        limit = math.inf  # of the estimator, whatever the channel
        warnings: list[str] = []
        if self.config.estimator == "infonce":
            limit = math.log(len(views.noise))
            if 0.8 * limit < bound < math.inf:
                warnings += [
                    f"the bound, {bound:.3g} nats, binds little or not: InfoNCE ends at {limit:.3g}, log batch"
                ]
        if self.uniform and self.config.critic == "quadratic" and self.config.noise > 0:
            warnings += ["the quadratic critic does not fit uniform noise: take critic=mlp"]
        parts = {"information": value.detach()}
        if bound < math.inf:
            parts["gap"] = bound - value.detach()
        # In training `dv` is biased: the logarithm of a batch's mean lifts it above a high bound, so it has no ceiling.
        ceiling = math.inf if self.config.estimator == "dv" else min(bound + self.tolerance, limit)
        floor = 0.1 * min(bound, limit, 1.0)
        return Loss(-value, parts, {"information": ceiling}, {"information": floor}, warnings)

    def information(self, views: NoisyDIMViews) -> Tensor:
        """Estimate the information I(f(X'); f(X) + noise), () in nats; each noisy row is scored with all sent rows."""
        received, sent = self._sent(views.anchors) + views.noise, self._sent(views.images)
        with torch.autocast(sent.device.type, enabled=False):
            scores = self.critic(received, sent)
        if self.config.estimator == "dv" and not self.training:
            # With the average of training as a constant the estimate is an unbiased lower bound.
            joint, product = joint_and_product(scores)
            return nwj(joint - self.log_average + 1, product - self.log_average + 1)
        value, log_average = lower_bound(self.config.estimator, scores, self.log_average)
        if self.training:
            self.log_average.copy_(log_average)
        return value

    def capacity(self) -> float:
        """Return the upper bound on the information, in nats."""
        bound = uniform_bound if self.uniform else gaussian_bound
        return bound(self.config.dim, self.config.noise)

    def matched_prior(self) -> PriorName:
        """Return the name of the distribution that the embedding follows."""
        return self.config.prior

    def after_training(self, context: EpochContext) -> Mapping[str, float]:
        """Renew batch norm's statistics on images without augmentation; log the largest move of a mean."""
        body = nn.Sequential(self.encoder, self.head.body)
        return {"norm_shift": renew_statistics(body, self.head.norm, context.batches)}

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `features` (N, D) and `embedding` (N, P), without noise, which follows the prior."""
        features = self.encoder(inputs)
        return {"features": features, "embedding": self.transport(self.head(features))}

    @classmethod
    def skip_reason(cls, data: DataSpec, config: NoisyDIMConfig) -> str | None:
        """Return "needs images" for data of another kind: views are augmented images."""
        return None if data.is_image else "needs images"

    def _sent(self, images: Tensor) -> Tensor:
        """Return the rows (N, P) that enter the channel: of mean 0 and deviation 1, or in [0, 1] if uniform."""
        base: Tensor = self.head(self.encoder(images))
        return ndtr(base) if self.uniform else base


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"noisy_dim": NoisyDIM}
