"""Exact nearest neighbours: faiss on the CPU, products on a GPU, both with bounded memory.

`top_k` and `top_k_hamming` search tensors; `top_k_cosine` scales features to length 1 and searches them in blocks, so
that none of them is copied as a whole.

Shapes: Q queries, N items of the database, D features, B bits, k neighbours.
"""

import warnings
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core.evaluation.rows import Features, blocks_of

_FOUND = 2**18  # neighbours that are held at once where the database is searched in blocks
_DEVICE_ENTRIES = 2**25  # entries of a block of the database on a GPU: 128 MiB
CHUNK_PAIRS = 2**24  # similarities held at once on a GPU: 64 MiB


def top_k(
    queries: Tensor, database: Tensor, k: int, device: torch.device | str = "cpu", chunk_pairs: int = CHUNK_PAIRS
) -> tuple[Tensor, Tensor]:
    """Find the items with the k largest inner products for each query.

    Args:
        queries: Features (Q, D) float32; with normalised rows, inner products are cosines.
        database: Features (N, D) float32.
        k: Number of neighbours, at most N.
        device: A CUDA device searches on the GPU; any other device uses faiss on the CPU.
        chunk_pairs: Number of similarities held at once on the GPU.

    Returns:
        Similarities (Q, k), descending, and positions (Q, k) int64, on the CPU. If several items share the k-th
        similarity, the library decides which of them is returned.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return _top_k_by_products(queries.to(device), database.to(device), k, chunk_pairs)
    faiss = import_faiss()
    rows, columns = (np.ascontiguousarray(x.cpu().float().numpy()) for x in (queries, database))
    similarity, index = faiss.knn(rows, columns, k, metric=faiss.METRIC_INNER_PRODUCT)
    return torch.from_numpy(similarity), torch.from_numpy(index)


def top_k_cosine(
    queries: Features, database: Features, k: int, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Find the items with the k largest cosines for each query; a row of length 0 has cosine 0 with all items.

    Args:
        queries: Features (Q, D).
        database: Features (N, D). `Rows` are searched block by block, and the best of all blocks are kept.
        k: Number of neighbours, at most N.
        device: As for `top_k`; so is what is returned. Of equal cosines in different blocks the first is taken.
    """
    if isinstance(queries, Tensor) and isinstance(database, Tensor):
        return top_k(F.normalize(queries, dim=1), F.normalize(database, dim=1), k, device)
    parts = [_top_k_of_blocks(F.normalize(rows, dim=1), database, k, device) for rows in query_parts(queries, k)]
    return torch.cat([values for values, _ in parts]), torch.cat([index for _, index in parts])


def query_parts(queries: Features, k: int) -> Iterator[Tensor]:
    """Yield the features of so many queries at a time that little memory holds k neighbours of each."""
    for _, _, block in blocks_of(queries):
        yield from torch.split(block, max(1, _FOUND // k))


def _top_k_of_blocks(queries: Tensor, database: Features, k: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Search each block, and keep the best of all in heaps; an item takes the place of a worse one only."""
    best = import_faiss().ResultHeap(len(queries), k, keep_max=True)
    entries = None if torch.device(device).type == "cpu" else _DEVICE_ENTRIES
    for start, end, block in blocks_of(database, entries):
        values, index = top_k(queries, F.normalize(block, dim=1), min(k, end - start), device)
        best.add_result(values.numpy(), (index + start).numpy())
    best.finalize()
    return torch.from_numpy(best.D), torch.from_numpy(best.I)


def _top_k_by_products(queries: Tensor, database: Tensor, k: int, chunk_pairs: int) -> tuple[Tensor, Tensor]:
    rows = max(1, chunk_pairs // len(database))
    chunks = [(part @ database.T).topk(k) for part in torch.split(queries, rows)]
    return torch.cat([chunk.values.cpu() for chunk in chunks]), torch.cat([chunk.indices.cpu() for chunk in chunks])


def top_k_hamming(queries: Tensor, database: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the k nearest codes for each query (faiss `IndexBinaryFlat`).

    Args:
        queries: Bits (Q, B) bool.
        database: Bits (N, B) bool.
        k: Number of neighbours, at most N.

    Returns:
        Distances (Q, k) int64, ascending, and positions (Q, k) int64. Equal distances are common; faiss decides their
        order, which depends only on positions.
    """
    faiss = import_faiss()
    rows, columns = (np.packbits(x.cpu().numpy(), axis=1) for x in (queries, database))  # zeros fill the last byte
    index = faiss.IndexBinaryFlat(8 * rows.shape[1])
    index.add(columns)
    distance, position = index.search(rows, k)
    return torch.from_numpy(distance).long(), torch.from_numpy(position)


def import_faiss() -> ModuleType:
    """Import faiss on first use; on some Python versions its bindings warn while they load."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import faiss
    module: ModuleType = faiss
    return module
