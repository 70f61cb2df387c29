"""Queries against a database: which items stand on either side, which are relevant, and what a constant code gets.

Tasks that search share these draws: at a seed, equal counts are equal items.

Shapes: Q queries, N items of the database, D features, B bits, L labels, k ranks.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core.contracts import DataSpec, Frozen
from bench_core.data import draw_index
from bench_core.evaluation.embeddings import labelled
from bench_core.evaluation.ranking import (
    CHUNK_PAIRS,
    average_precision,
    average_precisions,
    expected_average_precision,
    expected_precision,
    relevance,
)
from bench_core.seeds import stream, stream_seed


@dataclass(frozen=True)
class Side:
    """Queries or database, shuffled.

    Attributes:
        features: (N, D).
        labels: (N,) or (N, L).
        code: (N, B) bool bits where there is a code.
        index: (N,) int64 positions in their split.
    """

    features: Tensor
    labels: Tensor
    code: Tensor | None
    index: Tensor

    def __len__(self) -> int:
        """Number of items."""
        return len(self.labels)

    def first(self, count: int) -> "Side":
        """A random part, as the items are shuffled."""
        code = None if self.code is None else self.code[:count]
        return Side(self.features[:count], self.labels[:count], code, self.index[:count])


def split_names(splits: Collection[str]) -> tuple[str, str]:
    """Splits of the queries and of the database: `query` and `database` where there are both, else `test`, `train`."""
    return ("query", "database") if {"query", "database"} <= set(splits) else ("test", "train")


def why_no_search(data: DataSpec, counts: Sequence[int | None] = (None, None)) -> str | None:
    """Why labelled items cannot be searched for, or None.

    Args:
        data: Asked for labels of either kind and two splits.
        counts: Items asked of queries and database; none: any.
    """
    if data.num_classes is None and data.num_labels is None:
        return "needs labels"
    for split, count in zip(split_names(data.splits), counts, strict=True):
        if split not in data.splits:
            return f"needs a {split} split"
        if count is not None and count > data.splits[split]:
            return f"{count:,} items are asked of {split}, which has {data.splits[split]:,}"
    return None


def read_side(frozen: Frozen, split: str, embedding: str, count: int | None = None) -> Side:
    """One split, or a part of it with as many of each class, shuffled.

    Args:
        frozen: Its seed decides.
        split: Which one.
        embedding: Becomes the features.
        count: Items; none: all.
    """
    features, labels = labelled(frozen, split, embedding)
    code = frozen.splits[split].embeddings.get("code")
    seed = stream_seed(frozen.seed, "retrieval", "draw", split) % 2**32
    index = draw_index(labels, len(labels), count or len(labels), seed)
    index = index[torch.randperm(len(index), generator=stream(frozen.seed, "retrieval", "shuffle", split))]
    return Side(features[index], labels[index], None if code is None else code[index] > 0, index)


def listed_relevance(queries: Side, database: Side, index: Tensor) -> tuple[Tensor, Tensor]:
    """Which of the items listed for each query are relevant, and how many there are in all.

    Args:
        queries: Q of them.
        database: N items.
        index: (Q, k) int64 positions in the database.

    Returns:
        (Q, k) bool and (Q,) int64.
    """
    rows = max(1, CHUNK_PAIRS // len(database))
    hits, total = torch.empty_like(index, dtype=torch.bool), torch.empty(len(index), dtype=torch.int64)
    parts = (torch.split(part, rows) for part in (queries.labels, index, hits, total))
    for labels, listed, hit, count in zip(*parts, strict=True):
        relevant = relevance(labels, database.labels)
        torch.gather(relevant, 1, listed, out=hit)
        torch.sum(relevant, 1, out=count)
    return hits, total


def cosine_average_precision(queries: Side, database: Side, device: torch.device) -> Tensor:
    """Average precision of each query, the whole database sorted by cosine: (Q,) float64; rows of length 0 stay 0."""
    directions, targets = (F.normalize(side.features, dim=1).to(device) for side in (queries, database))
    parts = (torch.split(rows, max(1, CHUNK_PAIRS // len(database))) for rows in (directions, queries.labels))
    if device.type == "cuda":
        known = database.labels.to(device)
        found = [
            average_precisions(d @ targets.T, relevance(y.to(device), known)).cpu() for d, y in zip(*parts, strict=True)
        ]
        return torch.cat(found)
    precisions = list[float]()
    for part, labels in zip(*parts, strict=True):
        precisions += map(average_precision, (part @ targets.T).cpu(), relevance(labels, database.labels))
    return torch.tensor(precisions, dtype=torch.float64)


def chance(total: Tensor, size: int, k: int) -> dict[str, float]:
    """What a constant code gets, as everything is one tie: the floor of `map`, `map_at_k` and `precision`.

    Args:
        total: (Q,) relevant items of each query.
        size: N.
        k: Ranks that count.
    """
    items, relevant = torch.full((len(total), 1), float(size)), total[:, None]
    return {
        "map": float(expected_average_precision(items, relevant).mean()),
        "map_at_k": float(expected_average_precision(items, relevant, k).mean()),
        "precision": float(expected_precision(items, relevant, k).mean()),
    }


def note_of_none(queries: Side, database: Side) -> list[str]:
    """A note where some queries have no relevant item, as every measure counts them as 0."""
    _, total = listed_relevance(queries, database, torch.empty(len(queries), 0, dtype=torch.int64))
    none = int((total == 0).sum())
    return [f"{none:,} of {len(total):,} queries have no relevant item"] if none else []
