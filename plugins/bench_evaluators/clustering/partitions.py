"""k-means, and measures of agreement between clusters and classes.

Papers: Dhillon and Modha, Machine Learning 2001, https://doi.org/10.1023/A:1007612920971 (spherical k-means)
        Kuhn, Naval Research Logistics Quarterly 1955, https://doi.org/10.1002/nav.3800020109 (the Hungarian method)
Note:   k-means is that of faiss; NMI, ARI and AMI are those of scikit-learn, with arithmetic means. A greedy match of
        clusters to classes is not enough: in the table [[10, 9], [9, 0]] it gets 10 of 28 items, the best match 18.

Shapes: N items, D features, K clusters, C classes.
"""

import math

import numpy as np
import numpy.typing as npt
import scipy  # its submodules take a second to load: they do so at their first use
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits
from torch import Tensor

from bench_core.evaluation.nearest_neighbours import import_faiss


def kmeans(
    features: Tensor, clusters: int, *, seed: int, spherical: bool = True, restarts: int = 20, iterations: int = 100
) -> Tensor:
    """Return the centres of k-means by faiss, from the random start with the best objective; no labels are read.

    It runs on one thread, so that a seed has one result.

    Args:
        features: (N, D).
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


def nearest_centres(features: Tensor, centres: Tensor, *, spherical: bool = True) -> Tensor:
    """Assign each of features (N, D) to a cluster (N,) int64: the centre of largest cosine, or of least distance."""
    rows = torch.from_numpy(_rows(features, spherical))
    scores = rows @ centres.T
    return (scores if spherical else scores - centres.square().sum(1) / 2).argmax(1)


def agreement(labels: Tensor, clusters: Tensor) -> dict[str, float]:
    """Measure the agreement between clusters and classes; renumbering either changes no value.

    Args:
        labels: (N,) int64 classes.
        clusters: (N,) int64.

    Returns:
        `accuracy` under the best one-to-one match of clusters to classes; `nmi`, mutual information divided by the mean
        of both entropies; `ari` and `ami`, whose mean over random partitions is 0 (single values may be negative);
        `purity`, the accuracy if each cluster answers with its most frequent class, which rises to 1 with the number of
        clusters.
    """
    from sklearn import metrics  # takes a second to load: only where it is used

    classes, groups = labels.numpy(), clusters.numpy()
    return {
        "accuracy": matched_accuracy(labels, clusters),
        "nmi": min(1.0, max(0.0, float(metrics.normalized_mutual_info_score(classes, groups)))),
        "ari": float(metrics.adjusted_rand_score(classes, groups)),
        "ami": float(metrics.adjusted_mutual_info_score(classes, groups)),
        "purity": float(contingency(labels, clusters).max(0).sum() / len(labels)),
    }


def matched_accuracy(labels: Tensor, clusters: Tensor) -> float:
    """Return the part of the items in the right cluster, under the best one-to-one match of clusters to classes.

    With more clusters than classes, all items of the clusters without a match count as wrong.

    Args:
        labels: (N,) int64 classes.
        clusters: (N,) int64.
    """
    table = contingency(labels, clusters)
    return float(table[scipy.optimize.linear_sum_assignment(table, maximize=True)].sum() / len(labels))


def contingency(labels: Tensor, clusters: Tensor) -> npt.NDArray[np.int64]:
    """Count the items (C, K) of each class in each cluster; classes and clusters without items have no row or column.

    Raises:
        ValueError: The numbers of items differ, or there is none.
    """
    if labels.shape != clusters.shape or labels.ndim != 1 or len(labels) == 0:
        raise ValueError(f"labels and clusters must be (N,), got {tuple(labels.shape)} and {tuple(clusters.shape)}")
    rows, columns = (np.unique(ids.numpy(), return_inverse=True)[1] for ids in (labels, clusters))
    table = np.zeros((rows.max() + 1, columns.max() + 1), np.int64)
    np.add.at(table, (rows, columns), 1)
    return table


def balance(clusters: Tensor) -> dict[str, float]:
    """Measure how evenly items (N,) are spread over clusters.

    Returns:
        `clusters`, the number of clusters in use; `perplexity`, exp of the entropy of their sizes: it equals `clusters`
        if all are equally large, and 1 if one cluster holds all items.
    """
    sizes = torch.bincount(clusters).double()
    share = sizes[sizes > 0] / len(clusters)
    return {"clusters": float(len(share)), "perplexity": math.exp(-float((share * share.log()).sum()))}


def _rows(features: Tensor, spherical: bool) -> npt.NDArray[np.float32]:
    """Return features as rows (N, D) of a NumPy array, of length 1 if spherical; a row of zeros stays zero."""
    rows = features.cpu().float()
    return np.ascontiguousarray((F.normalize(rows, dim=1) if spherical else rows).numpy())


def _distinct(rows: npt.NDArray[np.float32], most: int) -> npt.NDArray[np.float32]:
    """Return the first `most` distinct rows, in their order."""
    first: dict[bytes, int] = {}  # row -> where it first occurs
    for position, row in enumerate(rows):
        first.setdefault(row.tobytes(), position)
        if len(first) == most:
            break
    return rows[list(first.values())]
