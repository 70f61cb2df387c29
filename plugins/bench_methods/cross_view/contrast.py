"""Parameters, embeddings and the contrast of two views, which `cmc` and `coconet` share.

Shapes: N images, D features of a view, P coordinates of an embedding.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Config, DataSpec, Encoder, log, param
from bench_core.nn.mutual_information import info_nce
from bench_core.views import PRESET_NAMES

from .views import VIEWS, views_skip_reason


@dataclass(frozen=True, kw_only=True)
class CrossViewConfig(Config):
    """Parameters of views, embeddings and contrast."""

    views: str = param(
        "l_ab",
        "views of an image by their channels: l_ab is its lightness, and both of its colours",
        "code, train_CMC.py",
        choices=tuple(VIEWS),
    )
    output_dim: int = param(128, "length of the embedding of a view, in coordinates", "code: feat_dim", ge=1)
    temperature: float = param(
        0.07,
        "divides the cosine similarities; lower values weigh the most similar negatives more",
        "code: nce_t; CMC's README has .1 for STL-10",
        gt=0,
        tune=log(0.03, 1.0),
    )
    augmentation: str = param(
        "crop_flip", "preset of the image, before it is split into views", "code, train_CMC.py", choices=PRESET_NAMES
    )


class Embeddings(nn.Module):
    """A linear head for each view, and unit length: features (N, D) -> embedding (N, P)."""

    def __init__(self, dims: Mapping[str, int], output_dim: int) -> None:
        """Build the heads.

        Args:
            dims: Name of a view -> D.
            output_dim: P.
        """
        super().__init__()
        self.heads = nn.ModuleDict({name: nn.Linear(dim, output_dim) for name, dim in dims.items()})

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the embedding (N, P) of each view, by its name."""
        return {name: unit(self.heads[name](of_view)) for name, of_view in features.items()}


def unit(rows: Tensor) -> Tensor:
    """Return rows (N, P) in float32, each divided by its length."""
    return F.normalize(rows.float(), dim=1)


def contrast(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return the cross-entropy of finding an image's other view among those of the batch, mean of both directions.

    Args:
        first: (N, P) embeddings of unit length; N >= 2.
        second: (N, P) embeddings of another view of the same images, row by row.
        temperature: Divides the products, > 0.

    Returns:
        () in nats; log N where all products are equal.
    """
    with torch.autocast(first.device.type, enabled=False):  # bf16 products would round the similarities
        scores = first @ second.mT / temperature  # (N, N)
        return math.log(len(scores)) - (info_nce(scores) + info_nce(scores.mT)) / 2


def cross_view_skip_reason(
    data: DataSpec, config: CrossViewConfig, encoder_class: type[Encoder] | None, encoder_config: Any
) -> str | None:
    """Return why the images cannot be split into views, or why an encoder cannot read one of the views, or None."""
    if reason := views_skip_reason(data):
        return reason
    if encoder_class is None:
        return None
    for name, spec in VIEWS[config.views].specs(data).items():
        if reason := encoder_class.skip_reason(spec, encoder_config):
            return f"view {name}: the encoder {reason}"
    return None
