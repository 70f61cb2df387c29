"""Stacked denoising autoencoder: each layer learns to rebuild its clean inputs from corrupted ones, bottom to top.

Paper: Vincent, Larochelle, Lajoie, Bengio, Manzagol, JMLR 11, 2010, https://jmlr.org/papers/v11/vincent10a.html
Code:  lisa-lab/DeepLearningTutorials@0440226, code/dA.py: one layer, with masking, sigmoid units and tied weights
Note:  Adam instead of plain SGD. The activation is the encoder's: the paper's is `mlp` with sigmoid units and without
       standardised inputs. The error follows from the range of a layer's inputs: cross-entropy in [0, 1], else squared.
       Labels have no part here; the paper's fine-tuning with labels is task `finetune`.

Shapes: N items, D inputs of a layer.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bench_core import (
    Batch,
    Config,
    DataSpec,
    Encoder,
    EpochContext,
    Loss,
    Objective,
    Recipe,
    Stage,
    choice,
    hookimpl,
    param,
)
from bench_core.errors import ConfigError

from .corruption import corrupt
from .layers import layer_inputs, layer_of, layer_stages, make_decoders, number_of, stack_skip_reason

_RECIPE = Recipe(optimizer="adam", learning_rate=1e-3, epochs=100, batch_size=128)
_RECIPE_SOURCE = "ours: as `autoencoder`; the epochs are divided among the layers"


@dataclass(frozen=True, kw_only=True)
class StackedAutoencoderConfig(Config):
    """Parameters of the stacked autoencoder."""

    tied: bool = param(True, "decode with the transposed weights of the layer instead of others", "code: dA.py")


@dataclass(frozen=True, kw_only=True)
class SDAEConfig(Config):
    """Parameters of the stacked denoising autoencoder."""

    corruption: Literal["masking", "gaussian", "salt_pepper"] = param(
        "masking",
        "set some inputs of a layer to 0, add normal noise, or set some to the least or largest value",
        "code: dA.py, which has masking alone; the paper has all three",
    )
    levels: tuple[float, ...] = param(
        (0.3,),
        "chance that an input is set, or deviation of the noise; one for all layers, or one each, shallow to deep",
        "code: dA.py, its run with corruption",
        ge=0,
        tune=choice((0.1,), (0.2,), (0.3,), (0.4,), (0.5,)),
    )
    tied: bool = param(True, "decode with the transposed weights of the layer instead of others", "code: dA.py")

    def __post_init__(self) -> None:
        """Check that there is a level, and that a chance is one."""
        super().__post_init__()
        if not self.levels:
            raise ValueError("levels must have at least one number, got none")
        if self.corruption != "gaussian" and max(self.levels) > 1:
            raise ValueError(f"levels of {self.corruption} must each be a chance <= 1, got {self.levels}")


class SDAE(Objective):
    """Rebuild the inputs of each layer (Vincent 2010).

    Trains one layer of the encoder in each stage, with a decoder of its own; the layers below it stay as they are.
    Tasks read `features`, the outputs of the last layer for clean inputs.
    """

    Config = SDAEConfig
    recipe = _RECIPE
    recipe_source = _RECIPE_SOURCE

    def __init__(self, encoder: Encoder, data: DataSpec, config: SDAEConfig) -> None:
        """Add a decoder for each layer.

        Raises:
            ConfigError: There are several levels, but not as many as layers.
        """
        super().__init__(encoder, data, config)
        self.corruption = config.corruption
        self.decoders = make_decoders(encoder, data, config.tied)
        if len(config.levels) not in (1, len(self.decoders)):
            raise ConfigError(
                f"sdae.levels has {len(config.levels)} numbers and the encoder {len(self.decoders)} layers; give one "
                "number for all layers, or one for each"
            )
        self.levels = config.levels if len(config.levels) > 1 else config.levels * len(self.decoders)
        self.number = 0  # of the layer in training, counted from 0

    def stages(self) -> list[Stage]:
        """Return one stage for each layer."""
        return layer_stages(self.encoder, self.decoders)

    def begin_stage(self, context: EpochContext) -> None:
        """Train the layer of this stage from now on."""
        self.number = number_of(context)

    def make_views(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the corrupted and the clean inputs of the layer in training, (N, D) each."""
        clean = layer_inputs(self.encoder, batch.inputs, self.number)
        bounded = bool(self.decoders[self.number].bounded)
        return corrupt(clean, self.corruption, self.levels[self.number], bounded, rng), clean

    def forward(self, views: tuple[Tensor, Tensor], player: str = "main") -> Loss:
        """Return the error between the clean inputs and those that are rebuilt from corrupted ones."""
        loss: Loss = self.decoders[self.number](layer_of(self.encoder, self.number), *views)
        return loss

    @classmethod
    def skip_reason(
        cls, data: DataSpec, config: SDAEConfig, *, encoder_class: type[Encoder] | None = None
    ) -> str | None:
        """Return a reason unless the encoder is a stack of layers."""
        return stack_skip_reason(encoder_class) if encoder_class else None


class StackedAutoencoder(Objective):
    """Rebuild inputs, layer by layer (Bengio 2006).

    The same as `sdae` without corruption, as its control. Trains one layer of the encoder in each stage, with a decoder
    of its own. Tasks read `features`, the outputs of the last layer.
    """

    Config = StackedAutoencoderConfig
    recipe = _RECIPE
    recipe_source = _RECIPE_SOURCE

    def __init__(self, encoder: Encoder, data: DataSpec, config: StackedAutoencoderConfig) -> None:
        """Add a decoder for each layer."""
        super().__init__(encoder, data, config)
        self.decoders = make_decoders(encoder, data, config.tied)
        self.number = 0  # of the layer in training, counted from 0

    def stages(self) -> list[Stage]:
        """Return one stage for each layer."""
        return layer_stages(self.encoder, self.decoders)

    def begin_stage(self, context: EpochContext) -> None:
        """Train the layer of this stage from now on."""
        self.number = number_of(context)

    def make_views(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Return the inputs (N, D) of the layer in training."""
        return layer_inputs(self.encoder, batch.inputs, self.number)

    def forward(self, views: Tensor, player: str = "main") -> Loss:
        """Return the error between the inputs and those that are rebuilt from them."""
        loss: Loss = self.decoders[self.number](layer_of(self.encoder, self.number), views, views)
        return loss

    @classmethod
    def skip_reason(
        cls, data: DataSpec, config: StackedAutoencoderConfig, *, encoder_class: type[Encoder] | None = None
    ) -> str | None:
        """Return a reason unless the encoder is a stack of layers."""
        return stack_skip_reason(encoder_class) if encoder_class else None


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"sdae": SDAE, "stacked_autoencoder": StackedAutoencoder}
