"""Measures of agreement between clusters and classes.

Paper: Kuhn, Naval Research Logistics Quarterly 1955, https://doi.org/10.1002/nav.3800020109 (the Hungarian method)
Note:  NMI, ARI and AMI are those of scikit-learn, with arithmetic means. A greedy match of clusters to classes is not
       enough: in the table [[10, 9], [9, 0]] it gets 10 of 28 items, the best match 18.

Shapes: N items, C classes, K clusters.
"""

import math

import numpy as np
import numpy.typing as npt
import scipy  # its submodules take a second to load: they do so at their first use
import torch
from torch import Tensor


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


def majority_accuracy(train_labels: Tensor, train_clusters: Tensor, labels: Tensor, clusters: Tensor) -> float:
    """Return the part of test items whose class is the most frequent one of the train items in their cluster.

    Unlike `matched_accuracy` it can be 1 where clusters outnumber classes, and unlike purity it does not rise to 1 with
    the number of clusters alone. If classes are equally frequent in a cluster, the one with the lower number is its
    answer; a cluster without train items has no answer, and its test items are wrong.

    Args:
        train_labels: (M,) int64 classes.
        train_clusters: (M,) int64.
        labels: (N,) int64 classes.
        clusters: (N,) int64, numbered as `train_clusters`.
    """
    count, classes = 1 + int(max(train_clusters.max(), clusters.max())), 1 + int(train_labels.max())
    table = torch.bincount(train_clusters * classes + train_labels, minlength=count * classes).view(count, classes)
    answer = torch.where(table.sum(1) > 0, table.argmax(1), -1)
    return float((answer[clusters] == labels).double().mean())


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
