"""A method with a teacher: features shall tell those of another method that was trained before (ours).

Shapes: N items, D features of the teacher.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Encoder, Loss, NoConfig, Objective, Recipe, hookimpl
from bench_core.nn.unsaved import Unsaved


class Views(NamedTuple):
    """Images (N, C, H, W), and the teacher's features of them (N, D)."""

    images: Tensor
    features: Tensor


class Imitate(Objective):
    """Tell the features of a teacher (ours)."""

    recipe = Recipe(epochs=2, batch_size=64)
    recipe_source = "ours: short, for tests"

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoConfig, *, teacher: Objective) -> None:
        """Add a linear layer; the teacher is not saved with the method."""
        super().__init__(encoder, data, config)
        self.teacher = Unsaved(teacher)
        self.head = nn.Linear(encoder.dim, teacher.encoder.dim)

    def make_views(self, batch: Batch, rng: torch.Generator) -> Views:
        """Ask the teacher, without a gradient."""
        with torch.no_grad():
            return Views(batch.inputs, self.teacher.module.embed(batch.inputs)["features"])

    def forward(self, views: Views, player: str = "main") -> Loss:
        """Return the squared error of a feature."""
        return Loss(F.mse_loss(self.head(self.encoder(views.images)), views.features))

    @classmethod
    def skip_reason(cls, data: DataSpec, config: NoConfig, *, encoder_class: type[Encoder] | None = None) -> str | None:
        """Skip all but images, and an encoder that reads other kinds of data only."""
        if not data.is_image:
            return "needs images"
        kinds = encoder_class.kinds if encoder_class else None
        return None if kinds is None or "image" in kinds else "needs an encoder of images"


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"imitate": Imitate}
