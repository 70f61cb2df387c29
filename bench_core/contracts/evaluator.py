"""Evaluator: a task, which reads a trained method's embeddings and returns scores.

Shapes: N items, D features, L labels, F factors; n items that a score is a mean over.
"""

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from bench_core.config import NoConfig
from bench_core.contracts.dataset import DataSpec, Split
from bench_core.contracts.objective import Objective

MOST_IMAGES = 64  # the largest number of images in one entry of `Evaluation.images`


@dataclass(frozen=True)
class Embedded:
    """Embeddings of one split by a trained method, on the CPU.

    Attributes:
        embeddings: Name -> (N, D); `features` is always there.
        labels: Classes (N,) int64, multi-hot labels (N, L) bool, or None.
        factors: Ground-truth factors (N, F) int64, or None.
    """

    embeddings: Mapping[str, Tensor]
    labels: Tensor | None = None
    factors: Tensor | None = None


@dataclass(frozen=True)
class OtherData:
    """A dataset that the method was not trained on, for tasks that need one (`Evaluator.datasets`).

    Attributes:
        data: Description of the dataset. Its shape may differ from the one that the method was trained on;
            `bench_core.evaluation.other_datasets` converts images.
        load: Function that reads one split by name.
    """

    data: DataSpec
    load: Callable[[str], Split]


@dataclass(frozen=True)
class Frozen:
    """A trained method, as a task may read it.

    Attributes:
        splits: Embeddings of every split, computed once for all tasks.
        data: Description of the dataset that the method was trained on.
        seed: Seed of the training; a task that draws random numbers makes its generators from it
            (`bench_core.seeds`).
        device: Device for heavy computation.
        method: Function that returns a new copy of the trained Objective, in eval mode, for tasks that need more than
            embeddings.
        inputs: Function that reads the inputs and labels of a split by name.
        others: The datasets that `Evaluator.datasets` named, by these names.
        memory: Bytes that a task may use beside the files that it reads as memory maps (`--memory`); None for any
            number. A task may keep less and compute more because of it, but its scores must not depend on it.
    """

    splits: Mapping[str, Embedded]
    data: DataSpec
    seed: int
    device: torch.device
    method: Callable[[], Objective]
    inputs: Callable[[str], Split]
    others: Mapping[str, OtherData] = field(default_factory=dict)
    memory: int | None = None


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number that a task measured.

    Attributes:
        metric: Name in snake_case, with k or the code length in it (`map_at_1000_32_bits`).
        value: The number.
        unit: "fraction" (shown in per cent), "nats", "count", "s", ...
        higher_is_better: True if a higher value is better.
        chance: Value that a constant or random embedding gets; None if unknown.
        best: The best value possible; None stands for 1 where a fraction is better the higher it is, else for unknown.
            The column `mean` of a table shows (value - chance) / (best - chance).
        embedding: Name of the embedding that was read (`features`, `code`).
        n: Number of items that the value is a mean over (test items, queries).
        ranks: False if this value is not measured as the other rows' is; tables show it, neither ranked nor bold.
        caveat: What a reader must know of this value, in a few words ("a code by ITQ, not learned"). Tables mark it
            with a dagger and give the words below.
    """

    metric: str
    value: float
    unit: str = "fraction"
    higher_is_better: bool = True
    chance: float | None = None
    best: float | None = None
    embedding: str = "features"
    n: int
    ranks: bool = True
    caveat: str = ""


@dataclass(frozen=True)
class PerItem:
    """The values that a score is the mean of, one for each item.

    `bench compare` estimates from them how much the score would differ on another test set.

    Attributes:
        values: Values (n,), whose mean is the score, in the score's unit. Hits are bool and are stored as bits; other
            values are stored as float32.
        split: Name of the split that the items belong to.
        index: Positions (n,) int64 of the items in that split, each at most once, in any order; None means all items
            in order.
    """

    values: Tensor
    split: str = "test"
    index: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Result of a task on one trained method; the harness writes it into a record.

    Attributes:
        scores: The scores; tables rank the methods by the first one.
        protocol: The full protocol in one line: split, solver, k, distance, ties.
        notes: Facts about this measurement that a reader must know ("k capped at 1,257"; "converged in 31
            iterations").
        curves: Named curves for pictures. Each is a dict of series of equal length, x first
            (`{"pr_32_bits": {"recall": [...], "precision": [...]}}`).
        images: Named image grids, uint8 (N, C, H, W) with N <= 64, drawn eight in a row (`{"samples": ...}`).
        items: Per-item results, by the metric of their score. A record keeps up to 50,000 values of each
            (`bench_core.store.per_item`).
    """

    scores: Sequence[Score]
    protocol: str
    notes: Sequence[str] = ()
    curves: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    images: Mapping[str, Tensor] = field(default_factory=dict)
    items: Mapping[str, PerItem] = field(default_factory=dict, compare=False)  # tensors compare item by item


class Evaluator(abc.ABC):
    """Interface of tasks: a task reads the embeddings of a trained method and returns scores.

    `bench check` tries a task on made data of each kind for which its `skip_reason` gives no reason, and on images
    where it has none of its own. A class method `example()` that returns an `Example` gives other data or a method.

    Attributes:
        Config: Dataclass of the parameters; `--set NAME.PARAMETER=` and boards change them.
        revision: Raised when the scores of the same embeddings may change.
        ranks: Whether the first score measures quality. If not, the task enters no mean and no mean rank of a table.
        family: Name of what the task measures, as other tasks do ("classification"). The mean rank of a table counts
            each family once. Empty makes the task a family of its own.
    """

    Config: ClassVar[type] = NoConfig
    revision: ClassVar[int] = 1
    ranks: ClassVar[bool] = True
    family: ClassVar[str] = ""

    @abc.abstractmethod
    def __init__(self, config: Any) -> None:
        """Keep the config. Called while a run is planned, so do no work here.

        Args:
            config: An instance of `Config`.
        """

    @abc.abstractmethod
    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Measure one trained method. Called once for each seed; the result is written into a record.

        Choose no parameter on the split that is reported, and change neither the embeddings nor the method.
        """

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Return the reason why this task cannot measure this method on this dataset, or None if it can.

        Called while a run is planned, before anything is trained; the table shows the reason.

        Args:
            data: The dataset that the method is trained on.
            objective: Class of the method; `issubclass(objective, Generative)` tells whether it can generate.
        """
        return None

    def datasets(self, data: DataSpec) -> Sequence[str]:
        """Return the names of other datasets that the task reads; they arrive as `Frozen.others`.

        Called while a run is planned, unless `skip_reason` gave a reason. The digests of these datasets join the key.

        Args:
            data: The dataset that the method is trained on.
        """
        return ()
