"""Stratified folds: parts of a dataset that are tested in turn, while a classifier learns from the others.

    folds = stratified_folds(labels)    # (N,) from 0 to 9
    train, test = folds != 3, folds == 3

The folds of some labels are the same on every machine and in every version: they come from numpy's RandomState, whose
stream never changes. So a dataset with a parameter `fold` and a task that crosses over folds mean the same parts.

Shapes: N items.
"""

import numpy as np
import torch
from torch import Tensor


def stratified_folds(labels: Tensor, folds: int = 10, seed: int = 0) -> Tensor:
    """Divide items into folds of equal size with equal shares of each class; both differ by at most one item.

    Args:
        labels: Classes (N,) int64.
        folds: Number of folds, at least 2 and at most N.
        seed: Seed of the order in which the items of a class are dealt out.

    Returns:
        Fold (N,) int64 of each item, from 0 to `folds` - 1.

    Raises:
        ValueError: There are fewer than two folds, or fewer items than folds.
    """
    if not 2 <= folds <= len(labels):
        raise ValueError(f"folds must be from 2 to {len(labels)}, the number of items, got {folds}")
    order = np.random.RandomState(seed).permutation(len(labels))
    by_class = order[np.argsort(labels.cpu().numpy()[order], kind="stable")]
    fold = np.empty(len(labels), np.int64)
    fold[by_class] = np.arange(len(labels)) % folds  # dealt out like cards, one class after the other
    return torch.from_numpy(fold)
