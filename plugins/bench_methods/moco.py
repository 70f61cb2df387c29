"""MoCo: find an image's other view, as a slow copy of the network sees it, among a queue of keys of earlier batches.

Paper: He, Fan, Wu, Xie, Girshick, CVPR 2020, https://arxiv.org/abs/1911.05722
Code:  https://github.com/facebookresearch/moco/blob/f7364915/colab/moco_cifar10_demo.ipynb, the authors' for CIFAR-10
Note:  the demo adds the losses of both orders, this file takes their mean. Batch statistics tell a query its key's
       batch: the demo splits batch norm and shuffles the keys, as several GPUs do (Sec. 3.3). Here a batch passes each
       network in parts; keys are dealt out like cards, which in a batch of random order gives them other companions.

Shapes: N images, two views, C channels, H x W pixels, D features, P projected, K keys in the queue.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Encoder, EpochContext, Loss, Objective, Player, Recipe, Variant, hookimpl, param
from bench_core.nn.collapse import spread
from bench_core.nn.heads import mlp
from bench_core.nn.momentum import cosine_momentum, enqueue, momentum_copy, update_copy
from bench_core.views import augment, check_preset, preset

V2PLUS = {"hidden_dim": 2048, "output_dim": 256, "temperature": 0.2, "queue_size": 32768, "final_momentum": 0.999}
V2PLUS |= {"recipe.learning_rate": 0.3, "recipe.weight_decay": 1e-4, "recipe.warmup_epochs": 10.0, "parts": 1}
V2PLUS |= {"recipe.epochs": 1000, "recipe.batch_size": 256}


@dataclass(frozen=True, kw_only=True)
class MoCoConfig:
    """Defaults are those of CIFAR-10."""

    hidden_dim: int = param(0, "hidden width of the projector; 0: one linear layer", "code, CIFAR-10; v2: an MLP")
    output_dim: int = param(128, "width of the projection", "code, --moco-dim")
    temperature: float = param(0.1, "> 0, divides the cosine similarities", "code, --moco-t")
    queue_size: int = param(4096, "keys in the queue, at first random unit vectors", "code, --moco-k")
    momentum: float = param(0.99, "of the keys' network, in [0, 1]", "code, --moco-m")
    final_momentum: float = param(0.99, "to which it goes by cosine, in [0, 1]", "code: constant")
    symmetric: bool = param(True, "both views are queries; False: the first", "code, --symmetric; the paper: False")
    parts: int = param(8, "of a batch, each with batch statistics of its own; 1: whole", "code, --bn-splits")
    augmentation: str = param("simclr", "preset of the views", "code, train_transform: the same as SimCLR's")

    def __post_init__(self) -> None:
        """Check ranges."""
        for name, low in {"hidden_dim": 0, "output_dim": 1, "queue_size": 1, "parts": 1}.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be >= {low}, got {getattr(self, name)}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be > 0, got {self.temperature}")
        if not 0 <= min(ends := (self.momentum, self.final_momentum)) <= max(ends) <= 1:
            raise ValueError(f"momentum and final_momentum must be in [0, 1], got {ends}")
        check_preset(self.augmentation)


class MoCo(Objective):
    """The encoder under study with a projector, a slow copy of both that makes keys, and a queue of those."""

    Config = MoCoConfig
    recipe = Recipe(optimizer="sgd", learning_rate=0.12, weight_decay=2.5e-4, epochs=200, batch_size=512)
    recipe_source = "code: rate .06, decay 5e-4 on the orders' sum; on their mean, twice and half make the same steps"
    variants: ClassVar[Mapping[str, Variant]] = {
        "asymmetric": Variant(
            {"symmetric": False, "recipe.learning_rate": 0.06, "recipe.weight_decay": 5e-4},
            "paper, Alg. 1; code, CIFAR-10 without --symmetric",
            "one view asks, the other answers",
        ),
        "v2plus": Variant(
            V2PLUS,
            "solo-learn 48e669e8, scripts/pretrain/cifar/mocov2plus.sh; there each view has a queue of its own",
            "MLP head, long queue, momentum that rises; batch norm sees the whole batch",
        ),
    }
    queue: Tensor
    position: Tensor

    def __init__(self, encoder: Encoder, data: DataSpec, config: MoCoConfig) -> None:
        """Add the projector, the keys' network and the queue."""
        super().__init__(encoder, data, config)
        self.config = config
        self.augmentation = preset(config.augmentation, data)
        self.projector = mlp(encoder.dim, *[config.hidden_dim] * (config.hidden_dim > 0), config.output_dim, norm=False)
        self.target = momentum_copy(nn.Sequential(encoder, self.projector))
        self.register_buffer("queue", F.normalize(torch.randn(config.queue_size, config.output_dim), dim=1))
        self.register_buffer("position", torch.zeros((), dtype=torch.long))
        # Set anew in every step, by `before_step` and `forward`, before they are read: no state.
        self.momentum, self.new_keys = config.momentum, torch.empty(0, config.output_dim)
        size, images = config.queue_size, config.queue_size // (1 + config.symmetric)
        warning = f"the queue's {size} keys are of {images} images, more than the {data.num_train} to train on: lower"
        warning += " moco.queue_size, for most images find earlier keys of their own among the negatives"
        self.warnings = [warning] * (images > data.num_train)

    def players(self) -> list[Player]:
        """One, without the keys' network."""
        return [Player("main", [p for p in self.parameters() if p.requires_grad])]

    def make_views(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Augment each image twice: (N, C, H, W) in [0, 1] -> (2, N, C, H, W)."""
        return torch.stack([augment(batch.inputs, rng, self.augmentation) for _ in range(2)])

    def before_step(self, context: EpochContext) -> Mapping[str, float]:
        """The momentum, by cosine over all steps."""
        start, end = self.config.momentum, self.config.final_momentum
        self.momentum = cosine_momentum(start, context.step, context.num_steps, end)
        return {"momentum": self.momentum}

    def forward(self, views: Tensor, player: str = "main") -> Loss:
        """InfoNCE of views (2, N, C, H, W) in nats, mean of both orders; with how far the queries spread."""
        online, parts = nn.Sequential(self.encoder, self.projector), self.config.parts
        asks, answers = (views, views.flip(0)) if self.config.symmetric else (views[:1], views[1:])
        queries = torch.cat([in_parts(online, view, parts) for view in asks])
        with torch.no_grad():
            keys = torch.cat([in_parts(self.target, view, parts, dealt=True) for view in answers])
            self.new_keys = F.normalize(keys.float(), dim=1)
        total = info_nce(queries, self.new_keys, self.queue, self.config.temperature)
        return Loss(total, {"spread": spread(queries)}, floors={"spread": 0.1}, warnings=self.warnings)

    def after_step(self) -> None:
        """The batch's keys, scored by now, enter the queue; the keys' network follows the optimiser's step."""
        enqueue(self.queue, self.position, self.new_keys)
        update_copy(self.target, nn.Sequential(self.encoder, self.projector), self.momentum)

    @classmethod
    def skip_reason(cls, data: DataSpec, config: MoCoConfig) -> str | None:
        """Views are augmented images."""
        return None if data.is_image else "needs images"


def info_nce(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding each query's key among it and the queue, Eq. (1).

    Args:
        queries: (N, P), of any length.
        keys: (N, P) unit rows; row i answers query i.
        queue: (K, P) unit rows, negatives for every query.
        temperature: Divides the cosine similarities, > 0.

    Returns:
        () mean over queries, in nats; log(K + 1) where all keys are alike.
    """
    with torch.autocast(queries.device.type, enabled=False):  # bf16 products would round the similarities
        q = F.normalize(queries.float(), dim=1)
        logits = torch.cat([(q * keys).sum(1, keepdim=True), q @ queue.T], 1) / temperature  # (N, 1 + K)
        return (logits.logsumexp(1) - logits[:, 0]).mean()


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"moco": MoCo}


def in_parts(network: nn.Module, images: Tensor, parts: int, *, dealt: bool = False) -> Tensor:
    """A network's output on a batch that passes in parts, so that each part has batch statistics of its own.

    Args:
        network: (n, C, H, W) -> (n, P).
        images: (N, C, H, W).
        parts: As equal as can be; fewer where a part would have less than two images.
        dealt: Row i goes to part i mod `parts`, as cards are dealt, instead of consecutive rows together.

    Returns:
        (N, P), row i for image i.
    """
    parts = max(1, min(parts, len(images) // 2))
    if dealt:
        order = (torch.arange(len(images), device=images.device) % parts).argsort(stable=True)
        return in_parts(network, images[order], parts)[order.argsort()]
    with _slower_statistics(network, parts):
        return torch.cat([network(part) for part in images.tensor_split(parts)])


@contextmanager
def _slower_statistics(network: nn.Module, parts: int) -> Iterator[None]:
    """Batch norm's running statistics move by a part's share at each part, so that they remember as many batches."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.momentum is not None]
    usual = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = (norm.momentum or 0.0) / parts
        yield
    finally:
        for norm, momentum in zip(norms, usual, strict=True):
            norm.momentum = momentum
