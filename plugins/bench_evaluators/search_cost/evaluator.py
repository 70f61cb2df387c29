"""Task search_cost: measure the recall and the cost of approximate nearest-neighbour search in the embedding.

The true neighbours come from exact search, so no label is read. Scores are the same on every machine: recall, distances
computed, bytes. Times depend on the machine; they are in curves and notes, and in no score.

Source: indexes and measures are those of `bench_evaluators.search_cost.indexes`; the comparison is ours.

Shapes: Q queries, N items of the database, D features.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import Config, DataSpec, Evaluation, Evaluator, Frozen, Objective, Score, hookimpl, param, stream
from bench_core.evaluation.embeddings import embedding_of
from bench_core.evaluation.retrieval import split_names

from .indexes import (
    KINDS,
    KNOB,
    LINKS,
    Cost,
    Kind,
    Search,
    approximate_cost,
    exact_cost,
    num_lists,
    pq_shape,
)

SWEEP = {  # parameter of an index -> the settings that are drawn as a curve
    "efSearch": (16, 32, 64, 128, 256),
    "nprobe": (1, 2, 4, 8, 16, 32),
}


@dataclass(frozen=True, kw_only=True)
class SearchCostConfig(Config):
    """Parameters of the search, and the settings of the indexes that are scored."""

    embedding: str = param("features", "name of the embedding that is searched by cosine", "usual")
    k: int = param(10, "number of neighbours to find; at most all items", "ANN-Benchmarks: recall@10", ge=1)
    num_queries: int = param(1000, "maximal number of queries, drawn at random", "ours", ge=1)
    num_database: int = param(
        10_000,
        "maximal number of items that are searched, drawn at random",
        "ours: an HNSW graph of 10^6 takes minutes",
        ge=1,
    )
    ef_search: int = param(
        64, "number of candidates that HNSW keeps during a search", "ours: faiss has 16, papers sweep it", ge=1
    )
    num_probes: int = param(
        8, "number of inverted lists that IVF searches; at most all", "ours: faiss has 1, papers sweep it", ge=1
    )


class SearchCost(Evaluator):
    """Recall and cost of approximate neighbour search.

    Indexes of faiss (IVF-PQ, IVF-Flat, HNSW) search the embedding. The first score is the recall of IVF-PQ, as the
    other two find nearly all neighbours; then come distances computed for a query and bytes an item (lower is
    better). No labels are read. Needs the splits `query` and `database`, or else `test` and `train`.
    """

    Config = SearchCostConfig
    ranks = False

    def __init__(self, config: SearchCostConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data without one of the two splits."""
        missing = [split for split in split_names(data.splits) if split not in data.splits]
        return f"needs a {missing[0]} split" if missing else None

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Build each index on the database, and search it at several settings."""
        config, names = self.config, split_names(frozen.splits)
        queries = self._directions(frozen, names[0], config.num_queries)
        database = self._directions(frozen, names[1], config.num_database)
        size, dims = database.shape
        lists = num_lists(size)
        k = min(config.k, size)
        ef_search, num_probes = config.ef_search, min(config.num_probes, lists)
        scored_settings = {"efSearch": ef_search, "nprobe": num_probes}
        costs: dict[Kind, Cost] = {}
        scored: dict[Kind, Search] = {}
        for kind in KINDS:
            setting = scored_settings[KNOB[kind]]
            settings = _sweep(KNOB[kind], setting, lists)
            costs[kind] = approximate_cost(kind, queries, database, k, settings)
            scored[kind] = costs[kind].searches[settings.index(setting)]
        exact = exact_cost(queries, database, k)
        parts, bits = pq_shape(size, dims)
        return Evaluation(
            scores=self._scores(scored, costs, k, len(queries), size),
            protocol=(
                f"{len(queries):,} queries of {names[0]} against {size:,} items of {names[1]}, drawn at random; cosine "
                f"of {config.embedding}, {dims} dimensions; recall@{k}: part of the items found that are as near as "
                f"the {k}-th neighbour by exact search, to 1e-6; HNSW: {LINKS} links, efSearch {ef_search}; "
                f"IVF: {lists} lists, nprobe {num_probes}; PQ: {parts} parts of {bits} bits; built on the "
                "database itself, one thread; distances: of HNSW those computed, of IVF items and centroids compared; "
                f"exact search: {size:,} distances, {exact.bytes_per_item:.0f} bytes an item; chance: items at random; "
                "times, in curves and notes, are this machine's: the median of single queries"
            ),
            notes=[
                *([f"k capped at {k:,}, the size of the database (asked: {config.k:,})"] if k < config.k else []),
                _times("exact", exact.searches[0], exact),
                *(_times(kind, scored[kind], costs[kind]) for kind in KINDS),
            ],
            curves={
                kind: {
                    "recall": [s.recall for s in cost.searches],
                    KNOB[kind]: [float(s.setting) for s in cost.searches],
                    "distances": [s.distances for s in cost.searches],
                    "ms": [s.ms for s in cost.searches],
                }
                for kind, cost in costs.items()
            },
        )

    def _directions(self, frozen: Frozen, split: str, count: int) -> Tensor:
        """Draw items of a split, (count, D) float32, scaled to length 1; a row of zeros stays zero."""
        values = embedding_of(frozen.splits[split], self.config.embedding)
        order = torch.randperm(len(values), generator=stream(frozen.seed, "search_cost", split))
        return F.normalize(values[order[:count]].float(), dim=1)

    def _scores(
        self, scored: Mapping[Kind, Search], costs: Mapping[Kind, Cost], k: int, num_queries: int, size: int
    ) -> list[Score]:
        """Return the recall of each index at its scored setting, then its distances and bytes (lower is better)."""
        name = self.config.embedding
        recalls = [
            Score(metric=f"recall_at_{k}_{kind}", value=search.recall, chance=k / size, embedding=name, n=num_queries)
            for kind, search in scored.items()
        ]
        spent = {f"distances_{kind}": (search.distances, "count", num_queries) for kind, search in scored.items()}
        spent |= {f"bytes_{kind}": (cost.bytes_per_item, "bytes", size) for kind, cost in costs.items()}
        return recalls + [
            Score(metric=metric, value=value, unit=unit, higher_is_better=False, embedding=name, n=n)
            for metric, (value, unit, n) in spent.items()
        ]


def _sweep(knob: str, scored_setting: int, lists: int) -> list[int]:
    """Return the settings at which an index is searched, ascending; no more lists are searched than there are."""
    values = [value for value in SWEEP[knob] if knob == "efSearch" or value <= lists]
    return sorted({scored_setting, *values})


def _times(name: str, search: Search, cost: Cost) -> str:
    """Write the times of an index for a note."""
    return f"{name}: {search.ms:.3f} ms a query, built in {cost.build_s:.2f} s, one thread of this machine"


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"search_cost": SearchCost}
