"""Partitions of items: spherical k-means, and how well clusters agree with classes.

Papers: Dhillon and Modha, Machine Learning 2001, https://doi.org/10.1023/A:1007612920971 (spherical k-means)
        Kuhn, Naval Research Logistics Quarterly 1955, https://doi.org/10.1002/nav.3800020109 (the Hungarian method)
Note:   k-means is faiss's; NMI, ARI and AMI are scikit-learn's, with arithmetic means. A greedy match of clusters to
        classes is no substitute: of the table [[10, 9], [9, 0]] it gets 10 of 28 items, the best match 18.

Shapes: N items, D features, K clusters, C classes.
"""

import math

import numpy as np
import numpy.typing as npt
import scipy  # its parts cost a second: they load where they are used
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits
from torch import Tensor

from bench_core.evaluation.nearest_neighbours import import_faiss


def kmeans(
    features: Tensor, clusters: int, *, seed: int, spherical: bool = True, restarts: int = 20, iterations: int = 100
) -> Tensor:
    """Centres of k-means by faiss: of random starts the one of the best objective, which needs no labels.

    Args:
        features: (N, D).
        clusters: K wanted.
        seed: Of the starts; on one thread, so that a seed has one answer.
        spherical: Rows and centres of length 1, compared by cosine; else as they are, by Euclidean distance.
        restarts: Random starts: K of the items.
        iterations: Of each start at most.

    Returns:
        (K, D) float32; fewer where there are fewer distinct rows, each of which is then a centre.

    Raises:
        ValueError: No item, or K < 1.
    """
    if clusters < 1 or len(features) < 1:
        raise ValueError(f"k-means needs items and clusters, got {len(features)} and {clusters}")
    rows = _rows(features, spherical)
    distinct = _distinct(rows, clusters)
    if len(distinct) < clusters:
        return torch.from_numpy(distinct)
    found = import_faiss().Kmeans(
        rows.shape[1],
        clusters,
        niter=iterations,
        nredo=restarts,
        spherical=spherical,
        seed=seed % 2**31,
        max_points_per_centroid=len(rows),  # else it draws 256 for each centre
        min_points_per_centroid=1,
    )
    with threadpool_limits(1):
        found.train(rows)
    return torch.from_numpy(found.centroids.copy())


def nearest_centres(features: Tensor, centres: Tensor, *, spherical: bool = True) -> Tensor:
    """Clusters (N,) int64 of features (N, D): the centre of the largest cosine, or of the smallest distance."""
    rows = torch.from_numpy(_rows(features, spherical))
    scores = rows @ centres.T
    return (scores if spherical else scores - centres.square().sum(1) / 2).argmax(1)


def agreement(labels: Tensor, clusters: Tensor) -> dict[str, float]:
    """How well a partition into clusters agrees with classes; no relabelling of either changes a number.

    Args:
        labels: (N,) int64 classes.
        clusters: (N,) int64.

    Returns:
        `accuracy` under the best match of clusters to classes, one to one; `nmi`, mutual information over the mean of
        both entropies; `ari` and `ami`, 0 in the mean over random partitions, perhaps below; `purity`, the accuracy if
        each cluster answers with its most frequent class, which rises to 1 with the number of clusters.
    """
    from sklearn import metrics  # costs a second: only where it is used

    truth, found = labels.numpy(), clusters.numpy()
    return {
        "accuracy": matched_accuracy(labels, clusters),
        "nmi": min(1.0, max(0.0, float(metrics.normalized_mutual_info_score(truth, found)))),
        "ari": float(metrics.adjusted_rand_score(truth, found)),
        "ami": float(metrics.adjusted_mutual_info_score(truth, found)),
        "purity": float(contingency(labels, clusters).max(0).sum() / len(labels)),
    }


def matched_accuracy(labels: Tensor, clusters: Tensor) -> float:
    """Part of the items in the right cluster, under the one-to-one match of clusters to classes that is best.

    Where there are more clusters than classes, all items of those that are left over count as wrong.

    Args:
        labels: (N,) int64 classes.
        clusters: (N,) int64.
    """
    table = contingency(labels, clusters)
    return float(table[scipy.optimize.linear_sum_assignment(table, maximize=True)].sum() / len(labels))


def contingency(labels: Tensor, clusters: Tensor) -> npt.NDArray[np.int64]:
    """Number of items (C, K) of each class in each cluster, of those classes and clusters that occur.

    Raises:
        ValueError: Not the same number of items, or none.
    """
    if labels.shape != clusters.shape or labels.ndim != 1 or len(labels) == 0:
        raise ValueError(f"labels and clusters must be (N,), got {tuple(labels.shape)} and {tuple(clusters.shape)}")
    rows, columns = (np.unique(ids.numpy(), return_inverse=True)[1] for ids in (labels, clusters))
    table = np.zeros((rows.max() + 1, columns.max() + 1), np.int64)
    np.add.at(table, (rows, columns), 1)
    return table


def balance(clusters: Tensor) -> dict[str, float]:
    """How evenly items (N,) lie in clusters.

    Returns:
        `clusters`, the number of those in use; `perplexity`, exp of the entropy of their sizes, which is that number
        where all are equally large, and 1 where one holds all.
    """
    sizes = torch.bincount(clusters).double()
    share = sizes[sizes > 0] / len(clusters)
    return {"clusters": float(len(share)), "perplexity": math.exp(-float((share * share.log()).sum()))}


def _rows(features: Tensor, spherical: bool) -> npt.NDArray[np.float32]:
    """(N, D); a row of length 0 stays so."""
    rows = features.cpu().float()
    return np.ascontiguousarray((F.normalize(rows, dim=1) if spherical else rows).numpy())


def _distinct(rows: npt.NDArray[np.float32], most: int) -> npt.NDArray[np.float32]:
    """The distinct ones of the rows in order, at most so many of them."""
    first: dict[bytes, int] = {}
    for place, row in enumerate(rows):
        first.setdefault(row.tobytes(), place)
        if len(first) == most:
            break
    return rows[list(first.values())]
