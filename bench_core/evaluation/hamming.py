"""How many items, and how many relevant ones, lie at each Hamming distance: all that ranks by it depend on.

Distances are small integers, so counting takes the place of sorting. On a CPU faiss counts bits, 64 at a time, and
what is then counted are bytes, distance and relevance of one item; two neighbours are one number, which halves the
work.
Elsewhere (CUDA) distances are products of signs.

Shapes: Q queries, N items of the database, B bits, L labels.
"""

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench_core.evaluation.nearest_neighbours import import_faiss
from bench_core.evaluation.ranking import CHUNK_PAIRS, relevance

_CACHED_PAIRS = 2**19  # query-item pairs held at once on a CPU, whose caches hold them
Array = npt.NDArray[Any]


def hamming_histograms(
    queries: Tensor, database: Tensor, query_labels: Tensor, database_labels: Tensor, chunk_pairs: int = CHUNK_PAIRS
) -> tuple[Tensor, Tensor]:
    """Count the items, and the relevant items, at each Hamming distance from each query.

    Args:
        queries: (Q, B) bool bits, on the device that shall do the work.
        database: (N, B) bool bits.
        query_labels: As in `relevance`.
        database_labels: As in `relevance`.
        chunk_pairs: Pairs held at once, at most; the counts do not depend on it.

    Returns:
        Items (Q, B + 1) and relevant items (Q, B + 1), float64, on the CPU; all that ranks by Hamming distance need.
    """
    bits = queries.shape[1]
    # Irrelevant at each distance, then relevant; in one piece, as small ones would break up the heap.
    counts = torch.empty(len(queries), 2 * (bits + 1), dtype=torch.int64)
    count = _count_by_popcount if queries.device.type == "cpu" else _count_by_products
    count(queries, database, query_labels, database_labels, chunk_pairs, counts)
    irrelevant, relevant = counts.double().view(-1, 2, bits + 1).unbind(1)
    return irrelevant + relevant, relevant


def _count_by_popcount(
    queries: Tensor, database: Tensor, query_labels: Tensor, database_labels: Tensor, chunk_pairs: int, counts: Tensor
) -> None:
    """On a CPU; in NumPy, which compares and narrows numbers several times faster than torch does."""
    faiss, items, bins = import_faiss(), len(database), counts.shape[1] // 2
    table = counts.numpy().reshape(-1, 2, bins)
    rows = max(1, min(chunk_pairs, _CACHED_PAIRS) // items)
    words, columns, one_label = _words(queries), _words(database), query_labels.ndim == 1
    if one_label:  # what a query asks for then lies side by side
        database_labels, order = database_labels.sort()
        columns = columns[order.numpy()]
        first, last = (torch.searchsorted(database_labels, query_labels, right=end).tolist() for end in (False, True))
    distances = np.empty((rows, items), np.int32)
    keys = np.zeros((rows, items + items % 2), np.uint8 if bins <= 128 else np.int32)
    for start in range(0, len(queries), rows):
        part = words[start : start + rows]
        _distances(faiss, part, columns, distances)
        np.copyto(keys[: len(part), :items], distances[: len(part)], casting="unsafe")
        if not one_label:
            asked = relevance(query_labels[start : start + rows], database_labels).numpy()
            keys[: len(part), :items] += asked.astype(keys.dtype) * keys.dtype.type(bins)
        for row, query in enumerate(range(start, start + len(part))):
            if one_label:
                relevant = _histogram(faiss, distances[row, first[query] : last[query]], bins)
                table[query] = _count_numbers(faiss, keys[row], bins) - relevant, relevant
            else:
                table[query] = _count_numbers(faiss, keys[row], 2 * bins).reshape(2, bins)
    table[:, 0, 0] -= items % 2  # what made the rows of keys even


def _count_by_products(
    queries: Tensor, database: Tensor, query_labels: Tensor, database_labels: Tensor, chunk_pairs: int, counts: Tensor
) -> None:
    bins, bits = counts.shape[1], queries.shape[1]
    rows = max(1, min(chunk_pairs // len(database), 2**24 // bins))  # float32 holds keys exactly up to 2**24
    # Signs, not {0, 1}: the product of zeros and ones counts common ones, which is no distance.
    signs = 1 - 2 * database.float()
    first = (torch.arange(rows, device=queries.device) * bins + bits / 2)[:, None]
    parts = (torch.split(part, rows) for part in (queries, query_labels, counts))
    for code, labels, count in zip(*parts, strict=True):
        key = torch.addmm(first[: len(code)], code.float() - 0.5, signs.T)  # row * bins + distance
        key.add_(relevance(labels, database_labels).to(key), alpha=bits + 1)
        count.copy_(torch.bincount(key.long().flatten(), minlength=count.numel()).view_as(count))


def _words(bits: Tensor) -> Array:
    """Bits (n, B) packed into bytes (n, 8 ceil(B / 64)): whole words, the rest of the last one 0."""
    packed = np.packbits(bits.numpy(), axis=1)
    return np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8)))


def _distances(faiss: ModuleType, queries: Array, database: Array, out: Array) -> None:
    """Between packed codes (n, W) and (N, W), into the first n rows of out, int32 (>= n, N)."""
    codes, columns, found = (faiss.swig_ptr(array) for array in (queries, database, out))
    faiss.hammings(codes, columns, len(queries), len(database), queries.shape[1], found)


def _relevant(query_labels: Tensor, database_labels: Tensor) -> Array:
    if query_labels.ndim == 1:
        found: Array = query_labels.numpy()[:, None] == database_labels.numpy()
        return found
    return relevance(query_labels, database_labels).numpy()


def _count_numbers(faiss: ModuleType, numbers: Array, bins: int) -> Array:
    """How often each of 0, ..., bins - 1 is among numbers (n,), int32, or uint8 and n even: (bins,) int32."""
    if numbers.dtype == np.int32:
        return _histogram(faiss, numbers, bins)
    pairs = _histogram(faiss, numbers.view(np.uint16).astype(np.int32), 256 * bins).reshape(bins, 256)[:, :bins]
    counts: Array = pairs.sum(0, dtype=np.int32) + pairs.sum(1, dtype=np.int32)
    return counts


def _histogram(faiss: ModuleType, numbers: Array, bins: int) -> Array:
    counts = np.empty(bins, np.int32)
    faiss.ivec_hist(len(numbers), faiss.swig_ptr(numbers), bins, faiss.swig_ptr(counts))
    return counts
