"""Measure kNN classification against lightly and a flat index of faiss: `python -m benchmarks.neighbours [--save]`."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import faiss
import torch
import torch.nn.functional as F
from lightly.utils.benchmarking.knn import knn_predict
from torch import Tensor

from bench_core.evaluation.knn import knn_answers
from bench_core.evaluation.nearest_neighbours import top_k
from benchmarks.contest import Contender, Contest, Goal, main
from benchmarks.toy_features import features

_TEMPERATURE = 0.1  # lightly's default, and ours
_BATCH = 256  # queries at once in lightly's benchmarks


def contests(
    queries: int = 10_000, bank: int = 50_000, dims: int = 512, classes: int = 10, k: int = 200
) -> Sequence[Contest]:
    """Return two contests: kNN against its peers, and kNN as the bank grows.

    All start from features that are not normalised. lightly's function takes a batch of queries.
    """
    values, labels = features(queries + bank, dims, classes, seed=0)
    query, known, known_labels = values[:queries], values[queries:], labels[queries:]
    ours = partial(knn_answers, num_classes=classes, k=k, temperature=_TEMPERATURE)

    def lightly() -> Tensor:
        columns = F.normalize(known, dim=1).T.contiguous()
        batches = torch.split(F.normalize(query, dim=1), _BATCH)
        return torch.cat([knn_predict(part, columns, known_labels, classes, k, _TEMPERATURE)[:, 0] for part in batches])

    def flat() -> Any:
        index = faiss.IndexFlatIP(dims)
        index.add(F.normalize(known, dim=1).numpy())
        return index.search(F.normalize(query, dim=1).numpy(), k)

    answers = ours(query, known, known_labels).argmax(1)
    agree = float((answers == lightly()).double().mean())
    if agree < 1 - max(1e-3, 2 / queries):
        raise AssertionError(f"lightly's answers are ours for {agree:.2%} of the queries only")
    similar, _ = top_k(F.normalize(query, dim=1), F.normalize(known, dim=1), k)
    if not torch.allclose(torch.from_numpy(flat()[0]), similar, atol=1e-5):
        raise AssertionError("the flat index finds other neighbours")
    sizes = [bank // 4, bank // 2, bank]
    return [
        Contest(
            f"kNN, k = {k}: {queries:,} queries, a bank of {bank:,}, {dims} dimensions",
            [
                Contender("ours", partial(ours, query, known, known_labels)),
                Contender("lightly knn_predict", lightly),
                Contender("faiss flat index, search only", flat),
            ],
            [Goal("ours", "lightly knn_predict", 1.3), Goal("ours", "faiss flat index, search only", 0.9)],
            [
                f"lightly, {_BATCH} queries at once, gives {agree:.2%} of the queries the class that ours gives",
                "all are at the limit of the product of the two matrices; ours is faiss.knn and a vote, so that its "
                "memory beyond the features does not grow with queries times bank",
            ],
        ),
        Contest(
            f"kNN, k = {k}, as the bank grows: {queries // 10:,} queries",
            [
                Contender(f"{size:,} items", partial(ours, query[: queries // 10], known[:size], known_labels[:size]))
                for size in sizes
            ],
            sizes=sizes,
        ),
    ]


if __name__ == "__main__":
    main("neighbours", contests, rounds=5)
