"""Exact nearest neighbours: faiss on the CPU, plain products on a GPU. Bounded memory in both."""

import warnings
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

CHUNK_PAIRS = 2**24  # similarities held at once on a GPU: 64 MiB


def top_k(
    queries: Tensor, database: Tensor, k: int, device: torch.device | str = "cpu", chunk_pairs: int = CHUNK_PAIRS
) -> tuple[Tensor, Tensor]:
    """The k largest inner products of each query.

    Args:
        queries: (Q, D) float32; normalised rows make it a search by cosine.
        database: (N, D) float32.
        k: At most N.
        device: A CUDA device does the search itself; anything else leaves it to faiss on the CPU.
        chunk_pairs: Similarities held at once on the GPU.

    Returns:
        Similarities (Q, k), descending, and positions (Q, k) int64, on the CPU. Which of several equal items at the
        k-th place is taken is up to the library.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return _top_k_by_products(queries.to(device), database.to(device), k, chunk_pairs)
    faiss = import_faiss()
    rows, columns = (np.ascontiguousarray(x.cpu().float().numpy()) for x in (queries, database))
    similarity, index = faiss.knn(rows, columns, k, metric=faiss.METRIC_INNER_PRODUCT)
    return torch.from_numpy(similarity), torch.from_numpy(index)


def _top_k_by_products(queries: Tensor, database: Tensor, k: int, chunk_pairs: int) -> tuple[Tensor, Tensor]:
    rows = max(1, chunk_pairs // len(database))
    found = [(part @ database.T).topk(k) for part in torch.split(queries, rows)]
    return torch.cat([f.values.cpu() for f in found]), torch.cat([f.indices.cpu() for f in found])


def top_k_hamming(queries: Tensor, database: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest codes of each query (faiss `IndexBinaryFlat`).

    Args:
        queries: (Q, B) bool bits.
        database: (N, B) bool bits.
        k: At most N.

    Returns:
        Distances (Q, k) int64, ascending, and positions (Q, k) int64. Equal distances are the rule; their
        order is up to faiss and depends on positions alone.
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
