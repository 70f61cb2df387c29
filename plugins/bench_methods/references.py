"""References that every table needs: raw pixels, an untrained encoder, and one trained on labels.

`pixels` and `random` show which scores a task gives without any learning. `supervised` minimises cross-entropy on the
labels of the train split; tables mark it as trained on labels.

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

from bench_core import Batch, Config, DataSpec, Encoder, Loss, NoConfig, Objective, Player, Recipe, hookimpl, param
from bench_core.views import PRESETS, augment, preset


class Random(Objective):
    """Untrained encoder, the floor of a table (ours).

    Leaves the encoder as it was initialised.
    """

    recipe = Recipe(epochs=0)
    recipe_source = "ours: nothing is trained"

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Return the inputs unchanged."""
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return a loss of 0: nothing is trained."""
        return Loss(torch.zeros(()))

    def players(self) -> list[Player]:
        """Return no players: nothing is trained."""
        return []


class Flat(Encoder):
    """Encoder that returns each input as one row; it has no parameters."""

    def __init__(self, data: DataSpec, config: NoConfig) -> None:
        """Set `dim` to the number of values in an input of any shape."""
        super().__init__(data, config)
        self.dim = math.prod(data.shape)

    def forward(self, inputs: Tensor) -> Tensor:
        """Flatten (N, C, H, W) in [0, 1] to (N, C * H * W)."""
        return inputs.flatten(1)

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return no maps."""
        return {}


class Pixels(Objective):
    """Raw pixels as features; nothing is trained (ours).

    Features are the flattened inputs. The given encoder is not used.
    """

    recipe = Recipe(epochs=0)
    recipe_source = "ours: nothing is trained"

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoConfig) -> None:
        """Replace the given encoder by one that flattens its inputs."""
        super().__init__(Flat(data, config), data, config)

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Return the inputs unchanged."""
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return a loss of 0: nothing is trained."""
        return Loss(torch.zeros(()))

    def players(self) -> list[Player]:
        """Return no players: nothing is trained."""
        return []


@dataclass(frozen=True, kw_only=True)
class SupervisedConfig(Config):
    """Parameters of supervised training, with the views of the other methods, so that only the loss differs."""

    augmentation: str = param(
        "simclr", "preset of the views", "ours: the views of the methods beside it", choices=tuple(PRESETS)
    )


class LabelledViews(NamedTuple):
    """Images (N, C, H, W) and their classes (N,)."""

    images: Tensor
    labels: Tensor


class Supervised(Objective):
    """Cross-entropy on labels, the reference (ours).

    Trains the encoder and a linear head on the labels of the train split. Tasks read the encoder.
    """

    Config = SupervisedConfig
    uses_labels = True
    recipe = Recipe(optimizer="sgd", learning_rate=0.1, weight_decay=5e-4, epochs=200, batch_size=128)
    recipe_source = "ours: usual for ResNets on CIFAR (github.com/kuangliu/pytorch-cifar)"

    def __init__(self, encoder: Encoder, data: DataSpec, config: SupervisedConfig) -> None:
        """Add the linear head."""
        super().__init__(encoder, data, config)
        if data.num_classes is None:
            raise ValueError("supervised needs classes, the data has none; see skip_reason")
        self.augmentation = preset(config.augmentation, data)
        self.head = nn.Linear(encoder.dim, data.num_classes)

    def make_views(self, batch: Batch, rng: torch.Generator) -> LabelledViews:
        """Augment each image once: views (N, C, H, W) with their labels."""
        assert batch.labels is not None, "uses_labels asks for them"
        return LabelledViews(augment(batch.inputs, rng, self.augmentation), batch.labels)

    def forward(self, views: LabelledViews, player: str = "main") -> Loss:
        """Return the cross-entropy in nats, with the accuracy on the training views."""
        logits = self.head(self.encoder(views.images))  # (N, K)
        accuracy = (logits.argmax(1) == views.labels).float().mean()
        return Loss(F.cross_entropy(logits, views.labels), {"accuracy": accuracy})

    @classmethod
    def skip_reason(cls, data: DataSpec, config: SupervisedConfig) -> str | None:
        """Return a reason unless the data are images with one class each."""
        if not data.is_image:
            return "needs images"
        return None if data.num_classes is not None else "needs one class for each image"


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"random": Random, "pixels": Pixels, "supervised": Supervised}
