"""Search by an index of faiss, which compares a query with a part of the items, where exact search is too dear.

    ivf    inverted lists around k-means centres; the lists of the nearest centres are searched
    hnsw   a graph in which near items are linked; slow to build, fast for many queries

How an index is built and searched follows from the number of items alone, so that its answers are the same everywhere.
A query for which it finds fewer items than were asked is searched exactly.

Papers: Jegou, Douze, Schmid, TPAMI 2011 (inverted lists); Malkov, Yashunin, TPAMI 2018,
        https://arxiv.org/abs/1603.09320 (HNSW)
Note:   an inverted file is moved to the GPU where faiss is built for one and the task runs there; this is untested.

Shapes: Q queries, N items of the database, D features, k neighbours.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits
from torch import Tensor

from bench_core.evaluation.nearest_neighbours import import_faiss, query_parts, top_k_cosine
from bench_core.evaluation.rows import Features, blocks_of

Search = Literal["exact", "ivf", "hnsw"]
Find = Callable[[Features, int], tuple[Tensor, Tensor]]
_LINKS = 32  # of each node of HNSW's graph
_POINTS = 39  # items for each k-means centre; faiss warns if there are fewer
_SAMPLED = 128  # items for each centre that k-means is fitted to, at most
_PARTS = 16  # one in so many lists is searched, ...
_LEAST = 8  # ... and no fewer than these
_CANDIDATES = 128  # that HNSW keeps while it searches, or k where that is more


def neighbour_search(database: Features, device: torch.device | str = "cpu", search: Search = "exact") -> Find:
    """Return a function that finds the items of largest cosine: queries (Q, D) and k -> cosines and positions (Q, k).

    Args:
        database: Features (N, D).
        device: Device of the search.
        search: "exact", or an index, which is built at once.
    """
    if search == "exact":
        return partial(_exact, database, device)
    index = _built(search, database)
    if search == "ivf" and torch.device(device).type == "cuda" and hasattr(import_faiss(), "index_cpu_to_all_gpus"):
        index = import_faiss().index_cpu_to_all_gpus(index)
    return partial(_by_index, index, database)


def describe_search(search: Search, items: int) -> str:
    """Say in words, for a protocol, how a database of N items is searched; "" for exact search."""
    lists, searched = inverted_lists(items)
    return {
        "exact": "",
        "ivf": f"searched approximately: {lists:,} inverted lists (faiss), of which {searched:,} are compared",
        "hnsw": f"searched approximately: HNSW (faiss), {_LINKS} links, {_CANDIDATES} candidates or k if more",
    }[search]


def inverted_lists(items: int) -> tuple[int, int]:
    """Return the number of inverted lists for N items, and how many of them are searched."""
    lists = max(1, min(round(4 * math.sqrt(items)), items // _POINTS))
    return lists, min(lists, max(_LEAST, lists // _PARTS))


def _exact(database: Features, device: torch.device | str, queries: Features, k: int) -> tuple[Tensor, Tensor]:
    return top_k_cosine(queries, database, k, device)


def _built(search: Search, database: Features) -> Any:
    """Build an index, on one thread: several would build another graph each time."""
    faiss, (items, dims) = import_faiss(), database.shape
    with threadpool_limits(1):
        if search == "hnsw":
            index = faiss.IndexHNSWFlat(dims, _LINKS, faiss.METRIC_INNER_PRODUCT)
        else:
            lists, searched = inverted_lists(items)
            index = faiss.index_factory(dims, f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
            index.nprobe, index.cp.min_points_per_centroid = searched, 1
            drawn = torch.arange(0, items, max(1, items // (_SAMPLED * lists)))
            index.train(torch.cat([F.normalize(rows, dim=1) for rows in query_parts(database[drawn], 1)]).numpy())
        for _, _, block in blocks_of(database):
            index.add(F.normalize(block.float(), dim=1).numpy())
    return index


def _by_index(index: Any, database: Features, queries: Features, k: int) -> tuple[Tensor, Tensor]:
    if hasattr(index, "hnsw"):
        index.hnsw.efSearch = max(_CANDIDATES, k)
    found = list[tuple[Tensor, Tensor]]()
    for rows in query_parts(queries, k):
        values, positions = map(torch.from_numpy, index.search(F.normalize(rows.float(), dim=1).numpy(), k))
        lacking = (positions < 0).any(1)
        if lacking.any():
            values[lacking], positions[lacking] = top_k_cosine(rows[lacking], database, k)
        found.append((values, positions))
    return torch.cat([values for values, _ in found]), torch.cat([positions for _, positions in found])
