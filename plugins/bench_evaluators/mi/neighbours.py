"""Mutual information from distances to nearest neighbours, in nats: no critic, nothing is trained.

Both estimators count, around each item, what lies within the distance of its k-th neighbour. They are good in few
dimensions and fall far below the truth in many, or where the truth exceeds about log(N): reduce first.

Papers: Kraskov, Stoegbauer, Grassberger, Phys. Rev. E 69, 2004, https://arxiv.org/abs/cond-mat/0305641 (algorithm 1);
        Ross, PLoS ONE 9(2), 2014, https://doi.org/10.1371/journal.pone.0087357 (against classes);
        Gao, Kannan, Oh, Viswanath, NeurIPS 2017, https://arxiv.org/abs/1709.06212 (points that coincide)
Note:   where the k-th neighbour lies at no distance, k is the number of points there, as Gao et al. have it: else
        embeddings with equal rows (bits, collapsed classes) would seem to know nothing.
Shapes: N items, D and E coordinates.
"""

import math

import numpy as np
import numpy.typing as npt
import scipy  # its parts cost a second: they load where they are used
import torch
from torch import Tensor

Points = npt.NDArray[np.float64]


def class_information(x: Tensor, labels: Tensor, k: int = 3) -> float:
    """Ross's estimate of I(x; label) with Euclidean distances, 0 at least; of any D (scikit-learn's is of one).

    psi(N) - <psi(N_c)> + <psi(k)> - <psi(m)>: N_c items of the class, m items as near as the k-th of the class. A
    class of n <= k items is asked for its (n - 1)-th; items that are alone in their class are left out.

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
    radius, asked, among = (np.zeros(len(points)) for _ in range(3))
    for c in np.unique(classes):
        members = classes == c
        count = int(members.sum())
        among[members] = count
        radius[members], asked[members] = _kth_distance(points[members], min(k, count - 1), 2)
    inside = scipy.spatial.cKDTree(points).query_ball_point(points, np.nextafter(radius, 0), return_length=True)
    psi = scipy.special.digamma
    found = psi(len(points)) + np.mean(psi(asked) - psi(among) - psi(inside))
    return max(float(found), 0.0)


def pair_information(x: Tensor, y: Tensor, k: int = 3) -> float:
    """Kraskov, Stoegbauer and Grassberger's first estimate of I(x; y) with largest-coordinate distances, 0 at least.

    psi(k) + psi(N) - <psi(n_x + 1) + psi(n_y + 1)>: n_x and n_y items that are nearer in x, and in y, than the k-th
    neighbour is in both.

    Args:
        x: (N, D) on the CPU, N > k; coordinates of one scale.
        y: (N, E).
        k: Neighbours.

    Raises:
        ValueError: Not as many rows in both, or not more than k.
    """
    if len(x) != len(y) or len(x) <= k:
        raise ValueError(f"needs the same number of rows, more than k = {k}, got {len(x)} and {len(y)}")
    parts = [part.double().numpy() for part in (x, y)]
    joint = np.concatenate(parts, 1)
    radius, asked = _kth_distance(joint, k, math.inf)
    nearer = [
        scipy.spatial.cKDTree(part).query_ball_point(part, np.nextafter(radius, 0), p=np.inf, return_length=True)
        for part in parts
    ]
    psi = scipy.special.digamma
    more = np.mean(psi(asked) - psi(k))  # 0 unless points coincide
    found = psi(k) + more + psi(len(x)) - sum(np.mean(psi(count)) for count in nearer)  # each counts itself
    return max(float(found), 0.0)


def _kth_distance(points: Points, k: int, order: float) -> tuple[Points, Points]:
    """Of each point (N, D) to its k-th neighbour, by the norm of this order, and k: (N,) both.

    Where that is 0, k is the number of all points there, itself among them.
    """
    tree = scipy.spatial.cKDTree(points)
    distances, _ = tree.query(points, [k + 1], p=order)  # the first is itself
    found, asked = np.asarray(distances, np.float64)[:, 0], np.full(len(points), float(k))
    alike = found == 0
    if alike.any():
        asked[alike] = tree.query_ball_point(points[alike], 0.0, p=order, return_length=True)
    return found, asked
