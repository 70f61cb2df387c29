"""Echo, a method that reconstructs the image from its features by a linear map, and a task that measures features.

Paper: Hinton, Salakhutdinov, Science 2006, https://doi.org/10.1126/science.1127647 (one layer back)

Shapes: N images, C channels, H x W pixels, D features.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import (
    Batch,
    Config,
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
class EchoConfig(Config):
    """Parameters of Echo."""

    noise: float = param(0.1, "standard deviation of the noise that is added to the input", "ours: a little", ge=0)


class Echo(Objective):
    """Trains the encoder together with a linear map from features back to the pixels."""

    Config = EchoConfig
    recipe = Recipe(learning_rate=1e-3, epochs=10)
    recipe_source = "ours: short, for tests"

    def __init__(self, encoder: Encoder, data: DataSpec, config: EchoConfig) -> None:
        super().__init__(encoder, data, config)
        self.noise = config.noise
        self.back = nn.Linear(encoder.dim, int(torch.tensor(data.shape).prod()))

    def make_views(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return noisy images and the images, both (N, C, H, W)."""
        noise = torch.randn(batch.inputs.shape, generator=rng, device=batch.inputs.device)
        return batch.inputs + self.noise * noise, batch.inputs

    def forward(self, views: tuple[Tensor, Tensor], player: str = "main") -> Loss:
        """Return the mean squared error of a pixel, ()."""
        noisy, clean = views
        return Loss(F.mse_loss(self.back(self.encoder(noisy)), clean.flatten(1)))


class FeatureNorm(Evaluator):
    """Mean Euclidean length of the test features (ours)."""

    Config = NoConfig

    def __init__(self, config: NoConfig) -> None:
        """Keep nothing: there are no parameters."""

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Measure the mean length."""
        features = frozen.splits["test"].embeddings["features"]
        score = Score(metric="norm", value=float(features.norm(dim=1).mean()), unit="length", n=len(features))
        return Evaluation(scores=[score], protocol="test split, Euclidean length, mean over items")


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"echo": Echo}


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"feature_norm": FeatureNorm}
