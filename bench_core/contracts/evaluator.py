"""bench_core/contracts/evaluator.py."""

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from bench_core.config import NoConfig
from bench_core.contracts.dataset import DataSpec, Split
from bench_core.contracts.objective import Objective

MOST_IMAGES = 64  # images that one entry of `Evaluation.images` may have


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
        data: What it says of itself; its shape may be another one than the method's
            (`bench_core.evaluation.other_datasets`).
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
        items: Metric of a score -> its per-item results; a record keeps up to 50,000 of each
            (`bench_core.store.per_item`).
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
