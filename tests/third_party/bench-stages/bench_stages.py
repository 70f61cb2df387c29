"""A method in two stages: a decoder learns what the untrained encoder says, then both learn together (ours).

Shapes: N vectors or images of D values.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import (
    Batch,
    DataSpec,
    Encoder,
    EpochContext,
    Loss,
    NoConfig,
    Objective,
    Player,
    Recipe,
    Stage,
    hookimpl,
)


class Thaw(Objective):
    """Rebuild the input, the encoder last (ours)."""

    recipe = Recipe(epochs=4, batch_size=64)
    recipe_source = "ours: short, for tests"
    keeps = "least_loss"

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoConfig) -> None:
        """Add a decoder of one linear layer."""
        super().__init__(encoder, data, config)
        self.decoder = nn.Linear(encoder.dim, math.prod(data.shape))

    def stages(self) -> list[Stage]:
        """Return a stage of the decoder alone, for a quarter of the epochs, and one of both at a smaller rate."""
        alone = Player("decoder", list(self.decoder.parameters()))
        both = Player("both", list(self.parameters()))
        return [
            Stage(name="decoder", players=[alone], share=1, recipe={"schedule": "constant"}),
            Stage(name="all", players=[both], share=3, recipe={"learning_rate": 3e-4}),
        ]

    def begin_stage(self, context: EpochContext) -> None:
        """Compute no gradient of the encoder where it is not trained."""
        self.encoder.requires_grad_(context.stage == "all")

    def make_views(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Return the inputs unchanged."""
        inputs: Tensor = batch.inputs
        return inputs

    def forward(self, views: Tensor, player: str = "main") -> Loss:
        """Return the squared error of a value, for either player."""
        return Loss(F.mse_loss(self.decoder(self.encoder(views)), views.flatten(1)))

    @classmethod
    def skip_reason(cls, data: DataSpec, config: NoConfig) -> str | None:
        """Skip all but images and vectors."""
        return None if data.kind in ("image", "vector") else "needs images or vectors"


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"thaw": Thaw}
