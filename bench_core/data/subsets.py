"""Parts of a dataset given by their sizes: fewer items to train on, or queries against a database.

Draws are balanced over classes and seeded. They use numpy's RandomState, whose stream never changes, so a size selects
the same items on every machine and in every version.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench_core.config import Config, param
from bench_core.contracts import Reader, Split
from bench_core.data.image_cache import LARGEST_IN_MEMORY
from bench_core.data.kinds import join, select
from bench_core.data.mapped import is_mapped
from bench_core.data.split_faults import rows_fault
from bench_core.errors import ConfigError, DataMissingError, RequestError


@dataclass(frozen=True, kw_only=True)
class Subsets(Config):
    """Sizes of the parts of a dataset that are used; without any, all of `train` and `test`."""

    train_size: int | None = param(None, "items to train on, balanced over classes; none: all", "ours: all of it", ge=1)
    test_size: int | None = param(None, "items to test on, balanced over classes; none: all", "ours: all of it", ge=1)
    num_queries: int | None = param(
        None,
        "pool train and test; this many items become `query`, the others `database`; `train` is part of `database`",
        "ours: off; hashing papers use 10000 on CIFAR-10, with train_size 5000",
        ge=1,
    )

    def __post_init__(self) -> None:
        """Check ranges, and that the sizes fit together."""
        super().__post_init__()
        if self.num_queries is not None and self.test_size is not None:
            raise ValueError("num_queries pools train and test, which leaves no test split: leave test_size out")


def subset_counts(config: Subsets, train: int, test: int) -> dict[str, int]:
    """Return the number of items of each split.

    Args:
        config: Sizes of the parts.
        train: Number of items in the whole train split.
        test: Number of items in the whole test split.

    Raises:
        ConfigError: A size is larger than the number of items.
    """
    if config.num_queries is None:
        return {
            "train": _size("train_size", config.train_size, train),
            "test": _size("test_size", config.test_size, test),
        }
    database = train + test - _size("num_queries", config.num_queries, train + test - 1)
    return {
        "train": _size("train_size", config.train_size, database),
        "query": config.num_queries,
        "database": database,
    }


def subset(config: Subsets, name: str, whole: Callable[[str], Split]) -> Split:
    """Load one split with the sizes of a config.

    Args:
        config: Sizes of the parts.
        name: `train` or `test`; with `num_queries`, `train`, `query` or `database`.
        whole: Function that reads the whole of `train` or `test`; called only for what is needed.

    Raises:
        RequestError: No split has this name.
        DataMissingError: The whole split has not one label or row of factors for each item: a draw would hide that.
    """
    names = ("train", "test") if config.num_queries is None else ("train", "query", "database")
    if name not in names:
        raise RequestError(f"no split named {name!r}; there are: {', '.join(names)}.")
    if config.num_queries is None:
        size = config.train_size if name == "train" else config.test_size
        return _at_most(_with_matching_rows(whole(name)), size)
    pool = pooled(*(_with_matching_rows(whole(part)) for part in ("train", "test")))
    queries = draw_index(pool.labels, len(pool), config.num_queries)
    if name == "query":
        return take(pool, queries)
    in_database = torch.ones(len(pool), dtype=torch.bool).index_fill_(0, queries, False)
    database = take(pool, in_database.nonzero().squeeze(1))
    return database if name == "database" else _at_most(database, config.train_size)


def draw(split: Split, count: int, seed: int = 0) -> Split:
    """Draw `count` items, balanced over classes, in index order; a smaller draw is part of a larger one."""
    return take(split, draw_index(split.labels, len(split), count, seed))


def draw_index(labels: Tensor | None, total: int, count: int, seed: int = 0) -> Tensor:
    """Draw items that are balanced over classes: one of each class in turn, until there are enough.

    Args:
        labels: Classes (N,). Without classes (None, or multi-hot labels), all items are equally likely.
        total: Number of items N.
        count: Number of items to draw. A class with too few items gives all it has.
        seed: Seed of the order in which items and classes are drawn.

    Returns:
        Positions (count,) int64, ascending.

    Raises:
        ConfigError: `count` is larger than `total`.
    """
    if count > total:
        raise ConfigError(f"cannot draw {count} items out of {total}; ask for at most {total}.")
    order = np.random.RandomState(seed).permutation(total)
    if labels is not None and labels.ndim == 1:
        rank = ranks_in_class(labels.numpy()[order])
        order = order[np.argsort(rank, kind="stable")]
    return torch.from_numpy(np.sort(order[:count])).long()


def ranks_in_class(classes: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Count, for each item, the earlier items of its class: [3, 5, 3, 3, 5] -> [0, 0, 1, 2, 1]."""
    by_class = np.argsort(classes, kind="stable")
    sizes = np.unique(classes, return_counts=True)[1]
    rank = np.empty(len(classes), np.int64)
    rank[by_class] = np.arange(len(classes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rank


def take(split: Split, index: Tensor) -> Split:
    """Return the items at index (N,) int64, in that order; a Reader gives a Reader, and one in sequence another."""
    inputs: Any = split.inputs
    if isinstance(inputs, Tensor) and is_mapped(inputs) and inputs.nbytes > LARGEST_IN_MEMORY:
        inputs = _Rows(inputs)  # a part of a large file is not copied into memory
    if hasattr(inputs, "read"):
        in_sequence = hasattr(inputs, "stream") and len(set(index.tolist())) == len(index)
        inputs = _StreamPart(inputs, index) if in_sequence else _ReaderPart(inputs, index)
    else:
        inputs = select(inputs, index)
    labels = None if split.labels is None else split.labels[index]
    return Split(inputs, labels, None if split.factors is None else split.factors[index])


def pooled(*splits: Split) -> Split:
    """Join splits, one after the other; labels and factors are kept if every split has them."""
    inputs: list[Any] = [split.inputs for split in splits]
    in_memory = not any(hasattr(part, "read") for part in inputs)
    return Split(
        join(inputs) if in_memory else _JoinedReader(inputs),
        _join([split.labels for split in splits]),
        _join([split.factors for split in splits]),
    )


class _Rows:
    """A Reader of the rows of a tensor."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: Tensor) -> Tensor:
        return self.rows[index]


class _ReaderPart:
    """A Reader of some items of another Reader."""

    def __init__(self, whole: Any, index: Tensor) -> None:
        self.whole, self.index = whole, index

    def __len__(self) -> int:
        return len(self.index)

    def read(self, index: Tensor) -> Any:
        return self.whole.read(self.index[index])


class _StreamPart(_ReaderPart):
    """A SequentialReader of some items of another one, each of them once."""

    def order(self, rng: torch.Generator) -> Tensor:
        places = torch.full((len(self.whole),), -1).index_put_((self.index,), torch.arange(len(self)))
        order: Tensor = places[self.whole.order(rng)]
        return order[order >= 0]

    def stream(self, chunks: Sequence[Tensor]) -> Iterator[Any]:
        streamed: Iterator[Any] = self.whole.stream([self.index[chunk] for chunk in chunks])
        return streamed


class _JoinedReader:
    """A Reader of several Readers or tensors, one after the other; their items are tensors of one shape."""

    def __init__(self, parts: Sequence[Tensor | Reader]) -> None:
        self.parts, self.ends = parts, np.cumsum([len(p) for p in parts])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def read(self, index: Tensor) -> Tensor:
        part_of_item = np.searchsorted(self.ends, index.numpy(), side="right")
        batch: Tensor | None = None
        for number, part in enumerate(self.parts):
            rows = torch.from_numpy(np.flatnonzero(part_of_item == number))
            if len(rows) == 0:
                continue
            local = index[rows] - int(self.ends[number]) + len(part)  # positions in this part
            items = part[local] if isinstance(part, Tensor) else part.read(local)
            if batch is None:
                batch = items.new_empty(len(index), *items.shape[1:])
            batch[rows] = items
        assert batch is not None, "the index is empty"
        return batch


def _size(name: str, size: int | None, total: int) -> int:
    """Return a size, or all items if it is None; refuse more than all."""
    if size is not None and size > total:
        raise ConfigError(f"{name} must be at most {total}, got {size}")
    return total if size is None else size


def _with_matching_rows(split: Split) -> Split:
    """Return a split; DataMissingError unless it has one label and one row of factors for each item."""
    if fault := rows_fault(split):
        raise DataMissingError(fault)
    return split


def _at_most(split: Split, count: int | None) -> Split:
    return split if count is None else draw(split, count)


def _join(parts: Sequence[Tensor | None]) -> Tensor | None:
    tensors = [part for part in parts if part is not None]
    return torch.cat(tensors) if len(tensors) == len(parts) else None
