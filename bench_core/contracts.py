"""Encoder, Objective, Dataset, Evaluator, and what passes between them.

The four classes are interfaces: a plugin's class stands directly below one of them and is final. Each has a
`Config`, a frozen keyword-only dataclass which is the only place where a default stands, and a `revision`,
which rises when the numbers it leads to may change. What is here only grows (`bench_core.API`).

Shapes: N items, C channels, H x W pixels, D features, L labels, F factors.
"""

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from bench_core.config import NoConfig, param


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """What a dataset says of itself before any of it is read.

    Attributes:
        shape: Of one input; (C, H, W) for images.
        splits: Number of items of each split. `train` is what methods are trained on.
        num_classes: Of single-label data, None where there are no classes.
        num_labels: Of multi-hot labels (N, L), None elsewhere.
        mean: Per channel, of inputs in [0, 1]; encoders standardise with it.
        std: Per channel.
        factors: Of generated data: each ground-truth factor, in the order of `Split.factors`, and its number of values.
        name: Under which the dataset is registered; the plan fills it in, for tasks that read other data sets too.
        views: Which changes keep the meaning of an image: "natural" (crop, mirror, colour) or "glyph"
            (small affine changes and noise; a mirrored 5 is not a 5).
    """

    shape: tuple[int, ...]
    splits: Mapping[str, int]
    num_classes: int | None = None
    num_labels: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    factors: Mapping[str, int] | None = None
    name: str | None = None
    views: Literal["natural", "glyph"] = "natural"

    @property
    def is_image(self) -> bool:
        """Whether one input is (C, H, W)."""
        return len(self.shape) == 3

    @property
    def num_train(self) -> int:
        """Items that a method is trained on."""
        return self.splits["train"]


class Reader(Protocol):
    """Inputs that do not lie in memory as one tensor: a folder of large images, graphs, pairs."""

    def __len__(self) -> int:
        """Number of items."""

    def read(self, index: Tensor) -> Any:
        """Inputs at index (N,) int64: a tensor (N, ...) or an object with `.to(device)`; uint8 means images."""


@dataclass(frozen=True)
class Split:
    """One part of a dataset.

    Attributes:
        inputs: Images as uint8 (N, C, H, W), any other tensor (N, ...), or a Reader.
        labels: (N,) int64 classes, or (N, L) bool, or None.
        factors: (N, F) int64 ground-truth factors of generated data, each from 0, or None.
    """

    inputs: Tensor | Reader
    labels: Tensor | None = None
    factors: Tensor | None = None

    def __len__(self) -> int:
        """Number of items."""
        return len(self.inputs)


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


class Dataset(abc.ABC):
    """Named splits of inputs, with labels and factors where there are any."""

    Config: ClassVar[type] = NoConfig
    revision: ClassVar[int] = 1

    @abc.abstractmethod
    def __init__(self, root: Path, config: Any) -> None:
        """Look at nothing yet.

        Args:
            root: Folder under which data sets lie (`--data-root`).
            config: An instance of `Config`.
        """

    @abc.abstractmethod
    def spec(self) -> DataSpec:
        """Shapes, counts and classes, without decoding the data; DataMissingError where it must be looked at."""

    @abc.abstractmethod
    def digest(self) -> str:
        """SHA-256 (or the published sums) of the content: two copies with one digest give the same numbers."""

    @abc.abstractmethod
    def load(self, split: str) -> Split:
        """Read one split. Raises DataMissingError, which says where it was looked for and what to type."""

    def download(self) -> None:  # noqa: B027  # most that are not fetched have nothing to do here
        """Fetch what is missing and check its digest; the default has nothing to fetch."""


class Encoder(nn.Module, abc.ABC):
    """The network under study: inputs -> features."""

    Config: ClassVar[type] = NoConfig
    revision: ClassVar[int] = 1
    dim: int

    def __init__(self, data: DataSpec, config: Any) -> None:
        """Build for inputs of `data.shape` and set `dim`.

        Args:
            data: What it will read.
            config: An instance of `Config`.
        """
        super().__init__()

    @abc.abstractmethod
    def forward(self, inputs: Any) -> Tensor:
        """Features (N, dim) of inputs in [0, 1], (N, C, H, W); standardising is the encoder's first layer."""

    @abc.abstractmethod
    def maps(self, inputs: Any) -> dict[str, Tensor]:
        """Named local maps (N, channels, h, w), shallow to deep."""

    @classmethod
    def skip_reason(cls, data: DataSpec, config: Any) -> str | None:
        """Why this encoder cannot read this data, or None; shown in the table."""
        return None


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


@dataclass(frozen=True)
class Embedded:
    """One split as the frozen method sees it, on the CPU.

    Attributes:
        embeddings: Name -> (N, D); always `features`.
        labels: (N,) int64, (N, L) bool, or None.
        factors: (N, F) or None.
    """

    embeddings: Mapping[str, Tensor]
    labels: Tensor | None = None
    factors: Tensor | None = None


@dataclass(frozen=True)
class OtherData:
    """A data set that the method was not trained on, for evaluators that ask for one (`Evaluator.datasets`).

    Attributes:
        data: What it says of itself; its shape may be another one than the method's (`bench_core.other_data`).
        load: Reads one split.
    """

    data: DataSpec
    load: Callable[[str], Split]


@dataclass(frozen=True)
class Frozen:
    """A trained method as evaluators see it.

    Attributes:
        splits: Every split, embedded once for all tasks.
        data: What it was trained on.
        seed: Of the chain; an evaluator that draws derives its generators from it (`bench_core.seeds`).
        device: Where heavy work may be done.
        method: A fresh copy of the frozen objective, in eval mode, for those who ask for more than embeddings.
        inputs: A split's inputs and labels.
        others: The data sets that the evaluator asked for, by the names that it gave.
    """

    splits: Mapping[str, Embedded]
    data: DataSpec
    seed: int
    device: torch.device
    method: Callable[[], Objective]
    inputs: Callable[[str], Split]
    others: Mapping[str, OtherData] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number that an evaluator measured.

    Attributes:
        metric: snake_case, with k or code length in the name (`map_at_1000_32_bits`).
        value: The number.
        unit: "fraction" (shown as per cent), "nats", "count", "s", ...
        higher_is_better: The direction.
        chance: What a constant or random embedding gets, None where unknown.
        embedding: Which embedding was read (`features`, `code`).
        n: Items that the number is a mean over (test items, queries).
    """

    metric: str
    value: float
    unit: str = "fraction"
    higher_is_better: bool = True
    chance: float | None = None
    embedding: str = "features"
    n: int


@dataclass(frozen=True)
class PerItem:
    """A score item by item, so that `bench compare` can say what another test set would give.

    Attributes:
        values: (n,) whose mean is the score, in its unit; bool for hits, which are kept as bits, others as float32.
        split: Whose items they are of.
        index: (n,) int64 positions in that split, each once, in any order; None: every item in order.
    """

    values: Tensor
    split: str = "test"
    index: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What an evaluator returns.

    Attributes:
        scores: The first one ranks the methods.
        protocol: The full protocol in one line: split, solver, k, distance, ties.
        notes: What a reader must know ("k capped at 1,257"; "converged in 31 iterations").
        curves: Named series for pictures, all of one curve of the same length, x first
            (`{"pr_32_bits": {"recall": [...], "precision": [...]}}`).
        images: Named grids for pictures, uint8 (N, C, H, W) with N <= 64, eight in a row (`{"samples": ...}`).
        items: Metric of a score -> its per-item results; a record keeps up to 50,000 of each (`bench_core.items`).
    """

    scores: Sequence[Score]
    protocol: str
    notes: Sequence[str] = ()
    curves: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    images: Mapping[str, Tensor] = field(default_factory=dict)
    items: Mapping[str, PerItem] = field(default_factory=dict, compare=False)  # as tensors compare item by item


class Evaluator(abc.ABC):
    """A task: frozen embeddings -> scores."""

    Config: ClassVar[type] = NoConfig
    revision: ClassVar[int] = 1

    @abc.abstractmethod
    def __init__(self, config: Any) -> None:
        """Keep the config."""

    @abc.abstractmethod
    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Measure. Nothing is chosen on the split that is reported; the method stays as it was."""

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Why this task says nothing about this pair, or None; known before anything is trained."""
        return None

    def datasets(self, data: DataSpec) -> Sequence[str]:
        """Names of other data sets that it reads; asked where there is no `skip_reason`. Their digests join the key.

        Args:
            data: What the method is trained on.
        """
        return ()
