"""Task retrieval: search for items of the same class by Hamming distance of codes and by cosine of features.

Many items have the same Hamming distance (ties); mAP@all, mAP@k and P@k are expectations over all orders of tied items.
The method's own code is used if it has the wanted length; otherwise features become bits by random projections (LSH),
which a method that learns to hash should beat.

Paper:  Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002 (LSH by random hyperplanes);
        on ties see `bench_core.evaluation.ranking`.

Shapes: Q queries, N items of the database, D features, B bits, L labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import (
    Config,
    DataSpec,
    Evaluation,
    Evaluator,
    Frozen,
    Objective,
    PerItem,
    Score,
    hookimpl,
    param,
    stream,
)
from bench_core.evaluation.embeddings import embedding_of
from bench_core.evaluation.hamming import hamming_histograms
from bench_core.evaluation.hash_codes import lsh
from bench_core.evaluation.nearest_neighbours import top_k, top_k_hamming
from bench_core.evaluation.ranking import (
    ball_precision_recall,
    expected_average_precision,
    expected_precision,
    list_average_precision,
)
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
from bench_core.evaluation.sign_patterns import count_distinct

DEFAULT_BITS = 32
RADIUS = 2  # Hamming radius of the ball in which precision is measured


@dataclass(frozen=True, kw_only=True)
class RetrievalConfig(Config):
    """Parameters of the search. Split sizes are written as counts: splits of one name differ between papers."""

    embedding: str = param(
        "features", "name of the embedding that is ranked by cosine, and hashed where there is no code", "usual"
    )
    code_lengths: tuple[int, ...] = param(
        (), "code lengths in bits; empty uses the length of the method's own code, or 32", "ours: 32 is usual", ge=1
    )
    k: int = param(1000, "ranks that mAP@k and P@k count; at most all items", "DeepBit, BiHalf: mAP@1000", ge=1)
    num_queries: int | None = param(
        None, "number of queries, drawn evenly from the classes; none uses all", "ours", ge=1
    )
    num_database: int | None = param(
        None, "number of items that are searched, drawn evenly from the classes; none uses all", "ours", ge=1
    )
    ranked_queries: int = param(
        2000,
        "maximal number of queries for scores that need sorted lists (cosine, over_hits)",
        "ours: 60,000 items take ms to sort",
        ge=1,
    )

    def __post_init__(self) -> None:
        """Check ranges, and that no code length is given twice."""
        super().__post_init__()
        if len(set(self.code_lengths)) < len(self.code_lengths):
            raise ValueError(f"code_lengths must differ from each other, got {self.code_lengths}")


class Retrieval(Evaluator):
    """Search for items of the same class (mAP).

    The database is ranked for each query by the Hamming distance of binary codes and by the cosine of features. The
    first score is mAP of the method's own code, or of an LSH code of its features where it has none; precision and
    precision-recall curves follow. Needs labels (one or several an item), and the splits `query` and `database`, or
    else `test` and `train`.
    """

    Config = RetrievalConfig
    family = "retrieval"

    def __init__(self, config: RetrievalConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data without labels, without one of the two splits, or with fewer items than the config wants."""
        return retrieval_skip_reason(data, self._counts())

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Rank the database for each query, by each code and by cosine."""
        config, splits = self.config, split_names(frozen.splits)
        num_queries, num_database = self._counts()
        queries = read_search_set(frozen, splits[0], config.embedding, num_queries)
        database = read_search_set(frozen, splits[1], config.embedding, num_database)
        k, listed = min(config.k, len(database)), min(config.ranked_queries, len(queries))
        method_bits = None if queries.code is None or database.code is None else database.code.shape[1]
        scores: list[Score] = []
        curves, sources, precisions = {}, [], list[Tensor]()
        for bits in config.code_lengths or (method_bits or DEFAULT_BITS,):
            codes, source = self._codes(frozen, queries, database, bits)
            code_scores, curves[f"pr_{bits}_bits"], code_precisions = hamming_scores(
                codes, queries, database, k, listed, source, frozen.device
            )
            precisions.append(code_precisions)
            suffix = f"_{bits}_bits" if len(config.code_lengths) > 1 else ""
            scores += [replace(score, metric=score.metric + suffix) for score in code_scores]
            sources.append(f"{bits} bits from {source}")
        scores += cosine_scores(queries.first(listed), database, k, config.embedding, frozen.device)
        return Evaluation(
            scores=scores,
            protocol=(
                f"{len(queries):,} queries of {splits[0]} against {len(database):,} items of {splits[1]}; relevant: "
                f"{'same class' if queries.labels.ndim == 1 else 'a label in common'}; codes: {', '.join(sources)}; "
                f"Hamming ties: expectation over random order; mAP@all unless at k={k}; at k: divided by min(R, k), "
                "over_hits: by the hits among the k, ties in the order of a seeded shuffle; an empty ball of radius "
                f"{RADIUS} has precision 0; cosine and over_hits: {listed:,} of the queries; top-k by exact search; "
                "queries without a relevant item count as 0; PR curve: mean over queries; chance: a constant code"
            ),
            notes=[
                *([f"k capped at {k:,}, the size of the database (asked: {config.k:,})"] if k < config.k else []),
                *no_relevant_note(queries, database),
            ],
            curves=curves,
            items={scores[0].metric: PerItem(precisions[0], splits[0], queries.index)},
        )

    def _counts(self) -> tuple[int | None, int | None]:
        """Return the wanted numbers of queries and of database items; None for all."""
        return self.config.num_queries, self.config.num_database

    def _codes(
        self, frozen: Frozen, queries: SearchSet, database: SearchSet, bits: int
    ) -> tuple[tuple[Tensor, Tensor], str]:
        """Return codes (Q, B) and (N, B) with their source: the method's own of this length, or LSH of features."""
        if queries.code is not None and database.code is not None and database.code.shape[1] == bits:
            return (queries.code, database.code), "code"
        train = embedding_of(frozen.splits["train"], self.config.embedding).float()
        hashing = lsh(train, bits, stream(frozen.seed, "retrieval", "lsh", str(bits)))
        codes = hashing.codes(queries.features), hashing.codes(database.features)
        return codes, f"lsh({self.config.embedding})"


def hamming_scores(
    codes: tuple[Tensor, Tensor],
    queries: SearchSet,
    database: SearchSet,
    k: int,
    listed: int,
    source: str,
    device: torch.device,
) -> tuple[list[Score], Mapping[str, list[float]], Tensor]:
    """Measure one code.

    Args:
        codes: (Q, B) and (N, B), bool: codes of the queries and of the database.
        queries: Only the labels are read.
        database: Only the labels are read.
        k: Ranks that count in measures at k.
        listed: Number of queries, the first ones, whose database is sorted into a list.
        source: Source of the codes, written into the scores as their embedding.
        device: Device on which distances are counted.

    Returns:
        Scores, mAP@all first; the precision-recall curve over radii 0 to B, averaged over queries; and the average
        precision (Q,) of each query, whose mean is that mAP.
    """
    items, relevant = hamming_histograms(
        codes[0].to(device), codes[1].to(device), queries.labels.to(device), database.labels.to(device)
    )
    precision, recall = ball_precision_recall(items, relevant)
    radius = min(RADIUS, codes[0].shape[1])
    hits, _ = listed_relevance(queries.first(listed), database, top_k_hamming(codes[0][:listed], codes[1], k)[1])
    floor = chance(relevant.sum(1), len(database), k)
    measured = {
        "map_hamming": (expected_average_precision(items, relevant), floor["map"]),
        f"map_hamming_at_{k}": (expected_average_precision(items, relevant, k), floor["map_at_k"]),
        f"map_hamming_at_{k}_over_hits": (list_average_precision(hits, hits.sum(1)), None),
        f"precision_hamming_at_{k}": (expected_precision(items, relevant, k), floor["precision"]),
        f"precision_radius_{RADIUS}": (precision[:, radius], floor["precision"]),
        f"empty_radius_{RADIUS}": ((items[:, : radius + 1].sum(1) == 0).double(), 0.0),
    }
    counts = {"distinct_codes": count_distinct(codes[1]), "code_bits": codes[1].shape[1]}
    return (
        [
            *_means(measured, source),
            *(Score(metric=c, value=v, unit="count", embedding=source, n=len(database)) for c, v in counts.items()),
        ],
        {"recall": recall.mean(0).tolist(), "precision": precision.mean(0).tolist()},
        measured["map_hamming"][0],
    )


def cosine_scores(queries: SearchSet, database: SearchSet, k: int, embedding: str, device: torch.device) -> list[Score]:
    """Measure features: mAP@all by sorting every item, measures at k by top-k search.

    Args:
        queries: Queries whose database is sorted into a list.
        database: All items.
        k: Ranks that count in measures at k.
        embedding: Name of the features.
        device: Device on which similarities are computed.
    """
    directions, targets = F.normalize(queries.features, dim=1), F.normalize(database.features, dim=1)
    hits, total = listed_relevance(queries, database, top_k(directions, targets, k, device)[1])
    floor = chance(total, len(database), k)
    measured = {
        "map_cosine": (cosine_average_precision(queries, database, device), floor["map"]),
        f"map_cosine_at_{k}": (list_average_precision(hits, total.clamp(max=k)), floor["map_at_k"]),
        f"precision_cosine_at_{k}": (hits.double().mean(1), floor["precision"]),
    }
    return _means(measured, embedding)


def _means(measured: Mapping[str, tuple[Tensor, float | None]], embedding: str) -> list[Score]:
    """Average over queries; `measured` maps a metric to its value for each query (Q,) and its chance."""
    return [
        Score(
            metric=name,
            value=float(values.mean()),
            higher_is_better=not name.startswith("empty"),
            chance=floor,
            embedding=embedding,
            n=len(values),
        )
        for name, (values, floor) in measured.items()
    ]


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"retrieval": Retrieval}
