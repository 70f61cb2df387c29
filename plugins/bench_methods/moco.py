"""MoCo: recognise an image's other view, encoded by a slow copy of the network, among the keys of earlier batches.

Paper: He, Fan, Wu, Xie, Girshick, CVPR 2020, https://arxiv.org/abs/1911.05722
Code:  https://github.com/facebookresearch/moco/blob/f7364915/colab/moco_cifar10_demo.ipynb, the authors' for CIFAR-10
Note:  the demo adds the losses of both orders of the views, this file takes their mean. Batch statistics leak which
       batch a key comes from. Against that the demo splits batch norm and shuffles the keys, as several GPUs do (Sec.
       3.3). Here a batch passes each network in parts (`in_parts`). Queries of one part are consecutive rows; keys are
       dealt out like cards, so that a key shares its part with other images than its query does.

Shapes: N images, two views, C channels, H x W pixels, D features, P units of the projection, K keys in the queue.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
    choice,
    hookimpl,
    log,
    param,
)
from bench_core.nn.collapse import spread
from bench_core.nn.heads import mlp
from bench_core.nn.momentum import cosine_momentum, enqueue, momentum_copy, update_copy
from bench_core.views import PRESET_NAMES, augment, preset

_V2PLUS: Mapping[str, Any] = {
    "hidden_dim": 2048,
    "output_dim": 256,
    "temperature": 0.2,
    "queue_size": 32768,
    "final_momentum": 0.999,
    "recipe.learning_rate": 0.3,
    "recipe.weight_decay": 1e-4,
    "recipe.warmup_epochs": 10.0,
    "parts": 1,
    "recipe.epochs": 1000,
    "recipe.batch_size": 256,
}


@dataclass(frozen=True, kw_only=True)
class MoCoConfig(Config):
    """Parameters of MoCo; defaults for CIFAR-10."""

    hidden_dim: int = param(
        0, "hidden width of the projector, in units; 0: one linear layer", "code, CIFAR-10; v2: an MLP", ge=0
    )
    output_dim: int = param(128, "width of the projection, in units", "code, --moco-dim", ge=1)
    temperature: float = param(
        0.1,
        "divides the cosine similarities; lower values weigh the most similar negatives more",
        "code, --moco-t",
        gt=0,
        tune=log(0.05, 1.0),
    )
    queue_size: int = param(
        4096, "number of keys in the queue, which starts with random unit vectors", "code, --moco-k", ge=1
    )
    momentum: float = param(
        0.99,
        "momentum of the keys' network at the first step",
        "code, --moco-m",
        ge=0,
        le=1,
        tune=choice(0.9, 0.99, 0.999),
    )
    final_momentum: float = param(
        0.99, "momentum of the keys' network at the last step, reached by half a cosine", "code: constant", ge=0, le=1
    )
    symmetric: bool = param(
        True, "use both views as queries; False: the first view only", "code, --symmetric; the paper: False"
    )
    parts: int = param(
        8, "parts of a batch that have batch statistics of their own; 1: the whole batch", "code, --bn-splits", ge=1
    )
    augmentation: str = param(
        "simclr", "preset of the views", "code, train_transform: the same as SimCLR's", choices=PRESET_NAMES
    )


class MoCo(Objective):
    """Contrast with a queue of slow keys (He 2020).

    Trains the encoder and a projector, which make the queries. The target is a copy of both that makes the keys; it
    gets no gradient, its weights follow by a moving average. A queue holds the keys of earlier batches as negatives.
    The projector gives the `code`; tasks on `features` read the encoder alone.
    """

    Config = MoCoConfig
    recipe = Recipe(optimizer="sgd", learning_rate=0.12, weight_decay=2.5e-4, epochs=200, batch_size=512)
    recipe_source = "code: rate .06, decay 5e-4 on the orders' sum; on their mean, twice and half make the same steps"
    variants: ClassVar[Mapping[str, Variant]] = {
        "asymmetric": Variant(
            {"symmetric": False, "recipe.learning_rate": 0.06, "recipe.weight_decay": 5e-4},
            "paper, Alg. 1; code, CIFAR-10 without --symmetric",
            "the first view is the query, the second the key",
        ),
        "v2plus": Variant(
            _V2PLUS,
            "solo-learn 48e669e8, scripts/pretrain/cifar/mocov2plus.sh; there each view has a queue of its own",
            "solo-learn's MoCo v2+: MLP head, longer queue, 1000 epochs",
        ),
    }
    queue: Tensor  # (K, P) unit rows
    position: Tensor  # () int64, the row of the queue that is overwritten next

    def __init__(self, encoder: Encoder, data: DataSpec, config: MoCoConfig) -> None:
        """Add the projector, the keys' network and the queue."""
        super().__init__(encoder, data, config)
        self.config = config
        self.augmentation = preset(config.augmentation, data)
        hidden = [config.hidden_dim] if config.hidden_dim else []
        self.projector = mlp(encoder.dim, *hidden, config.output_dim, norm=False)
        self.target = momentum_copy(nn.Sequential(encoder, self.projector))
        self.register_buffer("queue", F.normalize(torch.randn(config.queue_size, config.output_dim), dim=1))
        self.register_buffer("position", torch.zeros((), dtype=torch.long))
        # Every step sets these two, in `before_step` and `forward`, before it reads them: they need not be saved.
        self.momentum = config.momentum
        self.new_keys = torch.empty(0, config.output_dim)
        self.warnings: list[str] = []
        images_in_queue = config.queue_size // (2 if config.symmetric else 1)
        if images_in_queue > data.num_train:
            self.warnings.append(
                f"the queue's {config.queue_size} keys are of {images_in_queue} images, more than the "
                f"{data.num_train} to train on: lower moco.queue_size, for most images find earlier keys of their own "
                "among the negatives"
            )

    def players(self) -> list[Player]:
        """Return one player with all parameters but those of the keys' network."""
        return [Player("main", [p for p in self.parameters() if p.requires_grad])]

    def make_views(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Augment each image twice: (N, C, H, W) in [0, 1] -> (2, N, C, H, W)."""
        return torch.stack([augment(batch.inputs, rng, self.augmentation) for _ in range(2)])

    def before_step(self, context: EpochContext) -> Mapping[str, float]:
        """Set the momentum, which follows half a cosine over all steps, and log it."""
        start, end = self.config.momentum, self.config.final_momentum
        self.momentum = cosine_momentum(start, context.step, context.num_steps, end)
        return {"momentum": self.momentum}

    def forward(self, views: Tensor, player: str = "main") -> Loss:
        """Return InfoNCE of views (2, N, C, H, W) in nats, with the spread of the queries.

        Where both views are queries (`symmetric`) it is the mean of both orders.
        """
        online = nn.Sequential(self.encoder, self.projector)
        parts = self.config.parts
        query_views, key_views = (views, views.flip(0)) if self.config.symmetric else (views[:1], views[1:])
        queries = torch.cat([in_parts(online, view, parts) for view in query_views])
        with torch.no_grad():
            keys = torch.cat([in_parts(self.target, view, parts, dealt=True) for view in key_views])
            self.new_keys = F.normalize(keys.float(), dim=1)
        total = info_nce(queries, self.new_keys, self.queue, self.config.temperature)
        return Loss(total, {"spread": spread(queries)}, floors={"spread": 0.1}, warnings=self.warnings)

    def after_step(self) -> None:
        """Put the batch's keys into the queue, and move the keys' network; called after the optimiser's step."""
        enqueue(self.queue, self.position, self.new_keys)
        update_copy(self.target, nn.Sequential(self.encoder, self.projector), self.momentum)

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `features` (N, D) and `code` (N, P) bool, the signs of the projection."""
        features = self.encoder(inputs)
        return {"features": features, "code": self.projector(features) > 0}

    @classmethod
    def skip_reason(cls, data: DataSpec, config: MoCoConfig) -> str | None:
        """Return "needs images" for data of another kind: views are augmented images."""
        return None if data.is_image else "needs images"


def info_nce(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Return the cross-entropy of picking each query's key among this key and the queue, Eq. (1).

    Args:
        queries: (N, P), of any length.
        keys: (N, P) unit rows; row i belongs to query i.
        queue: (K, P) unit rows, negatives for every query.
        temperature: Divides the cosine similarities, > 0.

    Returns:
        () mean over queries, in nats; log(K + 1) if all keys are equal.
    """
    with torch.autocast(queries.device.type, enabled=False):  # bf16 products would round the similarities
        q = F.normalize(queries.float(), dim=1)
        logits = torch.cat([(q * keys).sum(1, keepdim=True), q @ queue.T], 1) / temperature  # (N, 1 + K)
        return (logits.logsumexp(1) - logits[:, 0]).mean()


def in_parts(network: nn.Module, images: Tensor, parts: int, *, dealt: bool = False) -> Tensor:
    """Return a network's output on a batch that passes it in parts, each with batch statistics of its own.

    Args:
        network: (n, C, H, W) -> (n, P).
        images: (N, C, H, W).
        parts: Number of parts, of nearly equal size; fewer are used if a part would have less than two images.
        dealt: Put row i into part i mod `parts`, as cards are dealt; False puts consecutive rows together.

    Returns:
        (N, P); row i is of image i.
    """
    parts = max(1, min(parts, len(images) // 2))
    if dealt:
        order = (torch.arange(len(images), device=images.device) % parts).argsort(stable=True)
        return in_parts(network, images[order], parts)[order.argsort()]
    with _slower_statistics(network, parts):
        return torch.cat([network(part) for part in images.tensor_split(parts)])


@contextmanager
def _slower_statistics(network: nn.Module, parts: int) -> Iterator[None]:
    """Divide the momentum of batch norm's running statistics by the number of parts, within a `with` block.

    All parts of a batch together then move the statistics about as far as one whole batch would.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.momentum is not None]
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = (norm.momentum or 0.0) / parts
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"moco": MoCo}
