"""Images that a generative method makes, as 8-bit images like those of the data, in batches of bounded memory.

Shapes: N images that are wanted, C channels, H x W pixels, M items with latents, P latents, K clusters.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from bench_core import BenchError, Generative

BATCH = 500  # images that are made at once


class ByCluster(NamedTuple):
    """Images drawn like each cluster's latents.

    Attributes:
        images: (N, C, H, W) uint8 of all clusters, in random order, each as often as it is among the items.
        clusters: (N,) int64, the cluster of each.
        rows: The first few of each cluster that is not empty, cluster by cluster.
    """

    images: Tensor
    clusters: Tensor
    rows: Tensor


def sampled(model: Generative, n: int, rng: torch.Generator, like: Tensor | None = None) -> Tensor:
    """Images (n, C, H, W) uint8 on the CPU, drawn as `Generative.sample` says.

    Raises:
        BenchError: A value is not finite.
    """
    sizes = [min(BATCH, n - start) for start in range(0, n, BATCH)]
    return _as_bytes(model.sample(size, rng, like) for size in sizes)


def decoded(model: Generative, latents: Tensor, device: torch.device) -> Tensor:
    """Images (M, C, H, W) uint8 on the CPU, of latents (M, P); BenchError as above."""
    return _as_bytes(model.decode(part.to(device)) for part in torch.split(latents, BATCH))


def sampled_by_cluster(
    model: Generative, latents: Tensor, labels: Tensor, n: int, rng: torch.Generator, across: int
) -> ByCluster:
    """Draw like each cluster's latents, so many that the clusters keep their shares.

    Args:
        model: A generative method.
        latents: (M, P) of items, on the method's device.
        labels: (M,) int64 in [0, K), their clusters; some may be empty.
        n: Images in all.
        rng: On the method's device.
        across: Of each cluster in `rows`.
    """
    sizes = labels.bincount()
    counts = (sizes.cumsum(0) * n / len(labels)).round().long().diff(prepend=torch.zeros(1, dtype=torch.int64))
    images, clusters, rows = [], [], []
    for cluster in sizes.nonzero().flatten().tolist():
        count = int(counts[cluster])
        drawn = sampled(model, max(count, across), rng, latents[(labels == cluster).to(latents.device)])
        images.append(drawn[:count])
        clusters.append(torch.full((count,), cluster))
        rows.append(drawn[:across])
    order = torch.randperm(n, generator=rng, device=rng.device).cpu()
    return ByCluster(torch.cat(images)[order], torch.cat(clusters)[order], torch.cat(rows))


@torch.inference_mode()
def _as_bytes(batches: Iterable[Tensor]) -> Tensor:
    """Images in [0, 1], rounded to 256 levels; the batches are made one by one, here."""
    levels = []
    for images in batches:
        if not images.isfinite().all():
            raise BenchError("the method makes images that are not finite; it has diverged.")
        levels.append((images.float() * 255).round().clamp(0, 255).to(torch.uint8).cpu())
    return torch.cat(levels)
