"""CoCoNet: views recognise each other and a factor that joins them, and their embeddings follow one distribution.

Paper: Li et al., TKDE 2022, https://arxiv.org/abs/2209.07811
Code:  https://github.com/jiangmengli/CoCoNet/tree/a9b14ee (train_CoCoNet.py, gswnn.py, models/alexnet.py)
Note:  Of the paper the abstract and the beginning were read; the losses follow the code, but for what follows.
       Negatives are the other images of the batch, in both directions; the code draws them from memory banks, in one.
       The factor reads features and embeddings; the code's reads a map of each view instead of the features. The
       distance has random linear slices, the code's a network that is trained anew at each step to enlarge it. In the
       code that network detaches its input, so the distance moves no encoder; here it does.

Shapes: N images, V views of them (N, C, H, W), D features of each, P coordinates of an embedding, S slices.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bench_core import Batch, DataSpec, Encoder, Loss, Objective, Recipe, hookimpl, log, param
from bench_core.nn.heads import mlp
from bench_core.views import augment, preset

from .contrast import CrossViewConfig, Embeddings, contrast, cross_view_skip_reason, unit
from .encoder import ViewsEncoder
from .transport import random_directions, sliced_distance
from .views import VIEWS


@dataclass(frozen=True, kw_only=True)
class CoCoNetConfig(CrossViewConfig):
    """Parameters of views, embeddings and contrast, and of the factor and the distance."""

    views: str = param(
        "l_ab_lab",
        "views of an image by their channels: l_ab_lab is lightness, both colours, and all three",
        "code",
        choices=tuple(VIEWS),
    )
    pair_weight: float = param(0.1, "weight of the contrasts of two views", "code: beta", ge=0, tune=log(0.01, 1.0))
    factor_weight: float = param(
        0.1, "weight of the contrasts of a view and the factor", "code: alpha", ge=0, tune=log(0.01, 1.0)
    )
    distance_weight: float = param(
        0.2,
        "weight of the distances between two views' embeddings; 0 leaves them out",
        "code: gamma",
        ge=0,
        tune=log(0.002, 0.5),
    )
    slices: int = param(10, "directions along which a distance is measured, drawn at each step", "code", ge=1)
    hidden_dim: int = param(2048, "width of the two hidden layers of the factor's network, in units", "code", ge=1)

    def __post_init__(self) -> None:
        """Check that something is minimised that keeps images apart."""
        super().__post_init__()
        if self.pair_weight == 0 and self.factor_weight == 0:
            raise ValueError(
                "pair_weight and factor_weight must not both be 0: the distances alone make all images equal"
            )


class CoCoNetViews(NamedTuple):
    """Views of N images, each (N, C, H, W), by name; and directions (P, S) of the distances."""

    views: dict[str, Tensor]
    directions: Tensor


class CoCoNet(Objective):
    """Align and join the views of an image (Li 2022).

    Trains an encoder for each view, with a linear head on each, and a network that joins all views. Tasks read the
    features of all views side by side, or those of one view by its name (`linear.embedding=lab`).
    """

    Config = CoCoNetConfig
    recipe = Recipe(
        optimizer="sgd", learning_rate=0.03, weight_decay=1e-4, schedule="steps", milestones=(0.5, 0.667, 0.833),
        epochs=240, batch_size=128,
    )  # fmt: skip
    recipe_source = "code, train_CoCoNet.py: 240 epochs, rate / 10 after 120, 160 and 200"
    encoder: ViewsEncoder

    def __init__(
        self, encoder: Encoder, data: DataSpec, config: CoCoNetConfig, *, new_encoder: Callable[[DataSpec], Encoder]
    ) -> None:
        """Replace the given encoder by one for each view, and add heads and the network of the factor."""
        views = VIEWS[config.views]
        super().__init__(ViewsEncoder(data, views, new_encoder), data, config)
        self.config = config
        self.augmentation = preset(config.augmentation, data)
        self.embeddings = Embeddings(self.encoder.dims, config.output_dim)
        joined = self.encoder.dim + len(views.channels) * config.output_dim
        self.factor = mlp(joined, config.hidden_dim, config.hidden_dim, config.output_dim)

    def make_views(self, batch: Batch, rng: torch.Generator) -> CoCoNetViews:
        """Augment each image once, then split it into views; draw the directions."""
        images = augment(batch.inputs, rng, self.augmentation)
        directions = random_directions(self.config.output_dim, self.config.slices, rng)
        return CoCoNetViews(self.encoder.views.split(images), directions)

    def forward(self, views: CoCoNetViews, player: str = "main") -> Loss:
        """Return the weighted sum of the contrasts of two views, those of a view and the factor, and the distances."""
        config = self.config
        features = self.encoder.features(views.views)
        z = self.embeddings(features)
        factor = unit(self.factor(torch.cat([*features.values(), *z.values()], 1)))
        pairs = list(itertools.combinations(z, 2))
        contrasts = {f"{a}_{b}": contrast(z[a], z[b], config.temperature) for a, b in pairs}
        with_factor = {f"{a}_factor": contrast(z[a], factor, config.temperature) for a in z}
        distance = torch.stack([sliced_distance(z[a], z[b], views.directions) for a, b in pairs]).sum()
        total = (
            config.pair_weight * torch.stack(list(contrasts.values())).sum()
            + config.factor_weight * torch.stack(list(with_factor.values())).sum()
            + config.distance_weight * distance
        )
        ceiling = math.log(len(factor))
        information = {f"information_{pair}": ceiling - loss for pair, loss in {**contrasts, **with_factor}.items()}
        return Loss(total, {**information, "distance": distance}, dict.fromkeys(information, ceiling))

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `features` (N, V D) of all views, and those (N, D) of each view by its name."""
        features, of_views = self.encoder.all_features(inputs)
        return {"features": features, **of_views}

    @classmethod
    def skip_reason(
        cls, data: DataSpec, config: CoCoNetConfig, *,
        encoder_class: type[Encoder] | None = None, encoder_config: Any = None,
    ) -> str | None:  # fmt: skip
        """Return a reason unless the data are colour images of which the encoder reads each view."""
        return cross_view_skip_reason(data, config, encoder_class, encoder_config)


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"coconet": CoCoNet}
