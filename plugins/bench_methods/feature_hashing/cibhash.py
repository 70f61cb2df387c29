"""CIBHash: the binary code of one view finds the code of the other view among the codes of all other views.

Paper: Qiu, Su, Ou, Yu, Chen, "Unsupervised hashing with contrastive information bottleneck", IJCAI 2021,
       https://arxiv.org/abs/2105.06138
Code:  https://github.com/zexuanqiu/CIBHash/tree/4c896ee (model/CIBHash.py, model/base_model.py, utils/data.py)
Note:  of the paper only the abstract was read; formulas and values are the code's. The code hashes the features of a
       VGG-16 that was trained on ImageNet's labels; here any trained row is the teacher, and features are centred and
       divided by one number before the head (ours). The divergence comes from logits in place of log(p + 1e-8). A bit
       whose probability is exactly 1/2 is off, where the code's sign gives 0. The code keeps the weights that find most
       on validation labels, which it tries every 20 epochs; here labels have no say, and the last weights are kept.

Shapes: N images, rows i and i + N are two views of one; C channels, H x W pixels, D features, B bits.
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
    Recipe,
    hookimpl,
    log,
    param,
)
from bench_core.nn.contrast import nt_xent
from bench_core.views import PRESET_NAMES, augment, preset

from .frozen_encoder import HeadOnFrozenEncoder, bit_imbalance


@dataclass(frozen=True, kw_only=True)
class CIBHashConfig(Config):
    """Parameters of CIBHash; defaults for CIFAR-10."""

    code_dim: int = param(64, "length of the code, in bits", "ours: one of the usual 16, 32, 64; code: 16", ge=1)
    hidden_dim: int = param(1024, "width of the hidden layer of the head, in units", "code, define_parameters", ge=1)
    temperature: float = param(
        0.3,
        "divides the cosine similarities of codes; lower values weigh the most similar negatives more",
        "code, default of --temperature",
        gt=0,
        tune=log(0.05, 1.0),
    )
    kl_weight: float = param(
        0.001,
        "weight of the divergence between the bits' probabilities of the two views; 0 leaves it out",
        "code, default of --weight",
        ge=0,
        tune=log(1e-5, 1e-1),
    )
    augmentation: str = param(
        "simsiam",
        "preset of the views",
        "ours: nearest to the code's, which crops .5 to 1, jitters at .7 and blurs",
        choices=PRESET_NAMES,
    )


class CIBHash(HeadOnFrozenEncoder):
    """Contrast the hash codes of two views (Qiu 2021).

    Trains a head of two layers on the features of a trained row, its teacher, which stay as they are. Tasks read
    `features`, the teacher's, and `code`, the signs of the head.
    """

    Config = CIBHashConfig
    recipe = Recipe(optimizer="adam", learning_rate=1e-3, schedule="constant", epochs=60, batch_size=64)
    recipe_source = "code, defaults of model/base_model.py; it trains 80 epochs for 16 bits"

    def __init__(self, encoder: Encoder, data: DataSpec, config: CIBHashConfig, *, teacher: Objective) -> None:
        """Take over the teacher's encoder, frozen, and add the head.

        Raises:
            ConfigError: The encoder is not built as the teacher's.
        """
        super().__init__(encoder, data, config, "cibhash", teacher)
        self.config = config
        self.augmentation = preset(config.augmentation, data)

    def before_epoch(self, context: EpochContext) -> Mapping[str, float]:
        """Before the first epoch, read the features of the train split once, for their mean and deviation."""
        if context.epoch == 0:
            with torch.no_grad():
                self.head.fit(self.encoder(batch.inputs) for batch in context.batches())
        return {}

    def make_views(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Augment each image twice: (N, C, H, W) in [0, 1] -> (2N, C, H, W)."""
        return torch.cat([augment(batch.inputs, rng, self.augmentation) for _ in range(2)])

    def forward(self, views: Tensor, player: str = "main") -> Loss:
        """Return contrast + kl_weight * divergence of views (2N, C, H, W), both in nats, and parts for the log.

        `agreement` is the share of bits that are the same in both views, `bit_imbalance` how far bits are from being
        on half the time.
        """
        with torch.no_grad():
            features = self.encoder(views)
        logits = self.head(features).float()
        contrast = nt_xent(straight_through_codes(logits), self.config.temperature)
        first, second = logits.chunk(2)
        divergence = bit_divergence(first, second)
        with torch.no_grad():
            parts = {
                "contrast": contrast,
                "divergence": divergence,
                "agreement": ((first > 0) == (second > 0)).float().mean(),
                "bit_imbalance": bit_imbalance(logits),
            }
        return Loss(contrast + self.config.kl_weight * divergence, parts)

    @classmethod
    def skip_reason(cls, data: DataSpec, config: CIBHashConfig) -> str | None:
        """Return "needs images" for data of another kind: views are augmented images."""
        return None if data.is_image else "needs images"


def straight_through_codes(logits: Tensor) -> Tensor:
    """Return codes in {-1, 1}, which are on where a logit is above 0, with the gradient of the bits' probabilities.

    Args:
        logits: (N, B); the sigmoid of one is the probability that its bit is on.
    """
    probabilities = logits.sigmoid()
    codes = torch.where(logits > 0, 1.0, -1.0).to(logits.dtype)
    return codes + (probabilities - probabilities.detach())  # adds 0, and the gradient


def bit_divergence(first: Tensor, second: Tensor) -> Tensor:
    """Return the divergence between the bits of two views, both ways: the mean of KL(p || q) and KL(q || p).

    In each direction only the first argument gets a gradient, as in the code: p moves in KL(p || q), q in KL(q || p).

    Args:
        first: Logits (N, B) of the bits of one view.
        second: Logits (N, B) of the bits of the other view.

    Returns:
        () in nats, a sum over bits and a mean over images; 0 where both views have the same probabilities.
    """
    return (_one_way(first, second.detach()) + _one_way(second, first.detach())) / 2


def _one_way(moving: Tensor, fixed: Tensor) -> Tensor:
    """Return KL(moving || fixed) of independent bits, from logits (N, B)."""
    with torch.autocast(moving.device.type, enabled=False):
        p = moving.float().sigmoid()
        on = F.logsigmoid(moving.float()) - F.logsigmoid(fixed.float())
        off = F.logsigmoid(-moving.float()) - F.logsigmoid(-fixed.float())
        return (p * on + (1 - p) * off).sum(1).mean()


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"cibhash": CIBHash}
