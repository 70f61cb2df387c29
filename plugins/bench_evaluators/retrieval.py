"""Task retrieval: search for items of the same class by the cosine of features, the same for all methods.

For each query the whole database is ranked; mAP is the mean average precision of these rankings. Codes of bits are the
task `hashing`, which draws the same items.

Paper:  McSherry and Najork, "Computing information retrieval performance measures efficiently in the presence of tied
        scores", ECIR 2008; see `bench_core.evaluation.ranking`.

Shapes: Q queries, N items of the database, D features, L labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bench_core import Config, DataSpec, Evaluation, Evaluator, Frozen, Objective, PerItem, Score, hookimpl, param
from bench_core.evaluation.approximate_search import describe_search, neighbour_search
from bench_core.evaluation.ranking import list_average_precision
from bench_core.evaluation.retrieval import (
    SearchSet,
    chance,
    cosine_average_precision,
    listed_relevance,
    no_relevant_note,
    read_search_set,
    retrieval_skip_reason,
    split_names,
)


@dataclass(frozen=True, kw_only=True)
class RetrievalConfig(Config):
    """Parameters of the search. Split sizes are written as counts: splits of one name differ between papers."""

    embedding: str = param("features", "name of the embedding that is ranked by cosine", "usual")
    k: int = param(1000, "ranks that mAP@k and P@k count; at most all items", "DeepBit, BiHalf: mAP@1000", ge=1)
    num_queries: int = param(
        2000, "maximal number of queries, drawn evenly from the classes", "ours: 60,000 items take ms to sort", ge=1
    )
    num_database: int | None = param(
        None, "number of items that are searched, drawn evenly from the classes; none uses all", "ours", ge=1
    )
    search: Literal["exact", "ivf", "hnsw"] = param(
        "exact",
        "exact compares every pair; ivf (inverted lists) and hnsw (a graph) are indexes, which compare few, for "
        "databases of millions of items; measures at k alone use it: mAP needs all cosines",
        "usual",
        added=True,
    )


class Retrieval(Evaluator):
    """Search for items of the same class (mAP).

    The database is ranked for each query by the cosine of features. The first score is mAP over the whole ranking;
    mAP and precision at k follow. Needs labels (one or several an item), and the splits `query` and `database`, or else
    `test` and `train`.
    """

    Config = RetrievalConfig
    revision = 2  # 2: features by cosine rank for all methods; codes, which some methods have, are the task hashing
    family = "retrieval"

    def __init__(self, config: RetrievalConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data without labels, without one of the two splits, or with a smaller database than the config wants."""
        return retrieval_skip_reason(data, (None, self.config.num_database))

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Rank the database for each query by cosine."""
        config, names = self.config, split_names(frozen.splits)
        count = min(config.num_queries, frozen.data.splits[names[0]])
        queries = read_search_set(frozen, names[0], config.embedding, count)
        database = read_search_set(frozen, names[1], config.embedding, config.num_database)
        k = min(config.k, len(database))
        precisions = cosine_average_precision(queries, database, frozen.device)
        how = f"; at k {words}" if (words := describe_search(config.search, len(database))) else ""
        return Evaluation(
            scores=cosine_scores(queries, database, precisions, k, config, frozen.device),
            protocol=(
                f"{len(queries):,} queries of {names[0]} against {len(database):,} items of {names[1]}; relevant: "
                f"{'same class' if queries.labels.ndim == 1 else 'a label in common'}; ranked by cosine of "
                f"{config.embedding}; mAP@all unless at k={k}, where it is divided by min(R, k); equal cosines: "
                f"expectation over random order, at k in the order of a seeded shuffle{how}; queries without a "
                "relevant item count as 0; chance: constant features"
            ),
            notes=[
                *([f"k capped at {k:,}, the size of the database (asked: {config.k:,})"] if k < config.k else []),
                *no_relevant_note(queries, database),
            ],
            items={"map_cosine": PerItem(precisions, names[0], queries.index)},
        )


def cosine_scores(
    queries: SearchSet, database: SearchSet, precisions: Tensor, k: int, config: RetrievalConfig, device: torch.device
) -> list[Score]:
    """Measure features: mAP@all, then measures at k by top-k search.

    Args:
        queries: The queries.
        database: All items.
        precisions: (Q,) average precision of each query.
        k: Ranks that count in measures at k.
        config: How the database is searched, and the name of the features.
        device: Device on which similarities are computed.
    """
    _, nearest = neighbour_search(database.features, device, config.search)(queries.features, k)
    hits, total = listed_relevance(queries, database, nearest)
    floor = chance(total, len(database), k)
    measured: Mapping[str, tuple[Tensor, float]] = {
        "map_cosine": (precisions, floor["map"]),
        f"map_cosine_at_{k}": (list_average_precision(hits, total.clamp(max=k)), floor["map_at_k"]),
        f"precision_cosine_at_{k}": (hits.double().mean(1), floor["precision"]),
    }
    return [
        Score(metric=metric, value=float(values.mean()), chance=level, embedding=config.embedding, n=len(values))
        for metric, (values, level) in measured.items()
    ]


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"retrieval": Retrieval}
