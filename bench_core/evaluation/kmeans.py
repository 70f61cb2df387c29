"""k-means: group items around centres, without labels; every task that clusters does it by this function.

Example: `nearest_centres(test, kmeans(train, 10, seed=0))` fits ten clusters to train and names those of test items.

Papers: Dhillon and Modha, Machine Learning 2001, https://doi.org/10.1023/A:1007612920971 (spherical k-means)
Note:   the solver is that of faiss.

Shapes: N items, D features, K clusters.
"""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits
from torch import Tensor

from bench_core.evaluation.nearest_neighbours import import_faiss
from bench_core.evaluation.rows import Features, Rows, blocks_of


def kmeans(
    features: Features, clusters: int, *, seed: int, spherical: bool = True, restarts: int = 20, iterations: int = 100
) -> Tensor:
    """Return the centres of k-means by faiss, from the random start with the best objective; no labels are read.

    It runs on one thread, so that a seed has one result.

    Args:
        features: (N, D); one copy of them is held, float32, of `Rows` too.
        clusters: K.
        seed: Seed of the random starts.
        spherical: True gives rows and centres length 1 and compares by cosine; False keeps them as they are and
            compares by Euclidean distance.
        restarts: Number of random starts; each takes K items as first centres.
        iterations: Upper limit for each start.

    Returns:
        (K, D) float32. With fewer than K distinct rows, each distinct row is a centre, and there are no more.

    Raises:
        ValueError: There is no item, or K < 1.
    """
    if clusters < 1 or len(features) < 1:
        raise ValueError(f"k-means needs items and clusters, got {len(features)} and {clusters}")
    rows = _rows(features, spherical)
    distinct = _distinct(rows, clusters)
    if len(distinct) < clusters:
        return torch.from_numpy(distinct)
    solver = import_faiss().Kmeans(
        rows.shape[1],
        clusters,
        niter=iterations,
        nredo=restarts,
        spherical=spherical,
        seed=seed % 2**31,
        max_points_per_centroid=len(rows),  # by default faiss draws 256 for each centre
        min_points_per_centroid=1,
    )
    with threadpool_limits(1):
        solver.train(rows)
    return torch.from_numpy(solver.centroids.copy())


def nearest_centres(features: Features, centres: Tensor, *, spherical: bool = True) -> Tensor:
    """Assign each of features (N, D) to a cluster (N,) int64: the centre of largest cosine, or of least distance."""
    return torch.cat([_nearest(block, centres, spherical) for _, _, block in blocks_of(features)])


def _nearest(features: Tensor, centres: Tensor, spherical: bool) -> Tensor:
    rows = torch.from_numpy(_rows(features, spherical))
    scores = rows @ centres.T
    return (scores if spherical else scores - centres.square().sum(1) / 2).argmax(1)


def _rows(features: Features, spherical: bool) -> npt.NDArray[np.float32]:
    """Return features as rows (N, D) of a NumPy array, of length 1 if spherical; a row of zeros stays zero."""
    if isinstance(features, Rows):
        rows = np.empty(features.shape, np.float32)
        for start, end, block in blocks_of(features):
            rows[start:end] = _rows(block, spherical)
        return rows
    values = features.cpu().float()
    return np.ascontiguousarray((F.normalize(values, dim=1) if spherical else values).numpy())


def _distinct(rows: npt.NDArray[np.float32], most: int) -> npt.NDArray[np.float32]:
    """Return the first `most` distinct rows, in their order."""
    first: dict[bytes, int] = {}  # row -> where it first occurs
    for position, row in enumerate(rows):
        first.setdefault(row.tobytes(), position)
        if len(first) == most:
            break
    return rows[list(first.values())]
