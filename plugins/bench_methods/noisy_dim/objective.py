"""Noise-injected Deep InfoMax: tell an image's noisy, normalised embedding from its view; only the prior sends most.

Paper: Butakov, Semenenko, Tolmachev, Gladkov, Munkhoeva, Frolov, ICLR 2025, https://arxiv.org/abs/2410.06993
Code:  none was found.
Note:  written from the paper's abstract and bounds, and from the MNIST protocol that a later paper of the same authors
       reports; the settings of CIFAR were not found, those here are ours. A uniform prior is reached through Phi of
       the batch norm (ours); its bound is met on a lattice of step 2 `noise`, so it is followed as `noise` goes to 0.
       Any other prior is that of F^-1(Phi(.)), which `embed` puts on: training sees the Gaussian before it. A branch is
       standardised by its own batch; after training all batch norms get their statistics from the images as they are.

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
    DataSpec,
    Encoder,
    EpochContext,
    Loss,
    Objective,
    PriorName,
    Recipe,
    Variant,
    hookimpl,
    param,
)
from bench_core.nn.mutual_information import joint_and_product, lower_bound, nwj
from bench_core.nn.priors import from_normal, ndtr
from bench_core.views import augment, check_preset, preset

from .batch_statistics import renew_statistics
from .channel import (
    MLPCritic,
    QuadraticCritic,
    Sender,
    gaussian_bound,
    uniform_bound,
)


@dataclass(frozen=True, kw_only=True)
class NoisyDIMConfig:
    """The bound of the information is dim / 2 log(1 + 1 / noise^2), or dim log(1 + 1 / (2 noise)) if uniform."""

    dim: int = param(4, "coordinates of the embedding", "ours: with noise .5 the bound, 3.2 nats, is below log N")
    noise: float = param(0.5, ">= 0, deviation, or half-width if uniform; 0: no matching (a control)", "ours: see dim")
    prior: PriorName = param("gaussian", "of the embedding", "paper, abstract")  # noqa: RUF009  # a Literal
    critic: Literal["quadratic", "mlp"] = param(
        "quadratic", "exact for Gaussian noise; uniform noise wants mlp, slow: N^2 rows", "ours: later paper has mlp"
    )
    estimator: Literal["infonce", "dv", "nwj"] = param("infonce", "of the information", "later paper, MNIST")
    clean: bool = param(True, "the noisy branch sees the image itself; False: a second view", "paper: f(X) and f(X')")
    hidden_dim: int = param(128, "width of the head; the mlp critic's is twice that", "later paper, MNIST")
    augmentation: str = param("simclr", "preset of the views", "ours: CIFAR's usual; MNIST: noise")

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("dim", "hidden_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if not 0 <= self.noise < math.inf:
            raise ValueError(f"noise must be >= 0, got {self.noise}")
        check_preset(self.augmentation)


class NoisyDIMViews(NamedTuple):
    """Images (N, C, H, W) of the noisy branch and of the other, and the noise (N, P)."""

    anchors: Tensor
    images: Tensor
    noise: Tensor


class NoisyDIM(Objective):
    """The encoder under study, a head that ends in a batch norm without parameters, and a critic."""

    Config = NoisyDIMConfig
    recipe = Recipe(optimizer="adam", learning_rate=1e-3, schedule="constant", epochs=2000, batch_size=512)
    recipe_source = "later paper of the same authors, MNIST, without its schedule; that of CIFAR was not found"
    variants: ClassVar[Mapping[str, Variant]] = {
        "mnist": Variant(
            settings={"dim": 2, "noise": 0.3, "critic": "mlp", "augmentation": "noise"},
            source="later paper of the same authors, whose encoder ends in max pooling; noise: ours",
            help="two coordinates to look at; views by pixel noise alone",
        )
    }
    log_average: Tensor  # ()

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoisyDIMConfig) -> None:
        """Add head, norm and critic. `transport`, N(0, 1) -> prior, may be replaced by any bijection."""
        super().__init__(encoder, data, config)
        self.config, self.uniform = config, config.prior == "uniform"
        self.augmentation = preset(config.augmentation, data)
        width, P = config.hidden_dim, config.dim
        self.head = Sender(encoder.dim, width, P)
        self.critic = QuadraticCritic(config.noise) if config.critic == "quadratic" else MLPCritic(P, 2 * width)
        self.transport = partial(from_normal, config.prior)
        self.tolerance = 3 * math.sqrt(P / data.num_train)  # three standard errors of an epoch's mean, or more
        self.register_buffer("log_average", torch.tensor(-torch.inf))

    def make_views(self, batch: Batch, rng: torch.Generator) -> NoisyDIMViews:
        """Images and noise of one step; the noise is drawn where it is 0, too, so that a sweep sees the same views."""
        x, draw = batch.inputs, torch.rand if self.uniform else torch.randn
        images = augment(x, rng, self.augmentation)
        anchors = x if self.config.clean else augment(x, rng, self.augmentation)
        noise = draw(len(x), self.config.dim, generator=rng, device=x.device)
        return NoisyDIMViews(anchors, images, self.config.noise * (2 * noise - 1 if self.uniform else noise))

    def forward(self, views: NoisyDIMViews, player: str = "main") -> Loss:
        """The estimate as a loss, in nats; with its gap to the bound."""
        value, bound, limit, warnings = self.information(views), self.capacity(), math.inf, []
        if self.config.estimator == "infonce":
            limit = math.log(len(views.noise))
            if 0.8 * limit < bound < math.inf:
                warnings += [
                    f"the bound, {bound:.3g} nats, binds little or not: InfoNCE ends at {limit:.3g}, log batch"
                ]
        if self.uniform and self.config.critic == "quadratic" and self.config.noise > 0:
            warnings += ["the quadratic critic does not fit uniform noise: take critic=mlp"]
        parts = {"information": value.detach()} | ({"gap": bound - value.detach()} if bound < math.inf else {})
        biased = self.config.estimator == "dv"  # the batch's logarithm lifts it above the bound where that is high
        ceiling, floor = math.inf if biased else min(bound + self.tolerance, limit), 0.1 * min(bound, limit, 1.0)
        return Loss(-value, parts, {"information": ceiling}, {"information": floor}, warnings)

    def information(self, views: NoisyDIMViews) -> Tensor:
        """Estimate () in nats of I(f(X'); f(X) + noise): each noisy row is scored against all rows of the other."""
        received, sent = self._sent(views.anchors) + views.noise, self._sent(views.images)
        with torch.autocast(sent.device.type, enabled=False):
            scores = self.critic(received, sent)
        if self.config.estimator == "dv" and not self.training:  # with a constant of training it is a bound, unbiased
            joint, product = joint_and_product(scores)
            return nwj(joint - self.log_average + 1, product - self.log_average + 1)
        value, log_average = lower_bound(self.config.estimator, scores, self.log_average)
        if self.training:
            self.log_average.copy_(log_average)
        return value

    def capacity(self) -> float:
        """The bound, in nats."""
        return (uniform_bound if self.uniform else gaussian_bound)(self.config.dim, self.config.noise)

    def matched_prior(self) -> PriorName:
        """What the embedding follows."""
        return self.config.prior

    def after_training(self, context: EpochContext) -> Mapping[str, float]:
        """Batch norm's statistics of the images as they are; how far the means of the embedding moved by that."""
        body = nn.Sequential(self.encoder, self.head.body)
        return {"norm_shift": renew_statistics(body, self.head.norm, context.batches)}

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """`features` (N, D); `embedding` (N, P), without noise, which follows the prior."""
        features = self.encoder(inputs)
        return {"features": features, "embedding": self.transport(self.head(features))}

    @classmethod
    def skip_reason(cls, data: DataSpec, config: NoisyDIMConfig) -> str | None:
        """Views are augmented images."""
        return None if data.is_image else "needs images"

    def _sent(self, images: Tensor) -> Tensor:
        """What enters the channel (N, P): of mean 0 and deviation 1, or in [0, 1] if uniform."""
        base: Tensor = self.head(self.encoder(images))
        return ndtr(base) if self.uniform else base


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"noisy_dim": NoisyDIM}
