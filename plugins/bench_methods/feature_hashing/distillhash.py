"""DistillHash: pairs of images whose similarity is beyond doubt teach a hash head on given features.

Paper: Yang, Liu, Deng, Liu, Tao, "DistillHash: unsupervised deep hashing by distilling data pairs", CVPR 2019,
       https://arxiv.org/abs/1905.03465; variant ssdh: Yang, Deng, Liu, Liu, Tao, "Semantic structure-based
       unsupervised deep hashing", IJCAI 2018, https://doi.org/10.24963/ijcai.2018/148
Code:  none of DistillHash was found; ssdh: https://github.com/TreezzZ/SSDH_PyTorch/tree/900daaa (ssdh.py,
       model_loader.py, run.py)
Note:  of both papers only the abstracts were read. DistillHash's says that noisy similarity labels come from local
       structures, that pairs are kept whose labels agree with a Bayes optimal classifier's, and that hash functions are
       learned from these pairs in a Bayesian framework. How labels are made, how their probability is estimated, the
       scale of the likelihood and the equal weight of both kinds of pairs are ours. Limits and loss of ssdh are its
       code's, which trains a VGG-16 of ImageNet's labels; here a head alone is trained. Its histogram ends at distance
       1, ours at 2. Where there are more than `sample` items, the limits come from a random sample of them. Features
       are centred and divided by one number before the head (ours).

Shapes: M items of the train split, N items of a batch, K neighbours of an item and the item itself, D features, B bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import (
    Batch,
    Config,
    ConfigError,
    DataSpec,
    Encoder,
    EpochContext,
    Loss,
    Objective,
    Recipe,
    Variant,
    hookimpl,
    param,
    uniform,
)
from bench_core.evaluation.nearest_neighbours import top_k

from .frozen_encoder import HeadOnFrozenEncoder, bit_imbalance
from .pair_labels import (
    Limits,
    distances,
    distilled_labels,
    labels_by_limits,
    limits_by_half_gaussians,
    limits_by_share,
    similar_probability,
)

_FEW = 1e-3  # shares of pairs below which the log warns; ours


@dataclass(frozen=True, kw_only=True)
class DistillHashConfig(Config):
    """Parameters of the pairs and of the head."""

    code_dim: int = param(64, "length of the code, in bits", "ours: one of the usual 16, 32, 64, 128", ge=1)
    hidden_dim: int = param(1024, "width of the hidden layer of the head, in units", "ours: that of cibhash", ge=1)
    distil: Literal["neighbours", "thresholds"] = param(
        "neighbours",
        "what a pair must pass to teach: the vote of neighbours (DistillHash), or two limits of its distance (ssdh)",
        "ours: DistillHash",
    )
    similar_share: float = param(
        0.1,
        "neighbours: share of all pairs, the nearest ones, whose noisy label is similar",
        "ours: ten classes of one size; of .05, .1 and .2 on a part of digits",
        gt=0,
        lt=1,
        tune=uniform(0.02, 0.3),
    )
    neighbours: int = param(
        10, "neighbours: number of nearest items of an item, which vote on its pairs", "ours: 5 to 20 were alike", ge=1
    )
    margin: float = param(
        0.5,
        "neighbours: highest rate of wrong noisy labels that a pair is kept for; larger values keep fewer pairs",
        "ours: of 0, .5 and .8 on a part of digits",
        ge=0,
        lt=1,
        tune=uniform(0.0, 0.9),
    )
    scale: float = param(
        8.0,
        "neighbours: logit of a pair with equal codes; half the inner product is this at 16 bits",
        "ours: of 8, 16 and 32 at three lengths, on a part of digits",
        gt=0,
    )
    alpha: float = param(
        2.0,
        "thresholds: deviations below the peak of distances that a similar pair has",
        "SSDH code, --alpha",
        ge=0,
        tune=uniform(0.5, 3.0),
    )
    beta: float = param(
        2.0,
        "thresholds: deviations above the peak of distances that a different pair has",
        "SSDH code, --beta",
        ge=0,
        tune=uniform(0.5, 3.0),
    )
    sample: int = param(2000, "most items whose distances make the limits", "ours: 2 million pairs", ge=2)


class DistillHash(HeadOnFrozenEncoder):
    """Hash by pairs of sure similarity (Yang 2019).

    Trains a head of two layers on the features of a trained row, its teacher, which stay as they are. Tasks read
    `features`, the teacher's, and `code`, the signs of the head.
    """

    Config = DistillHashConfig
    recipe = Recipe(optimizer="adam", learning_rate=1e-3, schedule="constant", epochs=30, batch_size=256)
    recipe_source = (
        "ours: cibhash's rate, larger batches, which have more pairs; of 15, 30, 60 epochs on a part of digits"
    )
    variants: ClassVar[Mapping[str, Variant]] = {
        "ssdh": Variant(
            {"distil": "thresholds"},
            "SSDH code, defaults of --alpha and --beta; ours: the recipe",
            "two limits of the distance and a squared loss, as in SSDH",
        )
    }
    bank: Tensor  # (M, D) float32: features of the train split, at the positions of its items
    around: Tensor  # (M, K) int64: positions of the nearest items of each item, and of itself
    limits: Tensor  # (2,): distances that tell pairs apart, see `Limits`

    def __init__(self, encoder: Encoder, data: DataSpec, config: DistillHashConfig, *, teacher: Objective) -> None:
        """Take over the teacher's encoder, frozen, and add the head and room for the features of the train split.

        Raises:
            ConfigError: The encoder is not built as the teacher's.
        """
        super().__init__(encoder, data, config, "distillhash", teacher)
        self.config = config
        self.register_buffer("bank", torch.zeros(data.num_train, encoder.dim))
        self.register_buffer("limits", torch.zeros(2))
        nearest = min(config.neighbours + 1, data.num_train) if config.distil == "neighbours" else 0
        self.register_buffer("around", torch.zeros(data.num_train, nearest, dtype=torch.int64))

    @torch.no_grad()
    def before_epoch(self, context: EpochContext) -> Mapping[str, float]:
        """Before the first epoch, read the features of the train split, and find limits and neighbours.

        Returns:
            The two limits, for the log; {} before other epochs.

        Raises:
            ConfigError: No pair is beyond a limit, so that nothing can be learned.
        """
        if context.epoch > 0:
            return {}
        for batch in context.batches():
            self.bank[batch.index] = self.encoder(batch.inputs).float()
        self.head.fit([self.bank])
        limits = self._find_limits(context.rng)
        self.limits.copy_(torch.stack(limits))
        if self.config.distil == "neighbours":
            unit = F.normalize(self.bank, dim=1)
            _, nearest = top_k(unit, unit, self.around.shape[1], unit.device)
            self.around.copy_(nearest)
        return {name: float(value) for name, value in limits._asdict().items()}

    def make_views(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Return the positions (N,) of the items, whose features are in the bank."""
        return batch.index

    def forward(self, views: Tensor, player: str = "main") -> Loss:
        """Return the loss of all pairs of the items at positions (N,), and parts for the log.

        `kept` is the share of pairs that teach, `positive` the similar ones among them, `agreement` the share of them
        whose codes are on the side of their label, `bit_imbalance` how far bits are from being on half the time.
        """
        features = self.bank[views]
        logits = self.head(features).float()
        codes = logits.tanh()
        with torch.no_grad():
            labels = self._labels(views, features)
        if self.config.distil == "neighbours":
            total = pair_likelihood_loss(codes, labels, self.config.scale)
        else:
            total = ssdh_loss(codes, labels)
        with torch.no_grad():
            parts = {**describe_pairs(logits, labels), "bit_imbalance": bit_imbalance(logits)}
        return Loss(total, parts, floors={"kept": _FEW, "positive": _FEW})

    @classmethod
    def skip_reason(cls, data: DataSpec, config: DistillHashConfig) -> str | None:
        """Return None: any data that its encoder reads will do, for there are no views."""
        return None

    def _find_limits(self, rng: torch.Generator) -> Limits:
        """Find the limits from all pairs of at most `sample` items of the bank."""
        config, features = self.config, self.bank
        if len(features) > config.sample:
            features = features[torch.randperm(len(features), generator=rng, device=rng.device)[: config.sample]]
        sampled = distances(features)
        if config.distil == "neighbours":
            return limits_by_share(sampled, config.similar_share)
        limits = limits_by_half_gaussians(sampled, config.alpha, config.beta)
        if not labels_by_limits(sampled, limits).fill_diagonal_(0).any():
            raise ConfigError(
                f"distillhash: no pair of {len(features)} training items is nearer than {limits.similar_below:.3g} or "
                f"farther than {limits.different_above:.3g} in cosine distance, so nothing can be learned. Lower "
                f"distillhash.alpha ({config.alpha:g}) and distillhash.beta ({config.beta:g}), or set "
                "distillhash.distil=neighbours."
            )
        return limits

    def _labels(self, positions: Tensor, features: Tensor) -> Tensor:
        """Return the labels (N, N) of all pairs of items at positions (N,) with features (N, D)."""
        limits = Limits(*self.limits)
        if self.config.distil == "thresholds":
            return labels_by_limits(distances(features), limits)
        probability = similar_probability(features, self.bank[self.around[positions]], limits)
        return distilled_labels(probability, self.config.margin)


def pair_likelihood_loss(codes: Tensor, labels: Tensor, scale: float) -> Tensor:
    """Return -log sigma(label * scale * inner product / B): half its mean over similar pairs, half over different ones.

    Args:
        codes: Relaxed codes (N, B) in [-1, 1].
        labels: (N, N), 0 for pairs that are left out.
        scale: Logit of a pair with equal codes of full length.

    Returns:
        () in nats; log 2 where all codes are 0. A kind without pairs adds 0.
    """
    with torch.autocast(codes.device.type, enabled=False):
        logits = scale / codes.shape[1] * (codes.float() @ codes.float().T)
        similar, different = (labels > 0).float(), (labels < 0).float()
        of_similar = (similar * F.softplus(-logits)).sum() / similar.sum().clamp(min=1)
        of_different = (different * F.softplus(logits)).sum() / different.sum().clamp(min=1)
        return (of_similar + of_different) / 2


def ssdh_loss(codes: Tensor, labels: Tensor) -> Tensor:
    """Return |label| (inner product / B - label)^2, the mean over all N^2 pairs, those with label 0 among them.

    Args:
        codes: Relaxed codes (N, B) in [-1, 1].
        labels: (N, N). The pairs of an item and itself are similar, which draws codes to their full length.

    Returns:
        () >= 0; the share of pairs with a label where all codes are 0.
    """
    with torch.autocast(codes.device.type, enabled=False):
        similarity = codes.float() @ codes.float().T / codes.shape[1]
        return (labels.abs() * (similarity - labels).square()).mean()


def describe_pairs(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return `kept`, `positive` and `agreement`, each () in [0, 1], of the pairs of different items.

    Args:
        logits: Outputs (N, B) of the head; a bit is on where one is above 0.
        labels: (N, N).
    """
    labels = labels.clone().fill_diagonal_(0)
    kept = labels.abs().sum()
    signs = torch.where(logits > 0, 1.0, -1.0)
    agrees = (signs @ signs.T) * labels > 0
    return {
        "kept": kept / max(1, len(labels) * (len(labels) - 1)),
        "positive": (labels > 0).sum() / kept.clamp(min=1),
        "agreement": agrees.sum() / kept.clamp(min=1),
    }


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"distillhash": DistillHash}
