"""Approximate nearest-neighbour search by faiss: recall, distances computed, bytes and time of each index.

Recall, distances and bytes are the same on every machine; times are not. Everything runs on one thread: a graph that
several threads build differs from run to run.

Papers: Malkov, Yashunin, TPAMI 2018, https://arxiv.org/abs/1603.09320 (HNSW); Jegou, Douze, Schmid, "Product
        quantization for nearest neighbor search", TPAMI 2011 (inverted lists, IVF-PQ). Recall by similarity and not by
        number, as in Aumueller, Bernhardsson, Faithfull, "ANN-Benchmarks", 2018, https://arxiv.org/abs/1807.05614

Shapes: Q queries, N items of the database, D features, k neighbours.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal, get_args

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from bench_core.evaluation.nearest_neighbours import import_faiss, top_k

Kind = Literal["ivf_pq", "ivf_flat", "hnsw"]
KINDS: tuple[Kind, ...] = get_args(Kind)
KNOB = {"hnsw": "efSearch", "ivf_flat": "nprobe", "ivf_pq": "nprobe"}  # the parameter that trades recall for time
LINKS = 32  # links of each node of HNSW's graph
_PARTS = 16  # parts of a vector in IVF-PQ, at most: 16 bytes an item, and seconds of training
_POINTS = 39  # items for each k-means centroid; faiss warns if there are fewer
_TIE = 1e-6  # cosines that differ by less are equal
_TIMED = 100  # single queries, of whose times the median is taken


@dataclass(frozen=True)
class Search:
    """Search with one setting of an index.

    Attributes:
        setting: Value of the index's parameter in `KNOB`.
        recall: Recall at k, in [0, 1].
        distances: Distances computed for a query, in the mean.
        ms: Time of a single query in milliseconds.
    """

    setting: int
    recall: float
    distances: float
    ms: float


@dataclass(frozen=True)
class Cost:
    """Cost of one index.

    Attributes:
        bytes_per_item: Size of the index in bytes / number of items.
        build_s: Time to train and fill the index in seconds.
        searches: One search for each setting.
    """

    bytes_per_item: float
    build_s: float
    searches: Sequence[Search]


def exact_cost(queries: Tensor, database: Tensor, k: int) -> Cost:
    """Measure exact search, an index without a parameter (its setting is 0).

    Args:
        queries: (Q, D) float32, rows of length 1, or 0.
        database: (N, D) float32, as `queries`.
        k: Neighbours, at most N.
    """
    faiss = import_faiss()
    index = faiss.IndexFlatIP(database.shape[1])
    with threadpool_limits(1):
        build_s = _build(index, _rows(database))
        search = Search(0, 1.0, float(len(database)), _milliseconds(index, _rows(queries), k))
    return Cost(_bytes(index) / len(database), build_s, [search])


def approximate_cost(kind: Kind, queries: Tensor, database: Tensor, k: int, settings: Sequence[int]) -> Cost:
    """Build one index and search it at each setting.

    Args:
        kind: Kind of index.
        queries: (Q, D) float32, rows of length 1, or 0.
        database: (N, D) float32, as `queries`.
        k: Neighbours, at most N.
        settings: Values of the parameter `KNOB[kind]`: candidates that HNSW keeps, or lists that are searched.

    Returns:
        The cost of the index. Recall is the part of the returned items that are as near as the k-th true neighbour, to
        1e-6.
    """
    faiss, rows = import_faiss(), _rows(queries)
    similar, _ = top_k(queries, database, k)
    bound = similar[:, -1:].double() - _TIE
    with threadpool_limits(1):
        index = _make_index(kind, *database.shape)
        build_s, searches = _build(index, _rows(database)), []
        for setting in settings:
            setattr(index.hnsw if kind == "hnsw" else index, KNOB[kind], setting)
            faiss.cvar.hnsw_stats.reset()
            faiss.cvar.indexIVF_stats.reset()
            neighbours = torch.from_numpy(index.search(rows, k)[1])  # -1 where fewer than k are returned
            computed = faiss.cvar.hnsw_stats.ndis if kind == "hnsw" else faiss.cvar.indexIVF_stats.ndis
            distances = computed / len(rows) + (0 if kind == "hnsw" else index.nlist)
            cosine = (database[neighbours.clamp(min=0)].double() @ queries.double()[:, :, None]).squeeze(2)
            hits = (cosine >= bound) & (neighbours >= 0)
            searches.append(Search(setting, float(hits.double().mean()), distances, _milliseconds(index, rows, k)))
    return Cost(_bytes(index) / len(database), build_s, searches)


def num_lists(items: int) -> int:
    """Return the number of inverted lists for N items: 4 sqrt(N) (faiss' wiki), or as many as k-means has items for."""
    return max(1, min(round(4 * math.sqrt(items)), items // _POINTS))


def pq_shape(items: int, dims: int) -> tuple[int, int]:
    """Return the parts of a vector and the bits of each part in product quantisation.

    Parts are the largest divisor of D up to 16 and D / 4. Bits are 8, or fewer if there are not enough items to train
    2^8 centroids.
    """
    parts = max(m for m in range(1, max(1, min(_PARTS, dims // 4)) + 1) if dims % m == 0)
    return parts, max(1, min(8, int(math.log2(max(2, items // _POINTS)))))


def _make_index(kind: Kind, items: int, dims: int) -> Any:
    """Make an empty, untrained index for inner products."""
    faiss = import_faiss()
    if kind == "hnsw":
        return faiss.IndexHNSWFlat(dims, LINKS, faiss.METRIC_INNER_PRODUCT)
    quantizer, lists = faiss.IndexFlatIP(dims), num_lists(items)
    if kind == "ivf_flat":
        index = faiss.IndexIVFFlat(quantizer, dims, lists, faiss.METRIC_INNER_PRODUCT)
    else:
        index = faiss.IndexIVFPQ(quantizer, dims, lists, *pq_shape(items, dims), faiss.METRIC_INNER_PRODUCT)
        index.pq.cp.min_points_per_centroid = 1  # else faiss prints a warning
    index.cp.min_points_per_centroid = 1
    index.own_fields = True
    quantizer.this.disown()
    return index


def _build(index: Any, rows: Any) -> float:
    """Train the index and add all items; return the time in seconds."""
    start = time.perf_counter()
    index.train(rows)
    index.add(rows)
    return time.perf_counter() - start


def _milliseconds(index: Any, rows: Any, k: int) -> float:
    """Return the median time of single queries."""
    times = []
    for row in rows[:_TIMED]:
        start = time.perf_counter()
        index.search(row[None], k)
        times.append(time.perf_counter() - start)
    return 1000 * median(times)


def _bytes(index: Any) -> int:
    """Return the size of the index on disk."""
    return len(import_faiss().serialize_index(index))


def _rows(values: Tensor) -> Any:
    """Return values as the float32 array that faiss reads."""
    return np.ascontiguousarray(values.float().numpy())
