"""Two rows paired by test item: would another test set give the same, for the networks as they are trained?

A paired bootstrap (Efron and Tibshirani, 1993, ch. 13: percentiles): items are drawn again with replacement, the same
for both rows and all seeds. As every seed counts alike, an item enters by the mean of its differences over seeds alone.
The test turns the signs of these at random (Smucker, Allan, Carterette, CIKM 2007); for hits at one seed it estimates
McNemar's exact test: four items that all differ one way have p = 1/8, where the percentiles leave out 0 already.

Shapes: n items, S seeds.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench_core.evaluation.intervals import bootstrap_mean, chunks
from bench_core.reports.tables.cells import score_of
from bench_core.reports.tables.entries import Entry
from bench_core.reports.tables.model import Column
from bench_core.store.per_item import unpack_items

DRAWS = 10_000
_SEED = 0  # of the draws: the same records give the same p-value
_ROUNDING = 1e-6  # of the sizes of differences: records keep float32, and shares of hits lie on a grid, whose sums tie

PackedItems = Mapping[str, Any]  # of one score, as `bench_core.store.per_item` packs them
_Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class OverItems:
    """Difference of two rows on the items that both were scored on, at all their common seeds.

    Attributes:
        split: Split of the items.
        items: Number of items.
        seeds: Number of seeds.
        mean: Mean of first minus second, over items and seeds.
        low: Lower end of the 95 % bootstrap interval of the mean; None where all items differ alike, or none does.
        high: Upper end; None like `low`.
        p: p-value of the two-sided test that the rows are alike on every item; None where no item differs.
    """

    split: str
    items: int
    seeds: int
    mean: float
    low: float | None = None
    high: float | None = None
    p: float | None = None


def items_by_seed(entries: Iterable[Entry], column: Column) -> dict[int, PackedItems]:
    """Return seed -> packed items of one task's score, for the records of a row that have them."""
    by_seed = {}
    for entry in entries:
        if entry.finished_record and entry.names["task"] == column.task:
            items = entry.finished_record.items.get(column.metric)
            if items and score_of(entry.finished_record, column):
                by_seed[entry.seed] = items
    return by_seed


def over_items(
    first: Mapping[int, PackedItems], second: Mapping[int, PackedItems], seeds: Iterable[int]
) -> OverItems | None:
    """Compare two rows, paired by item.

    Args:
        first: Seed -> packed items of the first row.
        second: Seed -> packed items of the second row.
        seeds: Seeds of which both rows have scores.

    Returns:
        None where `not_pairable` gives a reason, or where the records keep no items.
    """
    seeds = list(seeds)
    complete = bool(seeds) and all(seed in row for row in (first, second) for seed in seeds)
    if not complete or not_pairable(first, second, seeds):
        return None
    differences = mean_differences([unpack_items(first[s]) for s in seeds], [unpack_items(second[s]) for s in seeds])
    result = OverItems(first[seeds[0]]["split"], len(differences), len(seeds), float(differences.mean()))
    if not differences.any():
        return result
    low, high = bootstrap_mean(differences, DRAWS) if np.ptp(differences) else (None, None)
    return replace(result, low=low, high=high, p=sign_test(differences))


def mean_differences(first: Sequence[_Numbers], second: Sequence[_Numbers]) -> _Numbers:
    """Return the mean over seeds of first minus second, for each item (n,).

    Args:
        first: The values (n,) of the first row at each seed.
        second: Those of the second row at the same seeds.
    """
    return np.asarray(sum(a - b for a, b in zip(first, second, strict=True)) / len(first))


def not_pairable(first: Mapping[int, PackedItems], second: Mapping[int, PackedItems], seeds: Iterable[int]) -> str:
    """Return why the items of two rows cannot be paired; empty where they can, or where no record has any."""
    seeds = list(seeds)
    packed = [row[seed] for row in (first, second) for seed in seeds if seed in row]
    if len({(items["split"], items["which"], items["n"]) for items in packed}) > 1:
        return "not the same test items at every seed of both"
    if packed and len(packed) < 2 * len(seeds):
        return "not every record of both keeps its per-item results"
    return ""


def sign_test(differences: _Numbers, draws: int = DRAWS) -> float:
    """Return the two-sided p of the mean, the sign of each difference turned at random; at least 1 / (draws + 1).

    Args:
        differences: (n,).
        draws: Number of times that all signs are drawn.
    """
    sums = np.concatenate([turned @ differences for turned in drawn_signs(len(differences), draws)])
    return share_as_far(sums, differences)


def drawn_signs(n: int, draws: int = DRAWS) -> Iterator[_Numbers]:
    """Yield the signs (draws of a chunk, n) of n items, -1 or 1: the same ones at every call, for all pairs of rows."""
    rng, words = np.random.default_rng(_SEED), -(-n // 32)  # whole words: chunks of any size read the same bits
    for rows in chunks(draws, n):
        packed = np.frombuffer(rng.bytes(4 * words * rows), np.uint8).reshape(rows, 4 * words)
        yield 2.0 * np.unpackbits(packed, axis=1, count=n).astype(np.float64) - 1.0


def share_as_far(sums: _Numbers, differences: _Numbers) -> float:
    """Return the share of sums with drawn signs (D,) that are as far from 0 as that of the differences (n,).

    The sum of the differences itself counts as one of them, so the share is at least 1 / (D + 1).
    """
    least = abs(differences.sum()) - _ROUNDING * np.abs(differences).sum()  # equal sums count as at least as far
    return (int((np.abs(sums) >= least).sum()) + 1) / (len(sums) + 1)
