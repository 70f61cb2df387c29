"""Retrieval: how well nearness among binary codes, and among features, finds items of the same class.

Hamming distances are full of ties; mAP@all, mAP@k and P@k are expectations over all orders of the tied items.
A method's own code is used where it has one of the length asked for; elsewhere features become bits by random
projections (LSH), which a method that learns to hash should beat.

Paper:  Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002 (LSH by random hyperplanes);
        on ties see `bench_core.metrics`.

Shapes: Q queries, N items of the database, D features, B bits, L labels.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import DataSpec, Evaluation, Evaluator, Frozen, Objective, Score, hookimpl, param
from bench_core.labelled import labelled
from bench_core.metrics import (
    CHUNK_PAIRS,
    average_precision,
    ball_precision_recall,
    expected_average_precision,
    expected_precision,
    hamming_histograms,
    list_average_precision,
    relevance,
)
from bench_core.regions import count_distinct
from bench_core.search import top_k, top_k_hamming
from bench_core.seeds import stream, stream_seed
from bench_core.subsets import draw_index

DEFAULT_BITS = 32
RADIUS = 2


@dataclass(frozen=True, kw_only=True)
class RetrievalConfig:
    """Splits are counts, written out: splits of one name differ between papers."""

    embedding: str = param("features", "ranked by cosine, and hashed where there is no code", "usual")
    code_lengths: tuple[int, ...] = param((), "bits; none: the method's own length, or 32", "ours: 32 is usual")
    k: int = param(1000, "ranks of mAP@k and P@k, capped at the database", "DeepBit, BiHalf: mAP@1000")
    num_queries: int | None = param(None, "queries, drawn evenly from the classes; none for all", "ours")
    num_database: int | None = param(None, "items searched, drawn evenly from the classes; none for all", "ours")
    ranked_queries: int = param(
        2000, "queries at most for what needs sorted lists (cosine, over_hits)", "ours: 60,000 items take ms to sort"
    )

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("k", "num_queries", "num_database", "ranked_queries"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if min(self.code_lengths, default=1) < 1 or len(set(self.code_lengths)) < len(self.code_lengths):
            raise ValueError(f"code_lengths must be >= 1 and differ, got {self.code_lengths}")


@dataclass(frozen=True)
class Side:
    """Queries or database, shuffled: (N, D) features, (N,) or (N, L) labels, (N, B) bool bits where there is a code."""

    features: Tensor
    labels: Tensor
    code: Tensor | None

    def __len__(self) -> int:
        """Number of items."""
        return len(self.labels)

    def first(self, count: int) -> "Side":
        """A random part, as the items are shuffled."""
        code = None if self.code is None else self.code[:count]
        return Side(self.features[:count], self.labels[:count], code)


class Retrieval(Evaluator):
    """mAP by Hamming distance and by cosine, precision in the ball of radius 2, precision-recall over radii."""

    Config = RetrievalConfig

    def __init__(self, config: RetrievalConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Labels of either kind, two splits, and as many items as are asked for."""
        if data.num_classes is None and data.num_labels is None:
            return "needs labels"
        for split, count in zip(_split_names(data.splits), self._counts(), strict=True):
            if split not in data.splits:
                return f"needs a {split} split"
            if count is not None and count > data.splits[split]:
                return f"{count:,} items are asked of {split}, which has {data.splits[split]:,}"
        return None

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Rank the database for each query, by each code and by cosine."""
        config, splits = self.config, _split_names(frozen.splits)
        queries, database = (
            _side(frozen, split, config.embedding, count) for split, count in zip(splits, self._counts(), strict=True)
        )
        k, listed = min(config.k, len(database)), min(config.ranked_queries, len(queries))
        own_codes = None if queries.code is None or database.code is None else (queries.code, database.code)
        own = None if own_codes is None else own_codes[1].shape[1]
        scores: list[Score] = []
        curves, sources = {}, []
        for bits in config.code_lengths or (own or DEFAULT_BITS,):
            codes, source = own_codes, "code"
            if codes is None or bits != own:
                codes, source = lsh(queries, database, frozen, config.embedding, bits), f"lsh({config.embedding})"
            found, curves[f"pr_{bits}_bits"] = hamming_scores(
                codes, queries, database, k, listed, source, frozen.device
            )
            suffix = f"_{bits}_bits" if len(config.code_lengths) > 1 else ""
            scores += [replace(score, metric=score.metric + suffix) for score in found]
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
            notes=[f"k capped at {k:,}, the size of the database (asked: {config.k:,})"] if k < config.k else [],
            curves=curves,
        )

    def _counts(self) -> tuple[int | None, int | None]:
        return self.config.num_queries, self.config.num_database


def lsh(queries: Side, database: Side, frozen: Frozen, embedding: str, bits: int) -> tuple[Tensor, Tensor]:
    """Codes of both sides: the signs of Gaussian projections, after the training mean is taken off.

    Args:
        queries: Their features are hashed.
        database: As `queries`.
        frozen: Its training split gives the mean, its seed the projections.
        embedding: The one that both sides hold as features.
        bits: B.

    Returns:
        (Q, B) and (N, B), bool.
    """
    mean = labelled(frozen, "train", embedding)[0].mean(0)
    projections = torch.randn(len(mean), bits, generator=stream(frozen.seed, "retrieval", "lsh", str(bits)))
    return (queries.features - mean) @ projections > 0, (database.features - mean) @ projections > 0


def hamming_scores(
    codes: tuple[Tensor, Tensor], queries: Side, database: Side, k: int, listed: int, source: str, device: torch.device
) -> tuple[list[Score], Mapping[str, list[float]]]:
    """All that is measured on one code.

    Args:
        codes: (Q, B) and (N, B), bool.
        queries: Their labels are read.
        database: As `queries`.
        k: Ranks that count in measures at k.
        listed: The first so many queries get a sorted list.
        source: What the codes are made of, as scores name it.
        device: Where distances are counted.

    Returns:
        Scores, mAP@all first, and the precision-recall curve over radii 0 to B, averaged over queries.
    """
    sides = [side.to(device) for side in (*codes, queries.labels, database.labels)]
    items, relevant = hamming_histograms(sides[0], sides[1], sides[2], sides[3])
    precision, recall = ball_precision_recall(items, relevant)
    radius = min(RADIUS, codes[0].shape[1])
    hits, _ = _relevant(queries.first(listed), database, top_k_hamming(codes[0][:listed], codes[1], k)[1])
    chance = _chance(relevant.sum(1), len(database), k)
    measured = {
        "map_hamming": (expected_average_precision(items, relevant), chance["map"]),
        f"map_hamming_at_{k}": (expected_average_precision(items, relevant, k), chance["map_at_k"]),
        f"map_hamming_at_{k}_over_hits": (list_average_precision(hits, hits.sum(1)), None),
        f"precision_hamming_at_{k}": (expected_precision(items, relevant, k), chance["precision"]),
        f"precision_radius_{RADIUS}": (precision[:, radius], chance["precision"]),
        f"empty_radius_{RADIUS}": ((items[:, : radius + 1].sum(1) == 0).double(), 0.0),
    }
    counts = {"distinct_codes": count_distinct(codes[1]), "code_bits": codes[1].shape[1]}
    return [
        *_means(measured, source),
        *(Score(metric=c, value=v, unit="count", embedding=source, n=len(database)) for c, v in counts.items()),
    ], {"recall": recall.mean(0).tolist(), "precision": precision.mean(0).tolist()}


def cosine_scores(queries: Side, database: Side, k: int, embedding: str, device: torch.device) -> list[Score]:
    """All that is measured on features: mAP@all by sorting every item, measures at k by top-k search.

    Args:
        queries: Those that get a sorted list.
        database: All items.
        k: Ranks that count in measures at k.
        embedding: Name of the features.
        device: Where similarities are computed.
    """
    directions, targets = F.normalize(queries.features, dim=1), F.normalize(database.features, dim=1)
    hits, total = _relevant(queries, database, top_k(directions, targets, k, device)[1])
    targets, precisions = targets.to(device), list[float]()
    rows = max(1, CHUNK_PAIRS // len(database))
    for part, labels in zip(torch.split(directions, rows), torch.split(queries.labels, rows), strict=True):
        similar = (part.to(device) @ targets.T).cpu()
        precisions += map(average_precision, similar, relevance(labels, database.labels))
    chance = _chance(total, len(database), k)
    measured = {
        "map_cosine": (torch.tensor(precisions, dtype=torch.float64), chance["map"]),
        f"map_cosine_at_{k}": (list_average_precision(hits, total.clamp(max=k)), chance["map_at_k"]),
        f"precision_cosine_at_{k}": (hits.double().mean(1), chance["precision"]),
    }
    return _means(measured, embedding)


def _means(measured: Mapping[str, tuple[Tensor, float | None]], embedding: str) -> list[Score]:
    """Name -> (values of all queries, chance)."""
    return [
        Score(
            metric=name,
            value=float(values.mean()),
            higher_is_better=not name.startswith("empty"),
            chance=chance,
            embedding=embedding,
            n=len(values),
        )
        for name, (values, chance) in measured.items()
    ]


def _relevant(queries: Side, database: Side, index: Tensor) -> tuple[Tensor, Tensor]:
    """Which of the items listed for each query, index (Q, k), are relevant, (Q, k); how many there are in all, (Q,)."""
    rows = max(1, CHUNK_PAIRS // len(database))
    hits, total = torch.empty_like(index, dtype=torch.bool), torch.empty(len(index), dtype=torch.int64)
    parts = (torch.split(part, rows) for part in (queries.labels, index, hits, total))
    for labels, listed, hit, count in zip(*parts, strict=True):
        relevant = relevance(labels, database.labels)
        torch.gather(relevant, 1, listed, out=hit)
        torch.sum(relevant, 1, out=count)
    return hits, total


def _chance(total: Tensor, size: int, k: int) -> dict[str, float]:
    """What a constant code gets: everything is one tie. total: (Q,) relevant items of each query."""
    items, relevant = torch.full((len(total), 1), float(size)), total[:, None]
    return {
        "map": float(expected_average_precision(items, relevant).mean()),
        "map_at_k": float(expected_average_precision(items, relevant, k).mean()),
        "precision": float(expected_precision(items, relevant, k).mean()),
    }


def _split_names(splits: Collection[str]) -> tuple[str, str]:
    return ("query", "database") if {"query", "database"} <= set(splits) else ("test", "train")


def _side(frozen: Frozen, split: str, embedding: str, count: int | None) -> Side:
    """One split, or a part of it with as many of each class, shuffled."""
    features, labels = labelled(frozen, split, embedding)
    code = frozen.splits[split].embeddings.get("code")
    seed = stream_seed(frozen.seed, "retrieval", "draw", split) % 2**32
    index = draw_index(labels, len(labels), count or len(labels), seed)
    index = index[torch.randperm(len(index), generator=stream(frozen.seed, "retrieval", "shuffle", split))]
    return Side(features[index], labels[index], None if code is None else code[index] > 0)


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"retrieval": Retrieval}
