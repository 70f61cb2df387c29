"""Parts of a dataset as explicit counts: fewer items to train on, queries against a database.

Draws are balanced over classes and seeded. They use numpy's RandomState, whose stream is frozen, so that a
count names the same items on every machine and in every version.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench_core.config import param
from bench_core.contracts import Reader, Split
from bench_core.errors import ConfigError, RequestError


@dataclass(frozen=True, kw_only=True)
class Subsets:
    """Which part of a dataset is used; with nothing set, all of `train` and `test`."""

    train_size: int | None = param(None, "items to train on, balanced over classes; none: all", "ours: all of it")
    test_size: int | None = param(None, "items to test on, balanced over classes; none: all", "ours: all of it")
    num_queries: int | None = param(
        None,
        "pool train and test; this many become `query`, the rest `database`, of which `train` is a part",
        "ours: off; hashing papers use 10000 on CIFAR-10, with train_size 5000",
    )

    def __post_init__(self) -> None:
        """Check the counts against each other."""
        for name in ("train_size", "test_size", "num_queries"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        if self.num_queries is not None and self.test_size is not None:
            raise ValueError("num_queries pools train and test, which leaves no test split: leave test_size out")


def subset_counts(config: Subsets, train: int, test: int) -> dict[str, int]:
    """Items of each split under this config.

    Args:
        config: What is asked for.
        train: Items that the data has to train on.
        test: Items that the data has to test on.

    Raises:
        ConfigError: More is asked for than there is.
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
    """One split under this config.

    Args:
        config: What is asked for.
        name: `train` or `test`; with `num_queries` `train`, `query` or `database`.
        whole: Reads all of `train` or `test`; asked only for what is needed.

    Raises:
        RequestError: There is no such split.
    """
    names = ("train", "test") if config.num_queries is None else ("train", "query", "database")
    if name not in names:
        raise RequestError(f"no split named {name!r}; there are: {', '.join(names)}.")
    if config.num_queries is None:
        size = config.train_size if name == "train" else config.test_size
        return _at_most(whole(name), size)
    pool = pooled(whole("train"), whole("test"))
    queries = draw_index(pool.labels, len(pool), config.num_queries)
    if name == "query":
        return take(pool, queries)
    others = torch.ones(len(pool), dtype=torch.bool).index_fill_(0, queries, False)
    database = take(pool, others.nonzero().squeeze(1))
    return database if name == "database" else _at_most(database, config.train_size)


def draw(split: Split, count: int, seed: int = 0) -> Split:
    """That many items, balanced over classes, in index order; a smaller draw lies within a larger one."""
    return take(split, draw_index(split.labels, len(split), count, seed))


def draw_index(labels: Tensor | None, total: int, count: int, seed: int = 0) -> Tensor:
    """Which items a draw takes: one of each class in turn, until there are enough.

    Args:
        labels: (N,) classes; without classes (None, multi-hot) every item is as likely as any other.
        total: N.
        count: Items wanted; a class that has too few gives all it has.
        seed: Of the order in which items and classes are drawn.

    Returns:
        (count,) int64, ascending.
    """
    if count > total:
        raise ConfigError(f"{count} items were asked for, there are {total}.")
    order = np.random.RandomState(seed).permutation(total)
    if labels is not None and labels.ndim == 1:
        rank = ranks(labels.numpy()[order])
        order = order[np.argsort(rank, kind="stable")]
    return torch.from_numpy(np.sort(order[:count])).long()


def ranks(classes: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """For each item how many of its class stand before it: [3, 5, 3, 3, 5] -> [0, 0, 1, 2, 1]."""
    by_class = np.argsort(classes, kind="stable")
    sizes = np.unique(classes, return_counts=True)[1]
    rank = np.empty(len(classes), np.int64)
    rank[by_class] = np.arange(len(classes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rank


def take(split: Split, index: Tensor) -> Split:
    """The items at index (N,) int64, in that order; a Reader stays one."""
    inputs = split.inputs[index] if isinstance(split.inputs, Tensor) else _Part(split.inputs, index)
    labels = None if split.labels is None else split.labels[index]
    return Split(inputs, labels, None if split.factors is None else split.factors[index])


def pooled(*splits: Split) -> Split:
    """All items of all splits, one split after the other; labels and factors where every one has them."""
    inputs: list[Any] = [s.inputs for s in splits]
    in_memory = all(isinstance(i, Tensor) for i in inputs)
    return Split(
        torch.cat(inputs) if in_memory else _Joined(inputs),
        _cat([s.labels for s in splits]),
        _cat([s.factors for s in splits]),
    )


class _Part:
    """Some items of a Reader."""

    def __init__(self, whole: Reader, index: Tensor) -> None:
        self.whole, self.index = whole, index

    def __len__(self) -> int:
        return len(self.index)

    def read(self, index: Tensor) -> Any:
        return self.whole.read(self.index[index])


class _Joined:
    """Readers (or tensors) of images of one shape, one after the other."""

    def __init__(self, parts: Sequence[Tensor | Reader]) -> None:
        self.parts, self.ends = parts, np.cumsum([len(p) for p in parts])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def read(self, index: Tensor) -> Tensor:
        owner = np.searchsorted(self.ends, index.numpy(), side="right")
        found: Tensor | None = None
        for k, part in enumerate(self.parts):
            mine = torch.from_numpy(np.flatnonzero(owner == k))
            if len(mine):
                local = index[mine] - int(self.ends[k]) + len(part)
                items = part[local] if isinstance(part, Tensor) else part.read(local)
                found = items.new_empty(len(index), *items.shape[1:]) if found is None else found
                found[mine] = items
        assert found is not None, "no index, no batch"
        return found


def _size(name: str, asked: int | None, there: int) -> int:
    if asked is not None and asked > there:
        raise ConfigError(f"{name} must be at most {there}, got {asked}")
    return there if asked is None else asked


def _at_most(split: Split, count: int | None) -> Split:
    return split if count is None else draw(split, count)


def _cat(parts: Sequence[Tensor | None]) -> Tensor | None:
    there = [p for p in parts if p is not None]
    return torch.cat(there) if len(there) == len(parts) else None
