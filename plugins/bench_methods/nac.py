"""NAC: send one view's activation code through a noisy channel; the other view is to tell what was received.

Paper: Park, Lee, Kim, Blei, ICML 2021, https://arxiv.org/abs/2112.04014
Code:  https://github.com/yookoon/nac (7d706c0)
Note:  formulas and settings follow the code, which relaxes the code's signs to tanh(z / sqrt(P)). The information of
       the relaxed loss is no bound, so the one that is logged is taken on the signs.

Shapes: N images, rows i and i + N are two views of one; C channels, H x W pixels, D features, P code bits.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Encoder, Loss, Objective, Recipe, hookimpl, param
from bench_core.views import augment, check_preset, preset


@dataclass(frozen=True, kw_only=True)
class NACConfig:
    """Defaults are those of CIFAR-10, linear classification."""

    code_dim: int = param(128, "bits of the code", "README, both commands")
    flip: float = param(0.1, "chance that the channel flips a bit, in (0, .5)", "README, CIFAR-10; hashing: .4")
    noise: bool = param(True, "False: nothing is flipped, `flip` only scales the loss (a control)", "ours: control")
    augmentation: str = param("nac", "preset of the views", "code, CIFAR-10 training transform")

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.code_dim < 1:
            raise ValueError(f"code_dim must be >= 1, got {self.code_dim}")
        if not 0 < self.flip < 0.5:
            raise ValueError(f"flip must be in (0, 0.5), got {self.flip}")
        check_preset(self.augmentation)


class NACViews(NamedTuple):
    """Images (2N, C, H, W) of both views, and what the channel does to their codes: flips (2N, P), +1 or -1."""

    images: Tensor
    flips: Tensor


class NAC(Objective):
    """The encoder under study, a code head, and an inference network that reads the code off the other view."""

    Config = NACConfig
    recipe = Recipe(
        optimizer="lars", learning_rate=3.0, weight_decay=1e-6, warmup_epochs=10, epochs=1000, batch_size=1000
    )
    recipe_source = "README, CIFAR-10 command for linear classification"

    def __init__(self, encoder: Encoder, data: DataSpec, config: NACConfig) -> None:
        """Add the code head and the inference network."""
        super().__init__(encoder, data, config)
        self.config = config
        self.augmentation = preset(config.augmentation, data)
        self.code_head = _head(encoder.dim, config.code_dim)
        self.inference = _head(encoder.dim, config.code_dim)

    def make_views(self, batch: Batch, rng: torch.Generator) -> NACViews:
        """Augment each image twice and draw the channel's flips: (N, C, H, W) in [0, 1] -> 2N rows."""
        images = torch.cat([augment(batch.inputs, rng, self.augmentation) for _ in range(2)])
        draws = torch.rand(len(images), self.config.code_dim, generator=rng, device=images.device)
        return NACViews(images, 1 - 2 * (draws < self.config.flip).float())

    def forward(self, views: NACViews, player: str = "main") -> Loss:
        """The loss, in nats; with the squared norm of the codes (0: stuck where it began) and the information."""
        features = self.encoder(views.images)
        scale = math.sqrt(self.config.code_dim)
        codes = torch.tanh(self.code_head(features).float() / scale)
        logits = self.inference(features).float() / scale
        flips = views.flips if self.config.noise else torch.ones_like(views.flips)
        flip = self.config.flip
        total = nac_loss(codes, logits, flips, flip)
        with torch.no_grad():
            parts = {
                "code_norm": codes.square().sum(1).mean(),
                "information": information(codes, logits, views.flips, flip),
            }
        return Loss(total, parts, {"information": information_ceiling(len(codes), codes.shape[1], flip)})

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """`features` (N, D); `code` (N, P), which units are on."""
        features = self.encoder(inputs)
        return {"features": features, "code": self.code_head(features) > 0}

    @classmethod
    def skip_reason(cls, data: DataSpec, config: NACConfig) -> str | None:
        """Views are augmented images."""
        return None if data.is_image else "needs images"


def nac_loss(codes: Tensor, logits: Tensor, flips: Tensor, flip: float) -> Tensor:
    """Variational bound on the information between a received code and the other view, as a loss.

    -E[log q(y | x')] + E[log p_batch(y)] up to the constant that `information` restores. Only the anchor y passes
    the channel; p_batch mixes all 2N clean codes, the anchor's own and its partner's included, or it is no bound.

    Args:
        codes: (2N, P) in [-1, 1]; rows i and i + N are two views of one image.
        logits: (2N, P) of the inference network; a row answers for its partner's code.
        flips: (2N, P), +1 or -1: the channel's noise on each row's code.
        flip: The channel's p in (0, .5); beta = 1/2 log((1 - p) / p).

    Returns:
        () mean over 2N rows, in nats; log(2N) where codes and logits are 0.
    """
    beta = 0.5 * math.log((1 - flip) / flip)
    with torch.autocast(codes.device.type, enabled=False):  # thousands of small terms are summed
        received = flips * codes
        answer = logits.roll(len(logits) // 2, 0)
        # Linear between its values at -1 and +1, where a bit gives logsigmoid(y l) + log 2.
        both = F.logsigmoid(answer) + F.logsigmoid(-answer) + math.log(4)
        positive = 0.5 * (received * answer + both).sum(1)
        return (torch.logsumexp(beta * received @ codes.T, 1) - positive).mean()


def information(codes: Tensor, logits: Tensor, flips: Tensor, flip: float) -> Tensor:
    """Lower bound () in nats on the information that hard codes, sent through the channel, keep of the other view.

    Arguments as for `nac_loss`; codes count by their signs. The network answers for relaxed bits of a mean size below
    1, so its logits are divided by that size; any logits that do not see the flips give a bound. In the mean over
    flips, not in each draw, it is at most `information_ceiling`.
    """
    signs = 2 * (codes > 0).to(codes.dtype) - 1
    answers = logits / codes.abs().mean().clamp_min(1e-6)
    log_cosh = -math.log(2) - 0.5 * math.log(flip * (1 - flip))
    return math.log(len(codes)) - nac_loss(signs, answers, flips, flip) + codes.shape[1] * log_cosh


def information_ceiling(rows: int, bits: int, flip: float) -> float:
    """What the bound cannot exceed, in nats: the batch's log(rows), the channel's bits x (log 2 - h(p))."""
    entropy = -flip * math.log(flip) - (1 - flip) * math.log(1 - flip)
    return min(math.log(rows), bits * (math.log(2) - entropy))


def _head(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, inputs), nn.ReLU(), nn.Linear(inputs, outputs))


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"nac": NAC}
