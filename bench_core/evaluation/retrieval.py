"""Queries and database of a search task, the relevant items of each query, and the scores of a constant code.

All search tasks draw queries and database here, so with one seed equal numbers of items are the same items.

Shapes: Q queries, N items of the database, D features, B bits, L labels, k ranks.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core.contracts import DataSpec, Frozen
from bench_core.data import draw_index
from bench_core.evaluation.embeddings import labelled_embedding
from bench_core.evaluation.ranking import (
    CHUNK_PAIRS,
    average_precision,
    average_precisions,
    expected_average_precision,
    expected_precision,
    relevance,
)
from bench_core.evaluation.rows import Features, as_features, blocks_of
from bench_core.seeds import stream, stream_seed

_LISTED_PAIRS = 2**20  # query-item pairs held at once to count relevant items; torch sums them as int64
_QUERIES = 128  # queries whose cosines with a database of several blocks are held at once


@dataclass(frozen=True)
class SearchSet:
    """The queries or the database of a search, in random order.

    Attributes:
        features: Features (N, D), a tensor or `Rows`.
        labels: Classes (N,) int64, or labels (N, L) bool.
        code: Bits (N, B) bool, or None if the method has no code.
        index: Positions (N,) int64 of the items in their split.
    """

    features: Features
    labels: Tensor
    code: Tensor | None
    index: Tensor

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.labels)


def split_names(splits: Collection[str]) -> tuple[str, str]:
    """Return the splits of queries and database: `query` and `database` if both exist, else `test` and `train`."""
    return ("query", "database") if {"query", "database"} <= set(splits) else ("test", "train")


def retrieval_skip_reason(data: DataSpec, counts: Sequence[int | None] = (None, None)) -> str | None:
    """Return the reason why a search task cannot use a dataset, or None if it can.

    Args:
        data: The dataset; it must have labels and two splits.
        counts: Numbers of queries and of database items that the task needs; None for any number.
    """
    if data.num_classes is None and data.num_labels is None:
        return "needs labels"
    for split, count in zip(split_names(data.splits), counts, strict=True):
        if split not in data.splits:
            return f"needs a {split} split"
        if count is not None and count > data.splits[split]:
            return f"{count:,} items are asked of {split}, which has {data.splits[split]:,}"
    return None


def read_search_set(frozen: Frozen, split: str, embedding: str, count: int | None = None) -> SearchSet:
    """Read a split, or a part of it that is balanced over classes, in random order.

    Args:
        frozen: The trained method; its seed decides the part and the order.
        split: Name of the split.
        embedding: Name of the embedding that becomes `features`.
        count: Number of items; None for all.
    """
    features, labels = labelled_embedding(frozen, split, embedding)
    code = frozen.splits[split].embeddings.get("code")
    seed = stream_seed(frozen.seed, "retrieval", "draw", split) % 2**32
    index = draw_index(labels, len(labels), count or len(labels), seed)
    index = index[torch.randperm(len(index), generator=stream(frozen.seed, "retrieval", "shuffle", split))]
    return SearchSet(as_features(features, index), labels[index], None if code is None else code[index] > 0, index)


def listed_relevance(queries: SearchSet, database: SearchSet, index: Tensor) -> tuple[Tensor, Tensor]:
    """Tell which of the items listed for each query are relevant, and count all relevant items of the database.

    Args:
        queries: Q queries.
        database: N items.
        index: Positions (Q, k) int64 in the database of the listed items.

    Returns:
        Relevance (Q, k) bool of the listed items, and numbers (Q,) int64 of relevant items.
    """
    rows = max(1, _LISTED_PAIRS // len(database))
    hits, total = torch.empty_like(index, dtype=torch.bool), torch.empty(len(index), dtype=torch.int64)
    chunks = (torch.split(values, rows) for values in (queries.labels, index, hits, total))
    for labels, listed, hit, count in zip(*chunks, strict=True):
        relevant = relevance(labels, database.labels)
        torch.gather(relevant, 1, listed, out=hit)
        torch.sum(relevant, 1, out=count)
    return hits, total


def cosine_average_precision(queries: SearchSet, database: SearchSet, device: torch.device) -> Tensor:
    """Return the average precision (Q,) float64 of each query, with the whole database ranked by cosine.

    A row of length 0 stays 0 and has cosine 0 with all items.
    """
    directions = torch.cat([F.normalize(block, dim=1) for _, _, block in blocks_of(queries.features)])
    rows = max(1, CHUNK_PAIRS // len(database))
    if device.type == "cuda":
        targets = torch.cat([F.normalize(block.to(device), dim=1) for _, _, block in blocks_of(database.features)])
        database_labels = database.labels.to(device)
        on_device = list[Tensor]()
        chunks = zip(torch.split(directions.to(device), rows), torch.split(queries.labels, rows), strict=True)
        for part, labels in chunks:
            relevant = relevance(labels.to(device), database_labels)
            on_device.append(average_precisions(part @ targets.T, relevant).cpu())
        return torch.cat(on_device)
    cosines = (part for group in _cosines(directions, database.features, device) for part in torch.split(group, rows))
    precisions = list[float]()
    for part in cosines:
        labels = queries.labels[len(precisions) : len(precisions) + len(part)]
        precisions += map(average_precision, part.cpu(), relevance(labels, database.labels))
    return torch.tensor(precisions, dtype=torch.float64)


def _cosines(directions: Tensor, database: Features, device: torch.device) -> Iterator[Tensor]:
    """Yield the cosines (q, N) of some queries at a time with all items of the database.

    Args:
        directions: Directions (Q, D) of the queries, of length 1 or 0.
        database: Features (N, D). `Rows` are read once for each 128 queries, whose cosines are held at once, in one
            tensor that the next queries overwrite.
        device: Device of the products; those of `Rows` are made on the CPU.
    """
    if isinstance(database, Tensor):
        targets = F.normalize(database, dim=1).to(device)
        for part in torch.split(directions.to(device), max(1, CHUNK_PAIRS // len(database))):
            yield part @ targets.T
        return
    cosines = torch.empty(min(_QUERIES, len(directions)), len(database))
    for part in torch.split(directions, _QUERIES):
        for start, end, block in blocks_of(database):
            cosines[: len(part), start:end] = part @ F.normalize(block, dim=1).T
        yield cosines[: len(part)]


def chance(total: Tensor, size: int, k: int) -> dict[str, float]:
    """Return `map`, `map_at_k` and `precision` of a constant code, for which all items are tied.

    Args:
        total: Number of relevant items of each query (Q,).
        size: Number of items N in the database.
        k: Number of ranks that count for `map_at_k` and `precision`.
    """
    items, relevant = torch.full((len(total), 1), float(size)), total[:, None]
    return {
        "map": float(expected_average_precision(items, relevant).mean()),
        "map_at_k": float(expected_average_precision(items, relevant, k).mean()),
        "precision": float(expected_precision(items, relevant, k).mean()),
    }


def no_relevant_note(queries: SearchSet, database: SearchSet) -> list[str]:
    """Return a note if some queries have no relevant item; all measures count these as 0."""
    _, total = listed_relevance(queries, database, torch.empty(len(queries), 0, dtype=torch.int64))
    count = int((total == 0).sum())
    return [f"{count:,} of {len(total):,} queries have no relevant item"] if count else []
