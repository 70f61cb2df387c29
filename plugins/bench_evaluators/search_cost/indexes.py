"""Approximate nearest neighbours by faiss: what they find, and what a query costs.

Recall, distance computations and bytes are the same on every machine; times are not, and stand apart. All is done in
one thread: a graph that several threads build is another one each time.

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
KNOB = {"hnsw": "efSearch", "ivf_flat": "nprobe", "ivf_pq": "nprobe"}  # what trades recall for time
LINKS = 32  # of a node of HNSW's graph
_PARTS = 16  # of a vector in IVF-PQ at most: 16 bytes an item, and seconds of training
_POINTS = 39  # items that a k-means centroid needs, as faiss warns below it
_TIE = 1e-6  # cosines nearer than this are equal
_TIMED = 100  # single queries that the time is the median of


@dataclass(frozen=True)
class Search:
    """One setting of an index: recall at k, distances computed for a query, milliseconds of one query."""

    setting: int
    recall: float
    distances: float
    ms: float


@dataclass(frozen=True)
class Cost:
    """One index: bytes an item, seconds to build, and its searches by setting."""

    bytes_per_item: float
    build_s: float
    searches: Sequence[Search]


def exact_cost(queries: Tensor, database: Tensor, k: int) -> Cost:
    """Exact search as one more index, without a setting (0); arguments as for `approximate_cost`."""
    faiss = import_faiss()
    index = faiss.IndexFlatIP(database.shape[1])
    with threadpool_limits(1):
        build_s = _built(index, _rows(database))
        search = Search(0, 1.0, float(len(database)), _milliseconds(index, _rows(queries), k))
    return Cost(_bytes(index) / len(database), build_s, [search])


def approximate_cost(kind: Kind, queries: Tensor, database: Tensor, k: int, settings: Sequence[int]) -> Cost:
    """Build one index and search it at each setting.

    Args:
        kind: Which index.
        queries: (Q, D) float32, rows of length 1, or 0.
        database: (N, D) float32, as `queries`.
        k: Neighbours, at most N.
        settings: Of `KNOB[kind]`: candidates that HNSW keeps, or lists that are searched.

    Returns:
        Recall is the part of the items found that are as near as the k-th true neighbour, to 1e-6.
    """
    faiss, rows = import_faiss(), _rows(queries)
    similar, _ = top_k(queries, database, k)
    bound = similar[:, -1:].double() - _TIE
    with threadpool_limits(1):
        index = _index(kind, *database.shape)
        build_s, searches = _built(index, _rows(database)), []
        for setting in settings:
            setattr(index.hnsw if kind == "hnsw" else index, KNOB[kind], setting)
            faiss.cvar.hnsw_stats.reset()
            faiss.cvar.indexIVF_stats.reset()
            found = torch.from_numpy(index.search(rows, k)[1])
            computed = faiss.cvar.hnsw_stats.ndis if kind == "hnsw" else faiss.cvar.indexIVF_stats.ndis
            distances = computed / len(rows) + (0 if kind == "hnsw" else index.nlist)
            cosine = (database[found.clamp(min=0)].double() @ queries.double()[:, :, None]).squeeze(2)
            hits = (cosine >= bound) & (found >= 0)
            searches.append(Search(setting, float(hits.double().mean()), distances, _milliseconds(index, rows, k)))
    return Cost(_bytes(index) / len(database), build_s, searches)


def num_lists(items: int) -> int:
    """Inverted lists of N items: 4 sqrt(N) (faiss' wiki), and no more than k-means has enough items for."""
    return max(1, min(round(4 * math.sqrt(items)), items // _POINTS))


def pq_shape(items: int, dims: int) -> tuple[int, int]:
    """Parts of a vector (the largest divisor of D up to 16 and D / 4), bits of each: 8, or what N items can teach."""
    parts = max(m for m in range(1, max(1, min(_PARTS, dims // 4)) + 1) if dims % m == 0)
    return parts, max(1, min(8, int(math.log2(max(2, items // _POINTS)))))


def _index(kind: Kind, items: int, dims: int) -> Any:
    """Empty and untrained; inner products."""
    faiss = import_faiss()
    if kind == "hnsw":
        return faiss.IndexHNSWFlat(dims, LINKS, faiss.METRIC_INNER_PRODUCT)
    quantizer, lists = faiss.IndexFlatIP(dims), num_lists(items)
    if kind == "ivf_flat":
        index = faiss.IndexIVFFlat(quantizer, dims, lists, faiss.METRIC_INNER_PRODUCT)
    else:
        index = faiss.IndexIVFPQ(quantizer, dims, lists, *pq_shape(items, dims), faiss.METRIC_INNER_PRODUCT)
        index.pq.cp.min_points_per_centroid = 1  # it would warn on the standard error
    index.cp.min_points_per_centroid = 1
    index.own_fields = True
    quantizer.this.disown()
    return index


def _built(index: Any, rows: Any) -> float:
    start = time.perf_counter()
    index.train(rows)
    index.add(rows)
    return time.perf_counter() - start


def _milliseconds(index: Any, rows: Any, k: int) -> float:
    """Of one query by itself, the median."""
    times = []
    for row in rows[:_TIMED]:
        start = time.perf_counter()
        index.search(row[None], k)
        times.append(time.perf_counter() - start)
    return 1000 * median(times)


def _bytes(index: Any) -> int:
    return len(import_faiss().serialize_index(index))


def _rows(values: Tensor) -> Any:
    return np.ascontiguousarray(values.float().numpy())
