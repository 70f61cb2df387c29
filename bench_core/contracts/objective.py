"""Objective: a method, which owns an encoder, makes views of a batch and returns the loss that trains it.

Shapes: N items of a batch, C channels, H x W pixels, L labels, F factors, D features. () is a scalar.
"""

import abc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from bench_core.config import NoConfig
from bench_core.contracts.dataset import DataSpec
from bench_core.contracts.encoder import Encoder
from bench_core.contracts.players import Loss, Player, Stage
from bench_core.contracts.recipe import Recipe, Variant


@dataclass(frozen=True)
class Batch:
    """Items of one training step, on the device.

    Attributes:
        inputs: Images as float32 (N, C, H, W) in [0, 1]; for other data whatever the dataset gives: a tensor, Nodes,
            Graphs, Pair. Of nodes a batch holds the whole graph, and all nodes of the train split as its items.
        index: Positions (N,) int64 of the items in the train split; an item keeps its position in every epoch.
        labels: Labels (N,) int64 or (N, L) bool if the method declares `uses_labels`, else None.
        factors: Ground-truth factors (N, F) int64 if the method declares `uses_factors`, else None; -1 is unknown.
    """

    inputs: Any
    index: Tensor
    labels: Tensor | None = None
    factors: Tensor | None = None


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
        stage: Name of the stage of the training (`Objective.stages`).
    """

    epoch: int
    num_epochs: int
    step: int
    num_steps: int
    batches: Callable[[], Iterator[Batch]]
    rng: torch.Generator
    stage: str = "main"


class Objective(nn.Module, abc.ABC):
    """Interface of methods: a method owns its encoder, makes its views and returns its loss.

    The training loop calls the hooks in this order:

        stages(), which by default asks players()
        for each stage:
            begin_stage(context)
            for each epoch:
                before_epoch(context)
                for each batch:
                    before_step(context)
                    views = make_views(batch, rng)
                    for each player, `player.steps` times: forward(views, player.name), one optimiser step
                    after_step()
        after_training(context)

    All state must lie in `state_dict()` (parameters and buffers), because a checkpoint saves nothing else of a method.

    A method can ask for more by naming it, as a keyword, in the signature of its function:

    - `__init__(..., teacher)`: the trained Objective of the row or chain that `NAME.teacher` names, frozen and in eval
      mode. Without a default the method needs a teacher, and a row without one is skipped; `teacher=None` may do
      without. It is not saved with the method: keep it out of `state_dict()`.
    - `__init__(..., new_encoder)`: a function that takes a DataSpec and returns a fresh encoder of the same class and
      parameters, for other channels, or for a second encoder.
    - `skip_reason(..., encoder_class, encoder_config, teacher_class)`: the class and parameters of the encoder of the
      row, and the class of its teacher; None for a teacher that is an encoder alone, and without a teacher.

    `bench check` tries a method on made data of each kind for which its `skip_reason` gives no reason, with a small
    encoder of that kind, or with a registered one where `skip_reason` refuses the small one. A method without a
    `skip_reason` of its own is tried on images. A class method `example()` that returns an `Example` gives other data.

    Attributes:
        Config: Dataclass of the parameters; `--set NAME.PARAMETER=` and boards change them.
        revision: Raised when the numbers that the method leads to may change.
        recipe: Recipe that the method is trained with unless a board or `--set NAME.recipe.X=` changes it.
        recipe_source: Where the recipe comes from: paper section, README command, or "ours: why".
        variants: Named sets of parameters, which users select as `METHOD:VARIANT`.
        uses_labels: True if batches must carry labels. Tables mark such a method and do not rank it.
        uses_factors: True if batches must carry ground-truth factors. Tables mark such a method and do not rank it.
        keeps: Which weights the training ends with: those of the last step ("last"), or those that gave the least
            training loss of an epoch ("least_loss"). Labels and other splits have no say in it.
        patience: With "least_loss", number of epochs without a lesser loss after which the training ends; None trains
            all epochs. `__init__` may set it from the config.
        measures_outside_weights: True if nothing is trained and the encoder is measured with the weights that it brings
            (`Encoder.outside_weights`, or `NAME.init`). Such a row is named after these weights, and one network has
            no interval over seeds.
        encoder: The encoder that is trained.
    """

    Config: ClassVar[type] = NoConfig
    revision: ClassVar[int] = 1
    recipe: ClassVar[Recipe] = Recipe()
    recipe_source: ClassVar[str] = "ours: the defaults of Recipe"
    variants: ClassVar[Mapping[str, Variant]] = {}
    uses_labels: ClassVar[bool] = False
    uses_factors: ClassVar[bool] = False
    measures_outside_weights: ClassVar[bool] = False
    keeps: ClassVar[Literal["last", "least_loss"]] = "last"
    patience: int | None = None
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

    def stages(self) -> list[Stage]:
        """Return the parts of the training in their order. Called once, before training.

        The default is one part, with the players of `players()`. Names of players must differ between stages.
        """
        return [Stage(name="main", players=self.players())]

    def begin_stage(self, context: EpochContext) -> None:
        """Run at the beginning of each stage, and again where a stopped training goes on within one.

        For what follows from `context.stage` alone, such as which layers are in use; it must change no number.
        """

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
