"""Two rows paired by test item: what another test set would give for the networks as they are trained.

A paired bootstrap (Efron and Tibshirani, 1993, ch. 13: percentiles): items are drawn again with replacement, the same
for both rows and all seeds. As every seed counts alike, an item enters by the mean of its differences over seeds alone.
The test turns the signs of these at random (Smucker, Allan, Carterette, CIKM 2007); for hits at one seed it estimates
McNemar's exact test: four items that all differ one way have p = 1/8, where the percentiles leave out 0 already.

Shapes: n items, S seeds.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench_core.evaluation.statistics import LEVEL
from bench_core.reports.tables.cells import score_of
from bench_core.reports.tables.entries import Entry
from bench_core.reports.tables.model import Column
from bench_core.store.per_item import unpack_items

DRAWS = 10_000
_SEED = 0  # of the draws: the same records give the same interval
_ROUNDING = 1e-6  # of the sizes of differences: records keep float32, and shares of hits lie on a grid, whose sums tie
_AT_ONCE = 2**21  # numbers of a chunk of draws: 16 MiB; nothing depends on it

Kept = Mapping[str, Any]
_Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class OverItems:
    """Two rows on the items that both were scored on, at all their common seeds.

    Attributes:
        split: Of the items.
        items: Number of them.
        seeds: Number of them.
        mean: Of first minus second, over items and seeds.
        low: End of the 95 % bootstrap interval of that mean; None where all items differ alike, or none does.
        high: Likewise.
        p: Of the two-sided test that the two are alike on every item; None where no item differs.
    """

    split: str
    items: int
    seeds: int
    mean: float
    low: float | None = None
    high: float | None = None
    p: float | None = None


def kept_items(entries: Iterable[Entry], column: Column) -> dict[int, Kept]:
    """Seed -> what a row's records keep of each item of one task's score."""
    kept = {}
    for entry in entries:
        if entry.names["task"] == column.task and entry.state == "done" and entry.record is not None:
            own = (entry.record.get("items") or {}).get(column.metric)
            if own and score_of(entry.record, column):
                kept[entry.seed] = own
    return kept


def over_items(first: Mapping[int, Kept], second: Mapping[int, Kept], seeds: Iterable[int]) -> OverItems | None:
    """The paired comparison; None where `why_not` gives a reason, or nothing is kept at all.

    Args:
        first: Of `kept_items`.
        second: Likewise.
        seeds: That both rows have scores of.
    """
    seeds = list(seeds)
    if not seeds or not all(seed in own for own in (first, second) for seed in seeds) or why_not(first, second, seeds):
        return None
    sums = sum(unpack_items(first[seed]) - unpack_items(second[seed]) for seed in seeds)
    differences = np.asarray(sums / len(seeds))
    of = first[seeds[0]]
    found = OverItems(of["split"], len(differences), len(seeds), float(differences.mean()))
    if not differences.any():
        return found
    low, high = bootstrap(differences) if np.ptp(differences) else (None, None)
    return replace(found, low=low, high=high, p=sign_test(differences))


def why_not(first: Mapping[int, Kept], second: Mapping[int, Kept], seeds: Iterable[int]) -> str:
    """Why items that are kept cannot be paired; empty where they can, or where none are kept."""
    seeds = list(seeds)
    both = [own[seed] for own in (first, second) for seed in seeds if seed in own]
    if len({(own["split"], own["which"], own["n"]) for own in both}) > 1:
        return "not the same test items at every seed of both"
    if both and len(both) < 2 * len(seeds):
        return "not every record of both keeps its per-item results"
    return ""


def bootstrap(differences: _Numbers, draws: int = DRAWS, level: float = LEVEL) -> tuple[float, float]:
    """Percentile interval of the mean, items drawn again with replacement.

    Args:
        differences: (n,).
        draws: Means that are drawn.
        level: Confidence, in (0, 1).
    """
    n, rng = len(differences), np.random.default_rng(_SEED)
    means = [differences[rng.integers(n, size=(rows, n))].mean(1) for rows in _chunks(draws, n)]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def sign_test(differences: _Numbers, draws: int = DRAWS) -> float:
    """Two-sided p of the mean, the sign of each difference turned at random; at least 1 / (draws + 1).

    Args:
        differences: (n,); those of 0 count for nothing.
        draws: Of all signs.
    """
    differing, rng = differences[differences != 0], np.random.default_rng(_SEED)
    least = abs(differing.sum()) - _ROUNDING * np.abs(differing).sum()  # sums that are equal count as far
    as_far = sum(
        int((np.abs(rng.choice((-1.0, 1.0), (rows, len(differing))) @ differing) >= least).sum())
        for rows in _chunks(draws, len(differing))
    )
    return (as_far + 1) / (draws + 1)


def _chunks(draws: int, n: int) -> Iterator[int]:
    """Numbers of draws that go at once."""
    rows = max(1, _AT_ONCE // n)
    for done in range(0, draws, rows):
        yield min(rows, draws - done)
