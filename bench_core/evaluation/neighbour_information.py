"""Estimates of mutual information from distances to nearest neighbours, in nats; nothing is trained.

Both estimators count, for each item, the items within the distance of its k-th neighbour. They are good in few
dimensions. In many dimensions, or if the true value exceeds about log(N), they are far too low: reduce D first.

Papers: Kraskov, Stoegbauer, Grassberger, Phys. Rev. E 69, 2004, https://arxiv.org/abs/cond-mat/0305641 (algorithm 1);
        Ross, PLoS ONE 9(2), 2014, https://doi.org/10.1371/journal.pone.0087357 (against classes);
        Gao, Kannan, Oh, Viswanath, NeurIPS 2017, https://arxiv.org/abs/1709.06212 (points that coincide)
Note:   if the distance to the k-th neighbour is 0, k becomes the number of points at that place, as in Gao et al.:
        otherwise embeddings with equal rows (bits, collapsed classes) would seem to know nothing.
Shapes: N items, D and E coordinates.
"""

import math

import numpy as np
import numpy.typing as npt
import scipy  # its submodules take a second to load: they do so at their first use
import torch
from torch import Tensor

Points = npt.NDArray[np.float64]


def class_information(x: Tensor, labels: Tensor, k: int = 3) -> float:
    """Return Ross's estimate of I(x; label) with Euclidean distances, at least 0; for any D (scikit-learn: D = 1).

    It is psi(N) - <psi(N_c)> + <psi(k)> - <psi(m)>: N_c items of the class, m items as near as the k-th neighbour in
    the class. In a class of n <= k items, k is n - 1; items that are alone in their class are left out.

    Args:
        x: (N, D) on the CPU.
        labels: (N,) int64.
        k: Neighbours.
    """
    sizes = torch.bincount(labels)
    kept = sizes[labels] > 1
    points, classes = x[kept].double().numpy(), labels[kept].numpy()
    if len(points) == 0:
        return 0.0
    radius, counted_k, class_size = (np.zeros(len(points)) for _ in range(3))
    for c in np.unique(classes):
        members = classes == c
        count = int(members.sum())
        class_size[members] = count
        radius[members], counted_k[members] = _kth_distance(points[members], min(k, count - 1), 2)
    inside = scipy.spatial.cKDTree(points).query_ball_point(points, np.nextafter(radius, 0), return_length=True)
    psi = scipy.special.digamma
    estimate = psi(len(points)) + np.mean(psi(counted_k) - psi(class_size) - psi(inside))
    return max(float(estimate), 0.0)


def pair_information(x: Tensor, y: Tensor, k: int = 3) -> float:
    """Return Kraskov, Stoegbauer and Grassberger's first estimate of I(x; y), at least 0.

    It is psi(k) + psi(N) - <psi(n_x + 1) + psi(n_y + 1)>: n_x items are nearer in x, and n_y items nearer in y, than
    the k-th neighbour is in both together. Distances are the largest difference of a coordinate.

    Args:
        x: (N, D) on the CPU, N > k; all coordinates should have the same scale.
        y: (N, E).
        k: Neighbours.

    Raises:
        ValueError: The numbers of rows differ, or are not more than k.
    """
    if len(x) != len(y) or len(x) <= k:
        raise ValueError(f"needs the same number of rows, more than k = {k}, got {len(x)} and {len(y)}")
    parts = [part.double().numpy() for part in (x, y)]
    joint = np.concatenate(parts, 1)
    radius, counted_k = _kth_distance(joint, k, math.inf)
    nearer = [
        scipy.spatial.cKDTree(part).query_ball_point(part, np.nextafter(radius, 0), p=np.inf, return_length=True)
        for part in parts
    ]
    psi = scipy.special.digamma
    correction = np.mean(psi(counted_k) - psi(k))  # 0 unless points coincide
    # Each point is counted among the nearer ones, too, hence no "+ 1".
    estimate = psi(k) + correction + psi(len(x)) - sum(np.mean(psi(count)) for count in nearer)
    return max(float(estimate), 0.0)


def _kth_distance(points: Points, k: int, order: float) -> tuple[Points, Points]:
    """Return the distance (N,) of each point (N, D) to its k-th neighbour, and k (N,), by the norm of this order.

    If the distance is 0, k is the number of points at the same place, the point itself included.
    """
    tree = scipy.spatial.cKDTree(points)
    distances, _ = tree.query(points, [k + 1], p=order)  # the first neighbour is the point itself
    radius, counted_k = np.asarray(distances, np.float64)[:, 0], np.full(len(points), float(k))
    coincide = radius == 0
    if coincide.any():
        counted_k[coincide] = tree.query_ball_point(points[coincide], 0.0, p=order, return_length=True)
    return radius, counted_k
