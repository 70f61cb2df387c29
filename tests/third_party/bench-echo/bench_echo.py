"""Echo: features from which the image can be read back by a linear map; and how large features are.

Paper: Hinton, Salakhutdinov, Science 2006, https://doi.org/10.1126/science.1127647 (one layer back)

Shapes: N images, C channels, H x W pixels, D features.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import (
    Batch,
    DataSpec,
    Encoder,
    Evaluation,
    Evaluator,
    Frozen,
    Loss,
    NoConfig,
    Objective,
    Recipe,
    Score,
    hookimpl,
    param,
)


@dataclass(frozen=True, kw_only=True)
class EchoConfig:
    """One number."""

    noise: float = param(0.1, "standard deviation of what is added to the input, >= 0", "ours: a little")


class Echo(Objective):
    """The encoder under study, and a linear map back to the pixels."""

    Config = EchoConfig
    recipe = Recipe(learning_rate=1e-3, epochs=10)

    def __init__(self, encoder: Encoder, data: DataSpec, config: EchoConfig) -> None:
        super().__init__(encoder, data, config)
        self.noise = config.noise
        self.back = nn.Linear(encoder.dim, int(torch.tensor(data.shape).prod()))

    def make_views(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """A noisy image and the image, both (N, C, H, W)."""
        noise = torch.randn(batch.inputs.shape, generator=rng, device=batch.inputs.device)
        return batch.inputs + self.noise * noise, batch.inputs

    def forward(self, views: tuple[Tensor, Tensor], player: str = "main") -> Loss:
        """Mean squared error of a pixel, ()."""
        noisy, clean = views
        return Loss(F.mse_loss(self.back(self.encoder(noisy)), clean.flatten(1)))


class FeatureNorm(Evaluator):
    """Mean Euclidean length of the test features (ours)."""

    Config = NoConfig

    def __init__(self, config: NoConfig) -> None:
        """Nothing to keep."""

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """One score."""
        features = frozen.splits["test"].embeddings["features"]
        score = Score(metric="norm", value=float(features.norm(dim=1).mean()), unit="length", n=len(features))
        return Evaluation(scores=[score], protocol="test split, Euclidean length, mean over items")


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"echo": Echo}


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"feature_norm": FeatureNorm}
