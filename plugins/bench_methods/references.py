"""References that every table needs: no encoder, an untrained one, and one that saw the labels.

`pixels` and `random` say what a task gives away without learning; `supervised` is cross-entropy on the labels of the
train split and is shown as such.

Source: ours; no paper. The recipe of `supervised` is the field's usual one for ResNets on CIFAR
        (https://github.com/kuangliu/pytorch-cifar).
Shapes: N images, C channels, H x W pixels, D features, K classes.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Encoder, Loss, NoConfig, Objective, Player, Recipe, hookimpl, param
from bench_core.views import augment, check_preset, preset


class Random(Objective):
    """The encoder as it was initialised."""

    recipe = Recipe(epochs=0)
    recipe_source = "ours: nothing is trained"

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """The inputs as they are."""
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Zero: there is nothing to minimise."""
        return Loss(torch.zeros(()))

    def players(self) -> list[Player]:
        """Nobody."""
        return []


class Flat(Encoder):
    """The inputs themselves, as one row each; no parameters."""

    def __init__(self, data: DataSpec, config: NoConfig) -> None:
        """Any shape."""
        super().__init__(data, config)
        self.dim = math.prod(data.shape)

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C * H * W), in [0, 1]."""
        return inputs.flatten(1)

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """None."""
        return {}


class Pixels(Objective):
    """The inputs themselves, flattened; the encoder is not asked."""

    recipe = Recipe(epochs=0)
    recipe_source = "ours: nothing is trained"

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoConfig) -> None:
        """Leave the encoder aside."""
        super().__init__(Flat(data, config), data, config)

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """The inputs as they are."""
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Zero: there is nothing to minimise."""
        return Loss(torch.zeros(()))

    def players(self) -> list[Player]:
        """Nobody."""
        return []


@dataclass(frozen=True, kw_only=True)
class SupervisedConfig:
    """Views as the methods have them, so that only the objective differs."""

    augmentation: str = param("simclr", "preset of the views", "ours: the views of the methods beside it")

    def __post_init__(self) -> None:
        """Check the name."""
        check_preset(self.augmentation)


class LabelledViews(NamedTuple):
    """Images (N, C, H, W) and their classes (N,)."""

    images: Tensor
    labels: Tensor


class Supervised(Objective):
    """The encoder with a linear head, trained on the labels."""

    Config = SupervisedConfig
    uses_labels = True
    recipe = Recipe(optimizer="sgd", learning_rate=0.1, weight_decay=5e-4, epochs=200, batch_size=128)
    recipe_source = "the field's usual one for ResNets on CIFAR"

    def __init__(self, encoder: Encoder, data: DataSpec, config: SupervisedConfig) -> None:
        """Add the linear head."""
        super().__init__(encoder, data, config)
        if data.num_classes is None:
            raise ValueError("supervised needs classes, the data has none; see skip_reason")
        self.augmentation = preset(config.augmentation, data)
        self.head = nn.Linear(encoder.dim, data.num_classes)

    def make_views(self, batch: Batch, rng: torch.Generator) -> LabelledViews:
        """One view of each image (N, C, H, W), with its label."""
        assert batch.labels is not None, "uses_labels asks for them"
        return LabelledViews(augment(batch.inputs, rng, self.augmentation), batch.labels)

    def forward(self, views: LabelledViews, player: str = "main") -> Loss:
        """Cross-entropy in nats, with the accuracy on the training views."""
        logits = self.head(self.encoder(views.images))  # (N, K)
        accuracy = (logits.argmax(1) == views.labels).float().mean()
        return Loss(F.cross_entropy(logits, views.labels), {"accuracy": accuracy})

    @classmethod
    def skip_reason(cls, data: DataSpec, config: SupervisedConfig) -> str | None:
        """Views are augmented images, and each has one class."""
        if not data.is_image:
            return "needs images"
        return None if data.num_classes is not None else "needs one class for each image"


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"random": Random, "pixels": Pixels, "supervised": Supervised}
