"""Exact nearest neighbours: faiss on the CPU, products on a GPU, both with bounded memory.

`top_k` and `top_k_hamming` search tensors; `top_k_cosine` scales features to length 1 and searches them in blocks, so
that none of them is copied as a whole.

Shapes: Q queries, N items of the database, D features, B bits, k neighbours.
"""

import warnings
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core.evaluation.rows import Features, blocks_of

QUERIES = 4096  # queries that are compared with a block of the database at once
_ENTRIES = 2**22  # entries of a block of the database: 16 MiB
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
    parts = [
        _top_k_of_blocks(F.normalize(rows, dim=1), database, k, device)
        for _, _, some in blocks_of(queries)
        for rows in torch.split(some, QUERIES)
    ]
    return torch.cat([values for values, _ in parts]), torch.cat([index for _, index in parts])


def _top_k_of_blocks(queries: Tensor, database: Features, k: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Search each block, and merge what it finds with the best before it."""
    best, index = torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.int64)
    for start, end, block in blocks_of(database, _ENTRIES):
        found = top_k(queries, F.normalize(block, dim=1), min(k, end - start), device)
        values = torch.cat([best, found[0]], 1)
        positions = torch.cat([index, found[1] + start], 1)
        best, order = values.sort(dim=1, descending=True, stable=True)
        best, index = best[:, :k], positions.gather(1, order[:, :k])
    return best, index


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
