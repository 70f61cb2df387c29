"""Few-shot episodes: a few classes, a few labelled items of each, and other items to classify by nearest centroid.

Paper: Snell, Swersky, Zemel, NeurIPS 2017, https://arxiv.org/abs/1703.05175 (centroids); Wang et al. 2019,
       https://arxiv.org/abs/1911.04623 (features centred and scaled to length 1, no training)
Code:  https://github.com/wyharveychen/CloserLookFewShot/blob/35c9f085/test.py (600 episodes of 15 queries a class)

Shapes: N items, D features, E episodes, W ways (classes), S shots (labelled items a class), Q queries a class.
"""

import torch
from torch import Tensor

_CHUNK = 2**22  # random numbers, or values of features, that are held at once


def draw_episodes(labels: Tensor, ways: int, items: int, episodes: int, rng: torch.Generator) -> Tensor:
    """Draw different classes for each episode, and different items of each class; all choices are equally likely.

    Args:
        labels: (N,) int64.
        ways: W, classes in an episode.
        items: Items of each class; classes with fewer items are never drawn.
        episodes: E, the number of episodes.
        rng: Generator on the CPU.

    Returns:
        (E, ways, items) int64 positions in `labels`.

    Raises:
        ValueError: Fewer than `ways` classes have that many items.
    """
    sizes = torch.bincount(labels)
    classes = (sizes >= items).nonzero().squeeze(1)
    if len(classes) < ways:
        raise ValueError(f"{ways} classes of {items} items are needed, there are {len(classes)}")
    by_class = labels.argsort(stable=True)
    starts = sizes.cumsum(0) - sizes  # where the items of each class begin in `by_class`
    chosen = classes[torch.rand(episodes, len(classes), generator=rng).argsort(1)[:, :ways]]  # (E, W)
    position = torch.arange(int(sizes.max()))
    drawn = []
    for part in torch.split(chosen, max(1, _CHUNK // (ways * len(position)))):
        keys = torch.rand(*part.shape, len(position), generator=rng)
        keys[position >= sizes[part][..., None]] = 2.0  # beyond the end of the class: never among the smallest
        drawn.append(starts[part][..., None] + keys.topk(items, largest=False).indices)
    return by_class[torch.cat(drawn)]


def centroid_accuracy(features: Tensor, index: Tensor, shots: int) -> Tensor:
    """Return the part of each episode's queries whose nearest centroid (Euclidean) is that of their class.

    Args:
        features: (N, D) floats.
        index: (E, W, S + Q) positions; the first S items of each class are the labelled ones.
        shots: S. A class's centroid is the mean of its S labelled items.

    Returns:
        (E,) float64. Of equally near centroids the first is the answer.
    """
    ways, items = index.shape[1:]
    right = torch.arange(ways)[:, None]
    accuracies = []
    for part in torch.split(index, max(1, _CHUNK // (ways * items * features.shape[1]))):
        values = features[part].double()  # (e, W, S + Q, D)
        centroids = values[:, :, :shots].mean(2)  # (e, W, D)
        queries = values[:, :, shots:].flatten(1, 2)  # (e, W * Q, D)
        nearness = 2 * queries @ centroids.mT - centroids.square().sum(-1)[:, None]
        answers = nearness.argmax(-1).view(len(part), ways, -1)
        accuracies.append((answers == right).double().mean((1, 2)))
    return torch.cat(accuracies)
