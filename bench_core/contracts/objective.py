"""Objective: a method, which owns an encoder, makes views of a batch and returns the loss that trains it.

Shapes: N items of a batch, C channels, H x W pixels, L labels, D features. () is a scalar.
"""

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from bench_core.config import Config, NoConfig, param
from bench_core.contracts.dataset import DataSpec
from bench_core.contracts.encoder import Encoder
from bench_core.ranges import log


@dataclass(frozen=True, kw_only=True)
class Recipe(Config):
    """Optimiser, schedule and length of a training run.

    Each method has its own, with its source (`Objective.recipe`). A board or `--set NAME.recipe.X=` changes it.
    """

    optimizer: Literal["sgd", "adam", "adamw", "lars"] = param(
        "adamw", "update rule of the weights", "ours: robust at small size"
    )
    learning_rate: float = param(
        1e-3,
        "peak learning rate; the schedule sets it at each step",
        "ours: usual for AdamW",
        ge=0,
        tune=log(1e-4, 1e-1),
    )
    weight_decay: float = param(
        0.0,
        "decoupled for AdamW, else added to the gradient; biases and norm layers have none",
        "ours",
        ge=0,
        tune=log(1e-6, 1e-1),
    )
    momentum: float = param(0.9, "momentum of SGD and LARS, first beta of Adam and AdamW", "usual", ge=0, lt=1)
    nesterov: bool = param(False, "use Nesterov momentum; SGD only", "usual")
    schedule: Literal["cosine", "constant", "steps", "linear"] = param(
        "cosine", "how the learning rate changes after warm-up, step by step", "usual"
    )
    milestones: tuple[float, ...] = param(
        (0.6, 0.8), "schedule 'steps': fractions of the run after which the rate falls tenfold", "usual", gt=0, lt=1
    )
    warmup_epochs: float = param(
        0.0, "epochs in which the rate rises linearly from 0, step by step", "usual", ge=0, in_epochs=True
    )
    epochs: int = param(100, "passes over the train split", "ours", ge=0)
    batch_size: int = param(256, "items in a step; a last, shorter batch is left out", "ours", ge=1)
    trust: float = param(
        1e-3, "LARS: a step of rate 1 moves a weight by this fraction of its norm", "usual", gt=0, added=True
    )
    trust_cap: bool = param(
        False, "LARS: keep each weight's rate at or below the rate", "usual; solo-learn: on", added=True
    )


@dataclass(frozen=True)
class Variant:
    """A named set of a method's parameters, which users select as `METHOD:VARIANT` (`nac:hashing`).

    Attributes:
        settings: Values of fields of the method's Config by name, and of fields of its Recipe as `recipe.NAME`.
        source: Where the values come from: paper section, README command, or "ours: why".
        help: One line that says what the variant is for.
    """

    settings: Mapping[str, Any]
    source: str
    help: str

    @property
    def config(self) -> dict[str, Any]:
        """Settings of the method's Config, by field name."""
        return {name: value for name, value in self.settings.items() if not name.startswith("recipe.")}

    @property
    def recipe(self) -> dict[str, Any]:
        """Settings of the method's Recipe, by field name."""
        prefix = "recipe."
        return {name.removeprefix(prefix): value for name, value in self.settings.items() if name.startswith(prefix)}


@dataclass(frozen=True)
class Batch:
    """Items of one training step, on the device.

    Attributes:
        inputs: Images as float32 (N, C, H, W) in [0, 1]; for other data whatever the dataset gives.
        index: Positions (N,) int64 of the items in the train split; an item keeps its position in every epoch.
        labels: Labels (N,) int64 or (N, L) bool if the method declares `uses_labels`, else None.
    """

    inputs: Any
    index: Tensor
    labels: Tensor | None = None


@dataclass(frozen=True)
class Loss:
    """Loss of one player on one batch, and what the log says about it.

    Attributes:
        total: Scalar () that the player minimises.
        parts: Named scalars () for the log, which shows their means over an epoch.
        ceilings: Analytic upper bounds of parts, by name. A mean above its bound is logged as a defect.
        floors: Values, by name of a part, below which the method has collapsed. A mean below is logged as a collapse.
        warnings: Sentences for the user of such a run; give the same words at every step. They are printed and kept
            with the results.
    """

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    ceilings: Mapping[str, float] = field(default_factory=dict)
    floors: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters of a player that are trained by another recipe, such as SimSiam's predictor at a constant rate.

    Attributes:
        parameters: A subset of the player's parameters.
        recipe: Fields of Recipe that differ from the player's (optimiser, rate, schedule, decay), by name.
    """

    parameters: Sequence[nn.Parameter]
    recipe: Mapping[str, Any]


@dataclass(frozen=True)
class Player:
    """One side of a game, such as a generator and its critic: its own parameters, optimiser and loss.

    Attributes:
        name: Name of the player, passed to `Objective.forward`; logged losses carry it.
        parameters: Parameters that its optimiser moves. The losses of other players do not reach them.
        steps: Optimiser steps on each batch.
        recipe: Fields of Recipe that differ from the method's recipe (optimiser, rate, decay), by name.
        groups: Groups of its parameters that are trained by another recipe.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    _: KW_ONLY
    steps: int = 1
    recipe: Mapping[str, Any] = field(default_factory=dict)
    groups: Sequence[ParameterGroup] = ()


@dataclass(frozen=True)
class EpochContext:
    """Progress of the training when a hook of an Objective is called, and access to the whole train split.

    Attributes:
        epoch: Number of whole epochs done, from 0.
        num_epochs: Number of epochs of the whole run.
        step: Number of batches done.
        num_steps: Number of batches of the whole run.
        batches: Function that starts one pass over the whole train split, in random order and without leaving any
            item out. `Batch.index` says which items a batch holds.
        rng: Generator of the views, on the device.
    """

    epoch: int
    num_epochs: int
    step: int
    num_steps: int
    batches: Callable[[], Iterator[Batch]]
    rng: torch.Generator


class Objective(nn.Module, abc.ABC):
    """Interface of methods: a method owns its encoder, makes its views and returns its loss.

    The training loop calls the hooks in this order:

        players()
        for each epoch:
            before_epoch(context)
            for each batch:
                before_step(context)
                views = make_views(batch, rng)
                for each player, `player.steps` times: forward(views, player.name), one optimiser step
                after_step()
        after_training(context)

    All state must lie in `state_dict()` (parameters and buffers), because a checkpoint saves nothing else of a method.

    Attributes:
        Config: Dataclass of the parameters; `--set NAME.PARAMETER=` and boards change them.
        revision: Raised when the numbers that the method leads to may change.
        recipe: Recipe that the method is trained with unless a board or `--set NAME.recipe.X=` changes it.
        recipe_source: Where the recipe comes from: paper section, README command, or "ours: why".
        variants: Named sets of parameters, which users select as `METHOD:VARIANT`.
        uses_labels: True if batches must carry labels. Tables mark such a method and do not rank it.
        encoder: The encoder that is trained.
    """

    Config: ClassVar[type] = NoConfig
    revision: ClassVar[int] = 1
    recipe: ClassVar[Recipe] = Recipe()
    recipe_source: ClassVar[str] = "ours: the defaults of Recipe"
    variants: ClassVar[Mapping[str, Variant]] = {}
    uses_labels: ClassVar[bool] = False
    encoder: Encoder

    def __init__(self, encoder: Encoder, data: DataSpec, config: Any) -> None:
        """Build the method on an encoder. Called after the seed is set.

        Args:
            encoder: Freshly initialised encoder; it is trained, embedded and saved together with the method.
            data: The dataset to train on; sets the sizes of views, memory banks and label tables.
            config: An instance of `Config`.
        """
        super().__init__()
        self.encoder = encoder

    @abc.abstractmethod
    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Make from a batch all that `forward` needs: views in any number and size, indices, labels.

        Called once for each batch. The result stays on the device and is passed to `forward` as it is.

        Args:
            batch: Items of this step; must not be changed.
            rng: Generator on the device; all randomness must come from it.
        """

    @abc.abstractmethod
    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return the loss of one player on one batch. Called before each optimiser step of the player.

        Args:
            views: The result of `make_views`.
            player: Name of the player whose loss is needed.
        """

    def players(self) -> list[Player]:
        """Return the players in the order in which they train on each batch. Called once, before training.

        The default is one player that owns all parameters. An empty list means that nothing is trained.
        """
        return [Player("main", list(self.parameters()))]

    def before_epoch(self, context: EpochContext) -> Mapping[str, float]:
        """Run before each epoch, for work that passes over all data, such as labels by clustering.

        Returns:
            Named numbers, written to the epoch's line of the log.
        """
        return {}

    def before_step(self, context: EpochContext) -> Mapping[str, float]:
        """Run before the views of each batch are made, for schedules and for relabelling within an epoch.

        Returns:
            Named numbers, written to the epoch's line of the log; the last value of a name is kept.
        """
        return {}

    def after_step(self) -> None:
        """Run after all players have trained on a batch, for momentum encoders, queues and prototypes."""

    def after_training(self, context: EpochContext) -> Mapping[str, float]:
        """Run once after the last step, for statistics that need the final weights and full passes over the data.

        Returns:
            Named numbers, written to a last line of the log.
        """
        return {}

    def embed(self, inputs: Any) -> dict[str, Tensor]:
        """Return the embeddings of a batch, by name. Called in eval mode for all splits after training.

        The embeddings are saved, and every task reads them from there.

        Args:
            inputs: Inputs as in `Batch.inputs`, not augmented.

        Returns:
            Name -> (N, D). `features` must be there; a method with a binary code adds `code` as bool or uint8 bits.
        """
        return {"features": self.encoder(inputs)}

    @classmethod
    def skip_reason(cls, data: DataSpec, config: Any) -> str | None:
        """Return the reason why this method cannot learn from this dataset, or None if it can.

        Called while a run is planned. Such a method is not trained; the table shows the reason instead.
        """
        return None
