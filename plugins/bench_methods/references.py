"""References that every table needs: raw pixels, an untrained encoder, one trained elsewhere, and one with labels.

`pixels` and `random` show which scores a task gives without any learning. `frozen` measures weights that were trained
elsewhere. `supervised` minimises cross-entropy on the labels of the train split; tables mark it as trained on labels.
All of them read images, vectors, nodes, graphs and pairs.

Source: ours; no paper. The recipe of `supervised` is the field's usual one for ResNets on CIFAR
        (https://github.com/kuangliu/pytorch-cifar).
Shapes: N items, C channels, H x W pixels, F features of a node, D features, K classes.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, Config, DataSpec, Encoder, Loss, NoConfig, Objective, Player, Recipe, hookimpl, param
from bench_core.data import Graphs, Nodes, Pair
from bench_core.views import PRESET_NAMES, augment, preset

_KINDS = ("image", "vector", "other", "nodes", "graphs", "pairs")  # kinds of data whose raw values are read


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


class FrozenEncoder(Objective):
    """An encoder as it came; nothing is trained (ours).

    Measures weights that were trained elsewhere: those that the encoder brings with it (`timm`, `huggingface`, ...), or
    those of `frozen.init`. Tables name the row after them.
    """

    recipe = Recipe(epochs=0)
    recipe_source = "ours: nothing is trained"
    measures_outside_weights = True

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
    """Encoder that returns the raw values of each input as one row; it has no parameters."""

    def __init__(self, data: DataSpec, config: NoConfig) -> None:
        """Set `dim` to the number of raw values of an input."""
        super().__init__(data, config)
        self.dim = _num_values(data)

    def forward(self, inputs: Any) -> Tensor:
        """Return raw values (N, D).

        Args:
            inputs: A tensor, which is flattened to (N, C * H * W); Nodes, of which each item keeps its own features;
                Graphs, of which each is the sum of the features of its nodes; or a Pair, whose sides lie side by side.
        """
        if isinstance(inputs, Nodes):
            return inputs.features[inputs.index]
        if isinstance(inputs, Graphs):
            sums = inputs.features.new_zeros(len(inputs), inputs.features.shape[1])
            return sums.index_add(0, inputs.graph, inputs.features)
        if isinstance(inputs, Pair):
            return torch.cat([self(inputs.first), self(inputs.second)], 1)
        values: Tensor = inputs.flatten(1)
        return values

    def maps(self, inputs: Any) -> dict[str, Tensor]:
        """Return no maps."""
        return {}


def _num_values(data: DataSpec) -> int:
    """Return the number of values that `Flat` makes of one input."""
    if data.modalities:
        return sum(_num_values(modality) for modality in data.modalities.values())
    return math.prod(data.shape)


class Pixels(Objective):
    """Raw pixels as features; nothing is trained (ours).

    Features are the flattened inputs: the pixels of an image, the values of a vector, the features of a node, the
    summed features of a graph's nodes, or both sides of a pair. The given encoder is not used.
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

    @classmethod
    def skip_reason(cls, data: DataSpec, config: NoConfig) -> str | None:
        """Return a reason for kinds of data whose raw values are not known here."""
        parts = [data, *(data.modalities or {}).values()]
        unknown = [part.kind for part in parts if part.kind not in _KINDS]
        return f"cannot read raw values of {unknown[0]!r} data" if unknown else None


@dataclass(frozen=True, kw_only=True)
class SupervisedConfig(Config):
    """Parameters of supervised training, with the views of the other methods, so that only the loss differs."""

    augmentation: str = param(
        "simclr", "preset of the views", "ours: the views of the methods beside it", choices=PRESET_NAMES
    )


class LabelledViews(NamedTuple):
    """Views of N items, images (N, C, H, W) or what the dataset gives, and their classes (N,)."""

    inputs: Any
    labels: Tensor


class Supervised(Objective):
    """Cross-entropy on labels, the reference (ours).

    Trains the encoder and a linear head on the labels of the train split, on augmented images, or on inputs of another
    kind as they are. Tasks read the encoder.
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
        self.augmentation = preset(config.augmentation, data) if data.is_image else None
        self.head = nn.Linear(encoder.dim, data.num_classes)

    def make_views(self, batch: Batch, rng: torch.Generator) -> LabelledViews:
        """Augment each image once, views (N, C, H, W), and add the labels; other inputs stay as they are."""
        assert batch.labels is not None, "uses_labels asks for them"
        inputs = batch.inputs if self.augmentation is None else augment(batch.inputs, rng, self.augmentation)
        return LabelledViews(inputs, batch.labels)

    def forward(self, views: LabelledViews, player: str = "main") -> Loss:
        """Return the cross-entropy in nats, with the accuracy on the training views."""
        logits = self.logits(self.encoder(views.inputs))  # (N, K)
        accuracy = (logits.argmax(1) == views.labels).float().mean()
        return Loss(F.cross_entropy(logits, views.labels), {"accuracy": accuracy})

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (N, K) of features (N, D), from which a student can learn."""
        logits: Tensor = self.head(features)
        return logits

    @classmethod
    def skip_reason(cls, data: DataSpec, config: SupervisedConfig) -> str | None:
        """Return a reason for data without one class for each item, or whose tested items are those of train."""
        if data.num_classes is None:
            return "needs one class for each item"
        if data.transductive and "test" not in data.splits:
            return "learns from labels, so it needs a test split; a fold of the data has one"
        return None


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"random": Random, "frozen": FrozenEncoder, "pixels": Pixels, "supervised": Supervised}
