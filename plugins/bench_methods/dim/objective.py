"""Deep InfoMax: a summary of the image is to tell the image's own places from those of other images.

Paper: Hjelm, Fedorov, Lavoie-Marchildon, Grewal, Bachman, Trischler, Bengio, ICLR 2019, https://arxiv.org/abs/1808.06670
Code:  https://github.com/rdevon/DIM/tree/bac4765/cortex_DIM (models/dim.py, prior_matching.py, discriminator.py)
Note:  The encoder's part in the prior game is the code's non-saturating loss, not the paper's minimax. In the global
       case critics read the flattened map, where the code copies the encoder's later layers for it. Ours: the dot
       critic's scores are divided by sqrt(units) for dv and nce, whose logits layer norm would leave too large.

Shapes: N images, C channels, H x W pixels, D features, P coordinates of the summary y, L locations of K channels.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from bench_core import Batch, ConfigError, DataSpec, Encoder, Loss, Objective, Player, Recipe, Variant, hookimpl, param
from bench_core.nn.heads import mlp

from .adversarial import discriminator_loss, fooling_loss
from .critics import make_critic
from .local_information import estimate, told_apart
from .local_maps import choose_map, draw_locations, flat, rows


@dataclass(frozen=True, kw_only=True)
class DIMConfig:
    """Defaults are DIM(L), the paper's local objective, on CIFAR."""

    alpha: float = param(0.0, ">= 0, weight of the global estimate", "paper: DIM(L)")
    beta: float = param(1.0, ">= 0, weight of the local estimate, a mean over locations", "paper: DIM(L)")
    gamma: float = param(0.1, ">= 0, weight of the prior game", "paper: DIM(L)")
    output_dim: int = param(64, "coordinates of the summary y", "paper")
    estimator: Literal["jsd", "dv", "nce"] = param("jsd", "what is maximised", "code, models/dim.py")
    critic: Literal["dot", "concat"] = param("dot", "encode-and-dot or concat-and-convolve", "code, models/dim.py")
    units: int = param(2048, "width of the dot critic's networks", "code, models/dim.py: mi_units")
    local_map: str | None = param(
        None, "of the encoder's maps; none: the middle one of those with about 4 pixels a location", "code: its choices"
    )
    locations: int | None = param(
        None, "drawn anew of each image at each step; none: all", "code: none; it draws with replacement"
    )

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("alpha", "beta", "gamma"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")
        if self.alpha == self.beta == self.gamma == 0:
            raise ValueError("alpha, beta and gamma must not all be 0")
        for name in ("output_dim", "units", "locations"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")


class DIMViews(NamedTuple):
    """Images (N, C, H, W); samples of the prior (N, P) in [0, 1); which locations (N, S) count, None: all."""

    images: Tensor
    prior: Tensor
    locations: Tensor | None


class DIM(Objective):
    """The encoder under study, the summary y of its features, critics of y and the local map, a discriminator."""

    Config = DIMConfig
    recipe = Recipe(optimizer="adam", learning_rate=1e-4, schedule="constant", epochs=1000, batch_size=64)
    recipe_source = "code, models/dim.py: Adam 1e-4, batches of 64, 1000 epochs on CIFAR"
    variants: ClassVar[Mapping[str, Variant]] = {
        "global": Variant({"alpha": 1.0, "beta": 0.0, "gamma": 1.0}, "paper: DIM(G)", "the global estimate"),
        "local": Variant({"alpha": 0.0, "beta": 1.0, "gamma": 0.1}, "paper: DIM(L)", "the local estimate; the default"),
        "local_nce": Variant({"estimator": "nce"}, "paper: DIM(L) infoNCE", "the local estimate by InfoNCE"),
        "local_global": Variant({"alpha": 0.5, "beta": 0.1}, "paper: DIM(L+G); gamma ours, DIM(L)'s", "both estimates"),
    }

    def __init__(self, encoder: Encoder, data: DataSpec, config: DIMConfig) -> None:
        """Add the summary, and what each weight above 0 asks for."""
        super().__init__(encoder, data, config)
        self.config = config
        self.map = choose_map(encoder, data, config.local_map)
        if (config.locations or 0) > self.map.locations:
            raise ConfigError(f"locations is {config.locations}, but map {self.map.name} has {self.map.locations}")
        P, K, L = config.output_dim, self.map.channels, self.map.locations
        self.summary = nn.Linear(encoder.dim, P)
        self.weights = {name: w for name, w in (("global", config.alpha), ("local", config.beta)) if w > 0}
        widths = {"global": L * K, "local": K}
        divisor = 1.0 if config.estimator == "jsd" else math.sqrt(config.units)
        self.critics = nn.ModuleDict(
            {name: make_critic(config.critic, P, widths[name], config.units, divisor) for name in self.weights}
        )
        self.discriminator = mlp(P, 1000, 200, 1, norm=False) if config.gamma > 0 else None

    def make_views(self, batch: Batch, rng: torch.Generator) -> DIMViews:
        """The images as they are, samples of the uniform prior, and locations."""
        prior = torch.rand(len(batch.inputs), self.config.output_dim, generator=rng, device=rng.device)
        return DIMViews(batch.inputs, prior, draw_locations(len(prior), self.map.locations, self.config.locations, rng))

    def players(self) -> list[Player]:
        """`main` moves all but the discriminator, which is `prior`'s."""
        if self.discriminator is None:
            return super().players()
        main = [p for name, p in self.named_parameters() if not name.startswith("discriminator.")]
        return [Player("main", main), Player("prior", list(self.discriminator.parameters()))]

    def forward(self, views: DIMViews, player: str = "main") -> Loss:
        """-alpha global - beta local + gamma prior for `main`; the discriminator's loss for `prior`."""
        with torch.set_grad_enabled(player == "main" and torch.is_grad_enabled()):
            y = self.summary(self.encoder(views.images))  # (N, P)
        if player == "prior" and self.discriminator is not None:
            told, penalty = discriminator_loss(self.discriminator, views.prior, torch.sigmoid(y))
            return Loss(told + penalty, {"cross_entropy": told, "gradient_penalty": penalty})
        total = torch.zeros((), device=y.device)
        parts: dict[str, Tensor] = {}  # `dict[str, Tensor]()` would break a compiled graph
        ceilings: dict[str, float] = {}
        for name, read in self._read(views).items():
            scores, part = self.critics[name](y, read), f"{name}_{self.config.estimator}"
            parts[part], ceilings[part] = estimate(self.config.estimator, scores)
            parts[f"{name}_told_apart"] = told_apart(scores)
            total = total - self.weights[name] * parts[part]
        if self.discriminator is not None:
            squashed = torch.sigmoid(y.float())
            parts["prior_loss"] = fooling_loss(self.discriminator, squashed)
            parts["prior_std"] = squashed.std(0).mean()  # of the prior: sqrt(1 / 12) = .289
            total = total + self.config.gamma * parts["prior_loss"]
        floors = {part: 0.55 for part in parts if part.endswith("told_apart")}  # ours; chance is 1/2
        return Loss(total, parts, ceilings, floors)

    def _read(self, views: DIMViews) -> dict[str, Tensor]:
        """What the critics hold against y: "global", the whole map (N, 1, L * K); "local", its locations (N, L, K)."""
        if not self.weights:
            return {}
        local_map = self.encoder.maps(views.images)[self.map.name]
        read = {"global": local_map.flatten(1)[:, None], "local": rows(local_map, views.locations)}
        return {name: read[name] for name in self.weights}

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """`features`, the paper's `fc`; `conv`, the last map at no more than 4 x 4; `y` (N, P), not squashed."""
        features, maps = self.encoder(inputs), self.encoder.maps(inputs)
        conv = flat(list(maps.values())[-1])
        return {"features": features, "conv": conv, "fc": features, "y": self.summary(features)}

    @classmethod
    def skip_reason(cls, data: DataSpec, config: DIMConfig) -> str | None:
        """Locations are those of images."""
        return None if data.is_image else "needs images"


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"dim": DIM}
