"""Measure mAP over a whole ranking by Hamming distance: `python -m benchmarks.retrieval [--save]`.

The loop over queries is that of DeepHash-pytorch's CalcTopMap, written anew from what it computes: distances by a
product of signs, their argsort, and the mean of hits over rank at each hit. Items at the same distance are in the order
that the sort happens to give; ours is the expectation over all their orders.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench_core.evaluation.hamming import hamming_histograms
from bench_core.evaluation.ranking import expected_average_precision
from benchmarks.contest import Contender, Contest, Goal, main

Array = npt.NDArray[Any]
_FLIPPED = 0.35  # part of an item's bits that differ from its class's


def contests(
    queries: int = 10_000, database: int = 50_000, bits: int = 64, classes: int = 10, timed: int = 250
) -> Sequence[Contest]:
    """Return two contests on codes of clusters: mAP against its peers, and mAP as codes grow.

    The peers do only the first `timed` queries of their work.
    """
    code, labels = _codes(queries + 4 * database, bits, classes)
    query_codes, database_codes = code[:queries], code[queries : queries + database]
    query_labels, database_labels = labels[:queries], labels[queries : queries + database]
    timed = min(timed, queries)

    def ours(count: int, size: int) -> Tensor:
        part = slice(queries, queries + size)
        return expected_average_precision(
            *hamming_histograms(query_codes[:count], code[part], query_labels[:count], labels[part])
        )

    signs, database_signs = (2 * part.float().numpy() - 1 for part in (query_codes, database_codes))
    one_hot = np.eye(classes, dtype=np.float32)
    targets, database_targets = one_hot[query_labels.numpy()], one_hot[database_labels.numpy()]

    def loop(relevant_first: float = 0.0) -> float:
        """Return the mAP of DeepHash-pytorch; 0.1 or -0.1 puts relevant items first or last among equal distances."""
        precisions = []
        for sign, target in zip(signs[:timed], targets[:timed], strict=True):
            relevant = (target @ database_targets.T > 0).astype(np.float32)
            distance = 0.5 * (bits - sign @ database_signs.T)
            if relevant_first:
                distance -= relevant_first * relevant
            relevant = relevant[np.argsort(distance)]
            positions = np.asarray(np.where(relevant == 1)) + 1.0
            precisions.append(np.mean(np.linspace(1, positions.size, positions.size) / positions))
        return float(np.mean(precisions))

    index = faiss.IndexBinaryFlat(bits)
    index.add(np.packbits(database_codes.numpy(), axis=1))
    index.use_heap = False  # type: ignore[attr-defined]  # counting: many times faster for so many neighbours

    def ranked() -> float:
        _, order = index.search(np.packbits(query_codes[:timed].numpy(), axis=1), database)
        relevant = database_labels.numpy()[order] == query_labels[:timed].numpy()[:, None]
        return float(np.mean([_average_precision(row) for row in relevant]))

    exact, by_loop, by_faiss = float(ours(timed, database).mean()), loop(), ranked()
    worst, best = loop(-0.1), loop(0.1)
    if not all(worst <= value <= best for value in (exact, by_loop, by_faiss)):
        raise AssertionError(f"mAP from {worst} to {best} by the order of ties: {exact}, {by_loop}, {by_faiss}")
    sizes, few = [database // 2, database, 2 * database, 4 * database], max(1, queries // 4)
    return [
        Contest(
            f"mAP over all ranks, {queries:,} queries x {database:,} codes of {bits} bits",
            [
                Contender("ours, expected over ties", partial(ours, queries, database)),
                Contender("loop of DeepHash-pytorch", loop, timed / queries),
                Contender("faiss binary index, all ranked", ranked, timed / queries),
            ],
            [
                Goal("ours, expected over ties", "loop of DeepHash-pytorch", 30),
                Goal("ours, expected over ties", "faiss binary index, all ranked", 10),
            ],
            [
                f"of the first {timed} queries: ours {exact:.5f}, loop {by_loop:.5f}, faiss {by_faiss:.5f}; by the "
                f"order of equal distances anything from {worst:.5f} to {best:.5f} can come out",
                "ours counts items at each distance and ranks nothing",
            ],
        ),
        Contest(
            f"mAP over all ranks as codes grow: {few:,} queries",
            [Contender(f"{size:,} codes", partial(ours, few, size)) for size in sizes],
            sizes=sizes,
        ),
    ]


def _codes(items: int, bits: int, classes: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (items,), generator=rng)
    centres = torch.rand(classes, bits, generator=rng) < 0.5
    return centres[labels] ^ (torch.rand(items, bits, generator=rng) < _FLIPPED), labels


def _average_precision(relevant: Array) -> float:
    """Return the average precision of a ranking (N,) of bool."""
    ranks = np.flatnonzero(relevant) + 1.0
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks)) if len(ranks) else 0.0


if __name__ == "__main__":
    main("retrieval", contests)
