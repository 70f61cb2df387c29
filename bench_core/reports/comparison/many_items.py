"""Many pairs of rows by test item: the numbers of `over_items`, with all draws made once.

What is drawn, items or signs, is the same for all pairs of rows with as many items. A drawn sum of differences is the
difference of two drawn sums, so each row is drawn once, not each pair.

Shapes: n items, S seeds, R rows, D draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench_core.evaluation.intervals import LEVEL, drawn_counts
from bench_core.reports.comparison.by_item import (
    DRAWS,
    OverItems,
    PackedItems,
    drawn_signs,
    mean_differences,
    not_pairable,
    share_as_far,
)
from bench_core.store.per_item import unpack_items

_Numbers = NDArray[np.float64]
_EXACT = 2**24  # whole numbers up to here are exact in float32, and so are their sums


@dataclass(frozen=True)
class ItemPair:
    """Two rows that shall be compared by test item in one column.

    Attributes:
        first: Seed -> packed items of the first row; pairs that share a row share this object.
        second: Those of the second row.
        seeds: Seeds of which both rows have scores.
    """

    first: Mapping[int, PackedItems]
    second: Mapping[int, PackedItems]
    seeds: tuple[int, ...]

    @property
    def has_items(self) -> bool:
        """True if both rows keep the same items at all seeds."""
        complete = bool(self.seeds) and all(s in row for row in (self.first, self.second) for s in self.seeds)
        return complete and not self.obstacle

    @property
    def obstacle(self) -> str:
        """Why they cannot be paired; empty where they can."""
        return not_pairable(self.first, self.second, self.seeds)

    def values(self) -> tuple[list[_Numbers], list[_Numbers]]:
        """Return the values (n,) of both rows at each seed."""
        return [unpack_items(self.first[s]) for s in self.seeds], [unpack_items(self.second[s]) for s in self.seeds]


@dataclass(frozen=True)
class Distribution:
    """The spread of the differences of two rows over the test items.

    Attributes:
        right: Of hits, how many items, counted at every seed, both rows have right, the first alone, the second alone,
            and none; None where the values are no hits.
        edges: Ends of the bins of an item's mean difference over seeds; those beyond are in the outer bins.
        counts: Items in each bin.
    """

    right: tuple[int, int, int, int] | None
    edges: tuple[float, ...]
    counts: tuple[int, ...]


def over_items_of(pairs: Sequence[ItemPair]) -> list[OverItems | None]:
    """Compare many pairs of rows by test item; each as `over_items` does."""
    results: list[OverItems | None] = [None] * len(pairs)
    by_size: dict[int, list[int]] = {}
    for position, pair in enumerate(pairs):
        if pair.has_items:
            by_size.setdefault(pair.first[pair.seeds[0]]["n"], []).append(position)
    for n, positions in by_size.items():
        for position, result in zip(positions, _of_one_size(n, [pairs[p] for p in positions]), strict=True):
            results[position] = result
    return results


def distribution(pair: ItemPair, bins: int = 15) -> Distribution | None:
    """Return how the differences of two rows are spread over the items; None where they keep none in common.

    Hits have a bin for each difference that is possible: -1, -0.5, 0, 0.5 and 1 for two seeds. The bins of other values
    are of one width, around 0, up to a size that 99 of 100 differences do not exceed.

    Args:
        pair: The rows.
        bins: Number of bins of values that are no hits; an odd one.
    """
    if not pair.has_items:
        return None
    first, second = pair.values()
    differences, seeds = mean_differences(first, second), len(pair.seeds)
    if all(pair.first[seed]["type"] == pair.second[seed]["type"] == "hits" for seed in pair.seeds):
        of_first, of_second = np.array(first, bool), np.array(second, bool)
        both, one, other = of_first & of_second, of_first & ~of_second, ~of_first & of_second
        counts = [int(part.sum()) for part in (both, one, other)]
        right = (counts[0], counts[1], counts[2], of_first.size - sum(counts))
        steps = np.bincount(np.rint(differences * seeds).astype(int) + seeds, minlength=2 * seeds + 1)
        edges = (np.arange(2 * seeds + 2) - seeds - 0.5) / seeds
        return Distribution(right, tuple(map(float, edges)), tuple(map(int, steps)))
    end = float(np.quantile(np.abs(differences), 0.99)) or float(np.abs(differences).max()) or 1.0
    edges = np.linspace(-end, end, bins + 1)
    in_bins, _ = np.histogram(np.clip(differences, -end, end), edges)
    return Distribution(None, tuple(map(float, edges)), tuple(map(int, in_bins)))


def _of_one_size(n: int, pairs: Sequence[ItemPair]) -> list[OverItems]:
    """Compare pairs that all have n items."""
    columns: dict[tuple[int, tuple[int, ...]], int] = {}  # which row at which seeds -> its column of sums
    sums: list[_Numbers] = []
    unpacked: dict[tuple[int, int], _Numbers] = {}
    for pair in pairs:
        for row in (pair.first, pair.second):
            if (id(row), pair.seeds) not in columns:
                for seed in pair.seeds:
                    unpacked.setdefault((id(row), seed), unpack_items(row[seed]))
                columns[id(row), pair.seeds] = len(sums)
                sums.append(np.sum([unpacked[id(row), seed] for seed in pair.seeds], axis=0))
    matrix = np.stack(sums, axis=1)  # (n, R)
    if (matrix == np.rint(matrix)).all() and np.abs(matrix).sum(0).max() * 16 < _EXACT:  # hits
        matrix = matrix.astype(np.float32)
    drawn = np.concatenate([counts.astype(matrix.dtype) @ matrix for counts in drawn_counts(n, DRAWS)])
    turned = np.concatenate([signs.astype(matrix.dtype) @ matrix for signs in drawn_signs(n)])
    drawn, turned = (np.ascontiguousarray(part.T, np.float64) for part in (drawn, turned))  # (R, D)
    results = []
    for pair in pairs:
        first, second = ([unpacked[id(row), seed] for seed in pair.seeds] for row in (pair.first, pair.second))
        differences, seeds = mean_differences(first, second), len(pair.seeds)
        a, b = columns[id(pair.first), pair.seeds], columns[id(pair.second), pair.seeds]
        result = OverItems(pair.first[pair.seeds[0]]["split"], n, seeds, float(differences.mean()))
        if differences.any():
            low = high = None
            if np.ptp(differences):
                means = (drawn[a] - drawn[b]) / (n * seeds)
                low, high = map(float, np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
            result = replace(result, low=low, high=high, p=share_as_far((turned[a] - turned[b]) / seeds, differences))
        results.append(result)
    return results
