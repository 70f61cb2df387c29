"""bench_core/contracts/objective.py."""

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from bench_core.config import NoConfig, param
from bench_core.contracts.dataset import DataSpec
from bench_core.contracts.encoder import Encoder


@dataclass(frozen=True)
class Batch:
    """What a training step sees.

    Attributes:
        inputs: On the device; images as float32 in [0, 1], (N, C, H, W).
        index: (N,) int64 positions in the train split, the same in every epoch.
        labels: Only where the objective says `uses_labels`.
    """

    inputs: Any
    index: Tensor
    labels: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a method is trained. The method gives it with its source, a board or `--set NAME.recipe.X=` changes it."""

    optimizer: Literal["sgd", "adam", "adamw", "lars"] = param(
        "adamw", "rule of the update", "ours: robust at small size"
    )
    learning_rate: float = param(1e-3, "peak rate, per step", "ours: usual for AdamW")
    weight_decay: float = param(0.0, "AdamW: decoupled; else added to the gradient. Not on bias and norm", "ours")
    momentum: float = param(0.9, "of SGD and LARS; first beta of Adam", "usual")
    nesterov: bool = param(False, "SGD only", "usual")
    schedule: Literal["cosine", "constant", "steps", "linear"] = param(
        "cosine", "of the rate after warm-up, per step", "usual"
    )
    milestones: tuple[float, ...] = param(
        (0.6, 0.8), "'steps': parts of the run after which the rate falls tenfold", "usual"
    )
    warmup_epochs: float = param(0.0, "linear rise of the rate from 0, per step", "usual")
    epochs: int = param(100, "passes over the train split", "ours")
    batch_size: int = param(256, "items a step; the last short batch is left out", "ours")
    trust: float = param(1e-3, "LARS: > 0, part of a weight's norm that a step of rate 1 moves it", "usual", added=True)
    trust_cap: bool = param(False, "LARS: a weight's own rate is at most the rate", "usual; solo-learn: on", added=True)

    def __post_init__(self) -> None:
        """Check ranges."""
        if not self.trust > 0:
            raise ValueError(f"trust must be > 0, got {self.trust}")
        for name, low in (("learning_rate", 0.0), ("weight_decay", 0.0), ("warmup_epochs", 0.0), ("epochs", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be >= {low}, got {getattr(self, name)}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {self.batch_size}")
        if any(not 0 < m < 1 for m in self.milestones):
            raise ValueError(f"milestones must lie in (0, 1), got {self.milestones}")


@dataclass(frozen=True)
class Loss:
    """What one player minimises on one batch.

    Attributes:
        total: () the scalar that is differentiated.
        parts: Named scalars () for the log; averaged over an epoch.
        ceilings: For those parts that have an analytic upper bound: a mean above it is logged as a defect.
        floors: For those parts that fall when a method collapses: a mean below it is logged as a collapse.
        warnings: What a person must know of such a run; the same words at every step.
    """

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    ceilings: Mapping[str, float] = field(default_factory=dict)
    floors: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class ParameterGroup:
    """Some of a player's parameters with a recipe of their own: SimSiam's predictor keeps its rate.

    Attributes:
        parameters: Among the player's.
        recipe: Optimiser, rate, schedule and decay where they differ from the player's.
    """

    parameters: Sequence[nn.Parameter]
    recipe: Mapping[str, Any]


@dataclass(frozen=True)
class Player:
    """One side of a game: its own parameters, optimiser and loss.

    Attributes:
        name: Passed to `Objective.forward`.
        parameters: What its optimiser moves; nobody else's gradient reaches them.
        steps: Optimiser steps on every batch.
        recipe: Optimiser, rate and decay where they differ from the method's recipe.
        groups: Those of its parameters that need a recipe of their own.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    _: KW_ONLY
    steps: int = 1
    recipe: Mapping[str, Any] = field(default_factory=dict)
    groups: Sequence[ParameterGroup] = ()


@dataclass(frozen=True)
class Variant:
    """A named choice of a method's parameters, asked for as `METHOD:VARIANT` (`nac:hashing`).

    Attributes:
        settings: Values of the method's Config, and `recipe.NAME` for those of its Recipe.
        source: Paper section, README command, or "ours: why".
        help: One line.
    """

    settings: Mapping[str, Any]
    source: str
    help: str

    @property
    def config(self) -> dict[str, Any]:
        """Values of the method's Config."""
        return {name: value for name, value in self.settings.items() if not name.startswith("recipe.")}

    @property
    def recipe(self) -> dict[str, Any]:
        """Values of its Recipe, by their names there."""
        prefix = "recipe."
        return {n.removeprefix(prefix): value for n, value in self.settings.items() if n.startswith(prefix)}


@dataclass(frozen=True)
class EpochContext:
    """Where training stands when a hook of an objective is called, and a way through the whole train split.

    Attributes:
        epoch: Whole epochs done, from 0.
        num_epochs: Of the whole run.
        step: Batches done.
        num_steps: Batches of the whole run.
        batches: Each call passes once over the whole train split, in random order, nothing left out; `Batch.index` says
            which items they are.
        rng: On the device, the stream of the views.
    """

    epoch: int
    num_epochs: int
    step: int
    num_steps: int
    batches: Callable[[], Iterator[Batch]]
    rng: torch.Generator


class Objective(nn.Module, abc.ABC):
    """A method: owns its encoder, makes its views, returns its loss."""

    Config: ClassVar[type] = NoConfig
    revision: ClassVar[int] = 1
    recipe: ClassVar[Recipe] = Recipe()
    recipe_source: ClassVar[str] = "ours: the defaults of Recipe"
    variants: ClassVar[Mapping[str, Variant]] = {}
    uses_labels: ClassVar[bool] = False
    encoder: Encoder

    def __init__(self, encoder: Encoder, data: DataSpec, config: Any) -> None:
        """Build on an encoder.

        Args:
            encoder: Freshly initialised; trained, embedded and saved with the objective.
            data: What it will be trained on: sizes of views, of banks, of label tables.
            config: An instance of `Config`.
        """
        super().__init__()
        self.encoder = encoder

    @abc.abstractmethod
    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """What `forward` needs of a batch: views of any number and size, indices; on the device, in one piece."""

    @abc.abstractmethod
    def forward(self, views: Any, player: str = "main") -> Loss:
        """The loss of one player on one batch."""

    def players(self) -> list[Player]:
        """Who is trained, in the order of their turns; none means that nothing is trained."""
        return [Player("main", list(self.parameters()))]

    def before_epoch(self, context: EpochContext) -> Mapping[str, float]:
        """Full passes over the data (labels by clustering); returns numbers for the log."""
        return {}

    def before_step(self, context: EpochContext) -> Mapping[str, float]:
        """Before the views of a batch are made: schedules, relabelling within an epoch; numbers for the epoch's log."""
        return {}

    def after_step(self) -> None:
        """After all players took their turn on a batch: EMA, queues, prototypes."""

    def after_training(self, context: EpochContext) -> Mapping[str, float]:
        """After the last step: statistics that need the final weights and full passes; returns numbers for the log."""
        return {}

    def embed(self, inputs: Any) -> dict[str, Tensor]:
        """Embeddings (N, D) in eval mode; always `features`, `code` as bool or uint8 bits where the method has one."""
        return {"features": self.encoder(inputs)}

    @classmethod
    def skip_reason(cls, data: DataSpec, config: Any) -> str | None:
        """Why this method cannot learn from this data, or None; shown in the table."""
        return None
