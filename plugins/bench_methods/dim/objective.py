"""Deep InfoMax: a summary of the image recognises the image's own locations among those of other images.

Paper: Hjelm, Fedorov, Lavoie-Marchildon, Grewal, Bachman, Trischler, Bengio, ICLR 2019, https://arxiv.org/abs/1808.06670
Code:  https://github.com/rdevon/DIM/tree/bac4765/cortex_DIM (models/dim.py, prior_matching.py, discriminator.py)
Note:  In the game that matches y to the prior, the encoder minimises the code's non-saturating loss, not the paper's
       minimax loss. In the global case critics read the flattened map; the code gives them a copy of the encoder's
       later layers. Ours: the dot critic's scores are divided by sqrt(units) for dv and nce, because layer norm would
       leave their logits too large.

Shapes: N images, C channels, H x W pixels, D features, P coordinates of the summary y, L locations of K channels.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from bench_core import (
    Batch,
    Config,
    ConfigError,
    DataSpec,
    Encoder,
    Loss,
    Objective,
    Player,
    Recipe,
    Variant,
    hookimpl,
    log,
    param,
)
from bench_core.nn.adversarial import discriminator_loss, fooling_loss
from bench_core.nn.heads import mlp

from .critics import make_critic
from .local_information import estimate, told_apart
from .local_maps import choose_map, draw_locations, flat, rows


@dataclass(frozen=True, kw_only=True)
class DIMConfig(Config):
    """Parameters of Deep InfoMax; defaults of DIM(L), the paper's local objective, on CIFAR."""

    alpha: float = param(0.0, "weight of the global estimate; 0 leaves it out", "paper: DIM(L)", ge=0)
    beta: float = param(
        1.0, "weight of the local estimate, a mean over locations; 0 leaves it out", "paper: DIM(L)", ge=0
    )
    gamma: float = param(
        0.1,
        "weight of the game that matches y to the prior; 0 leaves it out",
        "paper: DIM(L)",
        ge=0,
        tune=log(0.01, 1.0),  # the paper has .1 for DIM(L) and 1 for DIM(G); alpha and beta are what a row is
    )
    output_dim: int = param(64, "length of the summary y, in coordinates", "paper", ge=1)
    estimator: Literal["jsd", "dv", "nce"] = param(
        "jsd", "estimate of information that is maximised", "code, models/dim.py"
    )
    critic: Literal["dot", "concat"] = param(
        "dot", "network that scores pairs: encode-and-dot or concat-and-convolve", "code, models/dim.py"
    )
    units: int = param(2048, "width of the dot critic's networks, in units", "code, models/dim.py: mi_units", ge=1)
    local_map: str | None = param(
        None,
        "name of one of the encoder's maps; none: the middle one of those with about 4 pixels a location",
        "code: its choices",
    )
    locations: int | None = param(
        None,
        "number of locations drawn for each image at each step; none: all",
        "code: none; it draws with replacement",
        ge=1,
    )

    def __post_init__(self) -> None:
        """Check that at least one term has a weight."""
        super().__post_init__()
        if self.alpha == self.beta == self.gamma == 0:
            raise ValueError("alpha, beta and gamma must not all be 0")


class DIMViews(NamedTuple):
    """Images, samples of the prior, and locations of one step.

    Attributes:
        images: (N, C, H, W).
        prior: (N, P) in [0, 1).
        locations: (N, S) int64, numbers of the locations that are used; None for all.
    """

    images: Tensor
    prior: Tensor
    locations: Tensor | None


class DIM(Objective):
    """Match a summary with local features (Hjelm 2019).

    Trains the encoder, a linear layer from features to the summary y, and critics that score y with the encoder's local
    map. A discriminator, trained in turn with them, matches y to a uniform prior. Tasks read `features` (also as `fc`),
    `conv` and `y`.
    """

    Config = DIMConfig
    revision = 2  # 2: features and map come from one pass, so batch norm sees a batch once
    recipe = Recipe(optimizer="adam", learning_rate=1e-4, schedule="constant", epochs=1000, batch_size=64)
    recipe_source = "code, models/dim.py: Adam 1e-4, batches of 64, 1000 epochs on CIFAR"
    variants: ClassVar[Mapping[str, Variant]] = {
        "global": Variant({"alpha": 1.0, "beta": 0.0, "gamma": 1.0}, "paper: DIM(G)", "global estimate"),
        "local": Variant(
            {"alpha": 0.0, "beta": 1.0, "gamma": 0.1}, "paper: DIM(L)", "local estimate by Jensen-Shannon; the default"
        ),
        "local_nce": Variant({"estimator": "nce"}, "paper: DIM(L) infoNCE", "local estimate by InfoNCE"),
        "local_global": Variant(
            {"alpha": 0.5, "beta": 0.1}, "paper: DIM(L+G); gamma ours, DIM(L)'s", "global and local estimate"
        ),
    }

    def __init__(self, encoder: Encoder, data: DataSpec, config: DIMConfig) -> None:
        """Add the summary, and the networks of each term with a weight above 0."""
        super().__init__(encoder, data, config)
        self.config = config
        self.map = choose_map(encoder, data, config.local_map)
        if (config.locations or 0) > self.map.locations:
            raise ConfigError(f"locations is {config.locations}, but map {self.map.name} has {self.map.locations}")
        P, K, L = config.output_dim, self.map.channels, self.map.locations
        self.summary = nn.Linear(encoder.dim, P)
        self.weights: dict[str, float] = {}
        self.critics = nn.ModuleDict()
        divisor = 1.0 if config.estimator == "jsd" else math.sqrt(config.units)
        for name, weight, local_dim in (("global", config.alpha, L * K), ("local", config.beta, K)):
            if weight > 0:
                self.weights[name] = weight
                self.critics[name] = make_critic(config.critic, P, local_dim, config.units, divisor)
        self.discriminator = mlp(P, 1000, 200, 1, norm=False) if config.gamma > 0 else None

    def make_views(self, batch: Batch, rng: torch.Generator) -> DIMViews:
        """Return the images unchanged, with samples of the uniform prior and drawn locations."""
        prior = torch.rand(len(batch.inputs), self.config.output_dim, generator=rng, device=rng.device)
        locations = draw_locations(len(prior), self.map.locations, self.config.locations, rng)
        return DIMViews(batch.inputs, prior, locations)

    def players(self) -> list[Player]:
        """Return the player `main` for all networks but the discriminator, and `prior` for the discriminator."""
        if self.discriminator is None:
            return super().players()
        main = [p for name, p in self.named_parameters() if not name.startswith("discriminator.")]
        return [Player("main", main), Player("prior", list(self.discriminator.parameters()))]

    def forward(self, views: DIMViews, player: str = "main") -> Loss:
        """Return -alpha global - beta local + gamma prior for `main`, the discriminator's loss for `prior`."""
        if player == "prior" and self.discriminator is not None:
            with torch.no_grad():
                y = self.summary(self.encoder(views.images))  # (N, P)
            cross_entropy, penalty = discriminator_loss(self.discriminator, views.prior, torch.sigmoid(y))
            return Loss(cross_entropy + penalty, {"cross_entropy": cross_entropy, "gradient_penalty": penalty})
        features, maps = self.encoder.features_and_maps(views.images)
        y = self.summary(features)
        total = torch.zeros((), device=y.device)
        parts: dict[str, Tensor] = {}  # `dict[str, Tensor]()` would break a compiled graph
        ceilings: dict[str, float] = {}
        for name, locations in self._critic_inputs(maps[self.map.name], views.locations).items():
            scores = self.critics[name](y, locations)
            part = f"{name}_{self.config.estimator}"
            parts[part], ceilings[part] = estimate(self.config.estimator, scores)
            parts[f"{name}_told_apart"] = told_apart(scores)
            total = total - self.weights[name] * parts[part]
        if self.discriminator is not None:
            squashed = torch.sigmoid(y.float())
            parts["prior_loss"] = fooling_loss(self.discriminator, squashed)
            parts["prior_std"] = squashed.std(0).mean()  # the uniform prior itself has sqrt(1 / 12) = .289
            total = total + self.config.gamma * parts["prior_loss"]
        floors = {part: 0.55 for part in parts if part.endswith("told_apart")}  # ours; chance is 1/2
        return Loss(total, parts, ceilings, floors)

    def _critic_inputs(self, local_map: Tensor, locations: Tensor | None) -> dict[str, Tensor]:
        """Return what each critic compares with y.

        Args:
            local_map: (N, K, h, w).
            locations: (N, S) int64, numbers of the locations that are used; None for all.

        Returns:
            "global": the whole map as one location, (N, 1, L * K).
            "local": the locations that are used, (N, L, K) or (N, S, K).
        """
        inputs = {"global": local_map.flatten(1)[:, None], "local": rows(local_map, locations)}
        return {name: inputs[name] for name in self.weights}

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the embeddings that the paper reads.

        Returns:
            features, fc: (N, D), the encoder's output.
            conv: the last map, averaged to at most 4 x 4 positions and flattened.
            y: (N, P), the summary before the sigmoid.
        """
        features, maps = self.encoder.features_and_maps(inputs)
        conv = flat(list(maps.values())[-1])
        return {"features": features, "conv": conv, "fc": features, "y": self.summary(features)}

    @classmethod
    def skip_reason(cls, data: DataSpec, config: DIMConfig) -> str | None:
        """Return "needs images" for data of another kind: locations are those of images."""
        return None if data.is_image else "needs images"


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"dim": DIM}
