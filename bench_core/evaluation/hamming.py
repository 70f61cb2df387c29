"""Histograms of Hamming distances: how many items, and how many relevant items, lie at each distance from a query.

All measures of rankings by Hamming distance depend on these counts alone. Distances are small integers, so counting
takes the place of sorting. On a CPU faiss computes the distances, 64 bits at a time; distance and relevance of an item
then make one byte, and two neighbouring bytes are counted as one number, which halves the work. On CUDA, distances are
products of signs.

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

_CACHED_PAIRS = 2**19  # query-item pairs held at once on a CPU; they fit into its caches
Array = npt.NDArray[Any]


def hamming_histograms(
    queries: Tensor, database: Tensor, query_labels: Tensor, database_labels: Tensor, chunk_pairs: int = CHUNK_PAIRS
) -> tuple[Tensor, Tensor]:
    """Count the items, and the relevant items, at each Hamming distance from each query.

    Args:
        queries: Bits (Q, B) bool, on the device that computes.
        database: Bits (N, B) bool.
        query_labels: Labels as for `relevance`.
        database_labels: Labels as for `relevance`.
        chunk_pairs: Largest number of pairs held at once; the counts do not depend on it.

    Returns:
        Numbers of items (Q, B + 1) and of relevant items (Q, B + 1) at distances 0 to B, float64, on the CPU.
    """
    bits = queries.shape[1]
    # Irrelevant items at each distance, then relevant ones. One tensor, as many small ones would fragment the heap.
    counts = torch.empty(len(queries), 2 * (bits + 1), dtype=torch.int64)
    count = _count_by_popcount if queries.device.type == "cpu" else _count_by_products
    count(queries, database, query_labels, database_labels, chunk_pairs, counts)
    irrelevant, relevant = counts.double().view(-1, 2, bits + 1).unbind(1)
    return irrelevant + relevant, relevant


def _count_by_popcount(
    queries: Tensor, database: Tensor, query_labels: Tensor, database_labels: Tensor, chunk_pairs: int, counts: Tensor
) -> None:
    """Fill `counts` on a CPU; NumPy compares and narrows numbers several times faster than torch does."""
    faiss, items, bins = import_faiss(), len(database), counts.shape[1] // 2
    table = counts.numpy().reshape(-1, 2, bins)  # a view of `counts`: query, irrelevant or relevant, distance
    rows = max(1, min(chunk_pairs, _CACHED_PAIRS) // items)
    query_words, database_words = _words(queries), _words(database)
    one_label = query_labels.ndim == 1
    if one_label:  # with the database sorted by class, the relevant items of a query are one range
        database_labels, order = database_labels.sort()
        database_words = database_words[order.numpy()]
        first, last = (torch.searchsorted(database_labels, query_labels, right=end).tolist() for end in (False, True))
    distances = np.empty((rows, items), np.int32)
    # Bytes are counted in pairs, so each row of keys has an even length; an extra key stays 0.
    keys = np.zeros((rows, items + items % 2), np.uint8 if bins <= 128 else np.int32)
    for start in range(0, len(queries), rows):
        part = query_words[start : start + rows]
        _distances(faiss, part, database_words, distances)
        np.copyto(keys[: len(part), :items], distances[: len(part)], casting="unsafe")
        if not one_label:  # the key of a relevant item is its distance + bins
            relevant = relevance(query_labels[start : start + rows], database_labels).numpy()
            keys[: len(part), :items] += relevant.astype(keys.dtype) * keys.dtype.type(bins)
        for row, query in enumerate(range(start, start + len(part))):
            if one_label:
                hits = _histogram(faiss, distances[row, first[query] : last[query]], bins)
                table[query] = _count_numbers(faiss, keys[row], bins) - hits, hits
            else:
                table[query] = _count_numbers(faiss, keys[row], 2 * bins).reshape(2, bins)
    table[:, 0, 0] -= items % 2  # the extra key counted as an irrelevant item at distance 0


def _count_by_products(
    queries: Tensor, database: Tensor, query_labels: Tensor, database_labels: Tensor, chunk_pairs: int, counts: Tensor
) -> None:
    """Fill `counts` on any device: the key `row * bins + distance` of each pair is a product, and keys are counted."""
    bins, bits = counts.shape[1], queries.shape[1]
    rows = max(1, min(chunk_pairs // len(database), 2**24 // bins))  # float32 holds keys exactly up to 2**24
    # Signs, not {0, 1}: a product of zeros and ones counts the ones in common, which is not a distance.
    signs = 1 - 2 * database.float()
    first = (torch.arange(rows, device=queries.device) * bins + bits / 2)[:, None]
    parts = (torch.split(part, rows) for part in (queries, query_labels, counts))
    for code, labels, count in zip(*parts, strict=True):
        key = torch.addmm(first[: len(code)], code.float() - 0.5, signs.T)  # row * bins + distance
        key.add_(relevance(labels, database_labels).to(key), alpha=bits + 1)
        count.copy_(torch.bincount(key.long().flatten(), minlength=count.numel()).view_as(count))


def _words(bits: Tensor) -> Array:
    """Pack bits (n, B) into bytes (n, 8 ceil(B / 64)): whole words of 64 bits, padded with zeros."""
    packed = np.packbits(bits.numpy(), axis=1)
    return np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8)))


def _distances(faiss: ModuleType, queries: Array, database: Array, out: Array) -> None:
    """Write distances between packed codes (n, W) and (N, W) into the first n rows of `out`, int32 (>= n, N)."""
    rows, columns, result = (faiss.swig_ptr(array) for array in (queries, database, out))
    faiss.hammings(rows, columns, len(queries), len(database), queries.shape[1], result)


def _count_numbers(faiss: ModuleType, numbers: Array, bins: int) -> Array:
    """Count each of 0, ..., bins - 1 among numbers (n,), int32, or uint8 with even n: (bins,) int32."""
    if numbers.dtype == np.int32:
        return _histogram(faiss, numbers, bins)
    pairs = _histogram(faiss, numbers.view(np.uint16).astype(np.int32), 256 * bins).reshape(bins, 256)[:, :bins]
    counts: Array = pairs.sum(0, dtype=np.int32) + pairs.sum(1, dtype=np.int32)
    return counts


def _histogram(faiss: ModuleType, numbers: Array, bins: int) -> Array:
    """Count each of 0, ..., bins - 1 among numbers (n,) int32: (bins,) int32."""
    counts = np.empty(bins, np.int32)
    faiss.ivec_hist(len(numbers), faiss.swig_ptr(numbers), bins, faiss.swig_ptr(counts))
    return counts
