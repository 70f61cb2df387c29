"""Few-shot episodes: a few classes, a few labelled items of each, and others to be classed by the nearest centroid.

Paper: Snell, Swersky, Zemel, NeurIPS 2017, https://arxiv.org/abs/1703.05175 (centroids); Wang et al. 2019,
       https://arxiv.org/abs/1911.04623 (features centred and scaled to length 1, no training)
Code:  https://github.com/wyharveychen/CloserLookFewShot/blob/35c9f085/test.py (600 episodes of 15 queries a class)

Shapes: N items, D features, E episodes, W ways (classes), S shots (labelled items a class), Q queries a class.
"""

import torch
from torch import Tensor

_CHUNK = 2**22  # random numbers, or values of features, held at once


def draw_episodes(labels: Tensor, ways: int, items: int, episodes: int, rng: torch.Generator) -> Tensor:
    """Different classes for each episode, and different items of each class; all choices are equally likely.

    Args:
        labels: (N,) int64.
        ways: Classes an episode.
        items: Items of each class; classes that have fewer take no part.
        episodes: E.
        rng: On the CPU.

    Returns:
        (E, ways, items) int64 positions in `labels`.

    Raises:
        ValueError: Fewer than `ways` classes have that many items.
    """
    sizes = torch.bincount(labels)
    classes = (sizes >= items).nonzero().squeeze(1)
    if len(classes) < ways:
        raise ValueError(f"{ways} classes of {items} items are needed, there are {len(classes)}")
    by_class, first = labels.argsort(stable=True), sizes.cumsum(0) - sizes
    chosen = classes[torch.rand(episodes, len(classes), generator=rng).argsort(1)[:, :ways]]  # (E, W)
    place = torch.arange(int(sizes.max()))
    found = []
    for part in torch.split(chosen, max(1, _CHUNK // (ways * len(place)))):
        keys = torch.rand(*part.shape, len(place), generator=rng)
        keys[place >= sizes[part][..., None]] = 2.0  # beyond the class
        found.append(first[part][..., None] + keys.topk(items, largest=False).indices)
    return by_class[torch.cat(found)]


def centroid_accuracy(features: Tensor, index: Tensor, shots: int) -> Tensor:
    """Part of each episode's queries that lie nearest to the mean of their own class's shots (Euclidean).

    Args:
        features: (N, D) floats.
        index: (E, W, S + Q), whose first `shots` items of each class are the labelled ones.
        shots: S.

    Returns:
        (E,) float64; of equally near centroids the first is taken.
    """
    ways, items = index.shape[1:]
    right = torch.arange(ways)[:, None]
    found = []
    for part in torch.split(index, max(1, _CHUNK // (ways * items * features.shape[1]))):
        values = features[part].double()  # (e, W, S + Q, D)
        centroids = values[:, :, :shots].mean(2)  # (e, W, D)
        queries = values[:, :, shots:].flatten(1, 2)  # (e, W * Q, D)
        nearness = 2 * queries @ centroids.mT - centroids.square().sum(-1)[:, None]
        answers = nearness.argmax(-1).view(len(part), ways, -1)
        found.append((answers == right).double().mean((1, 2)))
    return torch.cat(found)
