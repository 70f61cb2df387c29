"""An encoder's local maps reach the loss of a method."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from bench_core import Batch, Loss, Objective, Recipe


class LocalContrast(Objective):
    """Scores an image's mean feature against the local features of all images, as DIM(L)."""

    recipe = Recipe(optimizer="sgd", learning_rate=0.05, epochs=2, batch_size=16)

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Return the images."""
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return the cross-entropy of finding, for each location, the summary of the same image."""
        maps = self.encoder.maps(views)["second"].flatten(2)  # (N, D, h*w)
        scores = torch.einsum("nd,mdl->nml", maps.mean(2), maps)
        target = torch.arange(len(views)).unsqueeze(1).expand(-1, maps.shape[2])
        return Loss(F.cross_entropy(scores.transpose(0, 1), target))


def test_method_trains_on_local_maps(
    plan_of: Callable[..., Any], add: Callable[[str, str, type], None], train: Callable[..., Any]
) -> None:
    add("objective", "local_contrast", LocalContrast)
    trained = train(plan_of(methods=["local_contrast"]))
    assert trained.log[-1]["loss"] > 0
