"""A part of the train split that is held out: scored in place of the test split, which is never opened.

    HeldOut(dataset, spec, 0.2).load("train")   # 80 % of dataset.load("train")
    HeldOut(dataset, spec, 0.2).load("test")    # the other 20 %

So settings can be chosen by labels that no published score is of. The draw depends on the number of items and their
classes alone: it is the same for every row, every seed of a training and every machine. Its numpy stream never changes.

Tasks that need `query` and `database` take `test` and `train` in their place. Tasks that need further splits of their
own are skipped. A dataset that a task reads beside the chain's is cut in the same way.

Shapes: N items.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench_core.contracts import Dataset, DataSpec, Split
from bench_core.data.split_faults import split_fault
from bench_core.data.subsets import ranks_in_class, take
from bench_core.errors import DataMissingError, RequestError, shown

SEED = 0  # of the draw; it is in the key


class HeldOut(Dataset):
    """A dataset whose `train` and `test` are two parts of the train split of another one."""

    def __init__(self, whole: Dataset, spec: DataSpec, fraction: float) -> None:
        """Keep the arguments, and count the items of both parts.

        Args:
            whole: The dataset; of its splits only `train` is loaded.
            spec: Its description, with its name.
            fraction: Part of its train split that becomes `test`.

        Raises:
            RequestError: No part of this dataset can be held out, or one of the two parts would be empty.
        """
        self.whole, self.whole_spec, self.fraction = whole, spec, fraction
        self._kept: Split | None = None  # the whole train split, between loading one part and the other
        if fault := _fault(spec):
            raise RequestError(fault)
        self.count = round(fraction * spec.num_train)
        if not 0 < self.count < spec.num_train:
            raise RequestError(
                f"a validation part of {shown(fraction)} is {self.count} of the {spec.num_train} items of {spec.name}; "
                "both parts need items: choose another part, such as 0.2."
            )

    def spec(self) -> DataSpec:
        """Return the description of the dataset, with the two parts as its splits."""
        splits = {"train": self.whole_spec.num_train - self.count, "test": self.count}
        return replace(self.whole_spec, splits=splits)

    def digest(self) -> str:
        """Return the digest of the whole dataset."""
        return self.whole.digest()

    def load(self, split: str) -> Split:
        """Read the whole train split, and return one part of it.

        Raises:
            RequestError: The split is neither `train` nor `test`.
            DataMissingError: The train split is not as the dataset describes it; a draw would hide that.
        """
        if split not in ("train", "test"):
            raise RequestError(f"no split named {split!r}; where a part of train is held out there are: train, test.")
        train = self._kept or self.whole.load("train")
        self._kept = None if self._kept else train
        if fault := split_fault(train, self.whole_spec, "train"):
            raise DataMissingError(fault)
        held_out = held_out_index(train.labels, len(train), self.count)
        if split == "test":
            return take(train, held_out)
        rest = torch.ones(len(train), dtype=torch.bool).index_fill_(0, held_out, False)
        return take(train, rest.nonzero().squeeze(1))

    @property
    def document(self) -> dict[str, Any]:
        """Fraction and seed, which keys hold."""
        return {"fraction": self.fraction, "seed": SEED}


def held_out_index(labels: Tensor | None, total: int, count: int) -> Tensor:
    """Draw the items that are held out.

    Each class gives its share of `count`, rounded down or up: the largest remainders are rounded up.

    Args:
        labels: Classes (N,). Without classes (None, or multi-hot labels), all items are equally likely.
        total: Number of items N.
        count: Number of items to draw, at most N.

    Returns:
        Positions (count,) int64, ascending.
    """
    random = np.random.RandomState(SEED)
    order = random.permutation(total)
    if labels is None or labels.ndim != 1:
        return torch.from_numpy(np.sort(order[:count])).long()
    _, classes, sizes = np.unique(labels.cpu().numpy(), return_inverse=True, return_counts=True)
    shares, remainders = np.divmod(count * sizes, total)
    by_chance = random.permutation(len(sizes))
    largest = by_chance[np.argsort(-remainders[by_chance], kind="stable")]
    shares[largest[: count - shares.sum()]] += 1
    drawn = order[ranks_in_class(classes[order]) < shares[classes[order]]]
    return torch.from_numpy(np.sort(drawn)).long()


def held_out_name(name: str, fraction: float) -> str:
    """Return the name of a dataset in tables: "digits (20 % of train held out)"."""
    suffix = f" ({100 * fraction:g} % of train held out)"
    return name if name.endswith(suffix) else f"{name}{suffix}"


def _fault(spec: DataSpec) -> str | None:
    """Say why no part of a dataset can be held out, and what can be done; None if one can."""
    if spec.folds is not None:
        return (
            f"validation needs a test split that stays closed, and {spec.name} has none: each of its items is tested "
            f"in one of {spec.folds} folds. Choose one, such as --set {spec.name}.fold=0, or leave out validation."
        )
    if spec.kind == "nodes" or spec.transductive:
        return (
            f"validation needs items that training does not read, and trainings on {spec.name} read all of its items, "
            "without their labels. Leave out validation, or choose another dataset."
        )
    return None
