"""Leaves the items of some classes out of the train split, so that search can be tested on classes never trained on.

left_out = (8, 9): `train` has the digits 0 to 7, and `test` has all ten. Labels keep their numbers.

Shapes: N items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from bench_core import ConfigError, Split, param
from bench_core.data import Subsets, subset_counts, take


@dataclass(frozen=True, kw_only=True)
class DigitSubsets(Subsets):
    """Sizes of the parts that are used, and the digits that are not trained on."""

    left_out: tuple[int, ...] = param(
        (), "classes that train has no items of, 0 to 9; test has them", "ours: search among unseen classes", ge=0, le=9
    )

    def __post_init__(self) -> None:
        """Check ranges, and that no class is left out where train and test are pooled."""
        super().__post_init__()
        refuse_pooling(self.num_queries, self.left_out)


def refuse_pooling(num_queries: int | None, left_out: Sequence[object]) -> None:
    """Raise ValueError if classes are left out of a train split that is drawn from test, too."""
    if num_queries is not None and left_out:
        raise ValueError("num_queries draws train from a pool with test, so left_out must be empty")


def counts_without(
    config: Subsets, train_counts: Sequence[int], test: int, left_out: Sequence[int]
) -> Mapping[str, int]:
    """Return the number of items of each split.

    Args:
        config: Sizes of the parts.
        train_counts: Number of items of each class in train.
        test: Number of items in test.
        left_out: Classes that train has no items of.

    Raises:
        ConfigError: No class is left, or a size is larger than the number of items.
    """
    train = sum(count for label, count in enumerate(train_counts) if label not in left_out)
    if not train:
        raise ConfigError(f"left_out names all {len(train_counts)} classes; leave one for train")
    return subset_counts(config, train=train, test=test)


def without(split: Split, left_out: Sequence[int]) -> Split:
    """Return a split of labelled items (N,) without those of some classes."""
    if not left_out:
        return split
    assert split.labels is not None, "the datasets here have labels"
    return take(split, (~torch.isin(split.labels, torch.tensor(left_out))).nonzero().squeeze(1))
