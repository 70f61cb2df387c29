"""AMDIM: one view of an image finds all locations of its other view among those of other images, at several scales.

Paper: Bachman, Hjelm, Buchwalter, NeurIPS 2019, https://arxiv.org/abs/1906.00910
Code:  https://github.com/Philip-Bachman/amdim-public/tree/8754ae1 (model.py, costs.py, task_self_supervised.py)
Note:  Follows the code; of the paper only the abstract and the beginning were read. The code trains classifiers beside
       the encoder, on features without gradient, to show progress; tasks do this here. The paper's mixtures of features
       (Sec. 3.7) are not in the code and not here. Ours: encoders other than `amdim_net`; the views of digits.

Shapes: N images, C channels, H x W pixels, D features, L locations of a map, U units.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from bench_core import Batch, Config, DataSpec, Encoder, Loss, Objective, Recipe, hookimpl, log, param
from bench_core.nn.mutual_information import location_nce, location_nce_ceiling
from bench_core.views import PRESETS, augment, preset

from .local_maps import LocationHead, choose_maps, map_shapes, rows_of
from .location_scores import location_scores, soft_clip
from .view_pairs import view_pair


@dataclass(frozen=True, kw_only=True)
class AMDIMConfig(Config):
    """Parameters of AMDIM; defaults are the code's."""

    units: int | None = param(
        None,
        "width of the heads, and one more head for the features; none: as many as features, which then need no head",
        "code, model.py: n_rkhs, rkhs_block_1",
        ge=1,
    )
    clip: float = param(
        20.0,
        "scores beyond it are bent to stay within: c tanh(score / c)",
        "code, train.py: tclip",
        gt=0,
        tune=log(5.0, 80.0),
    )
    penalty_weight: float = param(
        0.05,
        "weight of the mean square of the scores, before they are clipped",
        "code, costs.py",
        ge=0,
        tune=log(0.005, 0.5),
    )
    shallow_map: str | None = param(
        None, "name of the map whose locations are targets only; none: chosen as deep_map is", "code, model.py: 7 x 7"
    )
    deep_map: str | None = param(
        None,
        "name of the map whose locations are targets and sources; none: of all pairs of maps the one nearest to 7 x 7 "
        "and 5 x 5 locations",
        "code, model.py: 5 x 5",
    )
    augmentation: str = param(
        "amdim",
        "preset that both views are drawn from; 'amdim' mirrors both alike, then moves or crops and colours each",
        "code, datasets.py",
        choices=("amdim", *PRESETS),
    )


class AMDIMViews(NamedTuple):
    """Two views of each image, and one location of the deep map of each view.

    Attributes:
        first, second: (N, C, H, W).
        first_locations, second_locations: (N,) int64, numbers of the locations that predict, counted row by row.
    """

    first: Tensor
    second: Tensor
    first_locations: Tensor
    second_locations: Tensor


class EmbeddedView(NamedTuple):
    """Embeddings of one view: of the features (N, U), and of the locations of both maps (N, L, U)."""

    features: Tensor
    deep: Tensor
    shallow: Tensor


class AMDIM(Objective):
    """Predict one view from the other (Bachman 2019).

    Trains the encoder, and a head for each of two local maps. The features of one view predict all locations of both
    maps of the other view, and one random location of the deeper map predicts all locations of that map. Tasks read
    the encoder.
    """

    Config = AMDIMConfig
    recipe = Recipe(
        optimizer="adam",
        learning_rate=2e-4,
        momentum=0.8,
        weight_decay=1e-5,
        schedule="steps",
        milestones=(250 / 300, 280 / 300),
        warmup_epochs=2,
        epochs=300,
        batch_size=200,
    )
    recipe_source = "code, CIFAR-10: 500 steps of warm-up; at epochs 250 and 280 of 300 its rate falls fivefold"

    def __init__(self, encoder: Encoder, data: DataSpec, config: AMDIMConfig) -> None:
        """Choose the maps and add the heads."""
        super().__init__(encoder, data, config)
        self.config = config
        # Digits and characters must not be mirrored; their preset takes the place of every other.
        name = "simclr" if config.augmentation == "amdim" else config.augmentation
        own = config.augmentation == "amdim" and data.views != "glyph"
        self.augmentation = None if own else preset(name, data)
        shapes = map_shapes(encoder, data)
        self.shallow_map, self.deep_map = choose_maps(shapes, config.shallow_map, config.deep_map)
        self.locations = math.prod(shapes[self.deep_map][1:])
        units = config.units or encoder.dim
        self.feature_head = LocationHead(encoder.dim, units) if config.units else None
        self.deep_head = LocationHead(shapes[self.deep_map][0], units)
        self.shallow_head = LocationHead(shapes[self.shallow_map][0], units)

    def make_views(self, batch: Batch, rng: torch.Generator) -> AMDIMViews:
        """Augment each image twice, and draw a location for each view of each image."""
        if self.augmentation is None:
            first, second = view_pair(batch.inputs, rng)
        else:
            first, second = (augment(batch.inputs, rng, self.augmentation) for _ in range(2))
        locations = torch.randint(self.locations, (2, len(first)), generator=rng, device=rng.device)
        return AMDIMViews(first, second, locations[0], locations[1])

    def forward(self, views: AMDIMViews, player: str = "main") -> Loss:
        """Return the sum of three terms, each a mean of both directions, and the penalty of their scores.

        Logged of each term is the information that its loss shows, log(1 + (N - 1) L) - loss, in nats.
        """
        first, second = self._embed_view(views.first), self._embed_view(views.second)
        location_of_first = _rows_at(first.deep, views.first_locations)
        location_of_second = _rows_at(second.deep, views.second_locations)
        terms = {
            "global_to_deep": ((first.features, second.deep), (second.features, first.deep)),
            "global_to_shallow": ((first.features, second.shallow), (second.features, first.shallow)),
            "deep_to_deep": ((location_of_first, second.deep), (location_of_second, first.deep)),
        }
        losses, penalties, parts, ceilings = [], [], {}, {}
        for name, directions in terms.items():
            scores = [location_scores(sources, locations) for sources, locations in directions]
            penalties.append(torch.stack([each.square().mean() for each in scores]).mean())
            parts[name] = torch.stack([location_nce(soft_clip(each, self.config.clip)) for each in scores]).mean()
            ceilings[name] = location_nce_ceiling(len(views.first), scores[0].shape[2])
            losses.append(ceilings[name] - parts[name])
        penalty = self.config.penalty_weight * torch.stack(penalties).sum()
        total = torch.stack(losses).sum() + penalty
        floors = {"global_to_deep": 0.1 * min(1.0, ceilings["global_to_deep"])}  # ours; a collapsed encoder has 0
        return Loss(total, {**parts, "penalty": penalty}, ceilings, floors)

    def _embed_view(self, view: Tensor) -> EmbeddedView:
        """Embed the features and the locations of one view (N, C, H, W), in one pass."""
        features, maps = self.encoder.features_and_maps(view)
        if self.feature_head is not None:
            features = self.feature_head(features[:, None])[:, 0]
        deep = self.deep_head(rows_of(maps[self.deep_map]))
        return EmbeddedView(features, deep, self.shallow_head(rows_of(maps[self.shallow_map])))

    @classmethod
    def skip_reason(cls, data: DataSpec, config: AMDIMConfig) -> str | None:
        """Return "needs images" for data of another kind: locations are those of images."""
        return None if data.is_image else "needs images"


def _rows_at(rows: Tensor, numbers: Tensor) -> Tensor:
    """Return one row of each image: rows (N, L, U) and numbers (N,) int64 give (N, U)."""
    return rows.gather(1, numbers[:, None, None].expand(-1, 1, rows.shape[2]))[:, 0]


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"amdim": AMDIM}
