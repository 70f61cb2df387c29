"""Make images with a method, as 8-bit images like those of the data, in batches of bounded memory.

Shapes: N images to make, C channels, H x W pixels, M items with latents, P latents, K clusters.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple, cast

import torch
from torch import Tensor

from bench_core import BenchError, Generative, Sampling
from bench_core.evaluation.other_datasets import as_bytes
from bench_core.nn.latent_sampling import gaussian_like

BATCH = 500  # images that are made at once
LAWS = ("own", "gaussian")  # laws of the latents of a cluster: the method's, or one Gaussian with their covariance


class ClusterSamples(NamedTuple):
    """Images drawn like the latents of each cluster.

    Attributes:
        images: (N, C, H, W) uint8 of all clusters in random order; a cluster's share is its share of the items.
        clusters: (N,) int64, the cluster of each image.
        rows: The first few images of each cluster that is not empty, cluster by cluster, for a picture.
    """

    images: Tensor
    clusters: Tensor
    rows: Tensor


def draw_samples(model: Sampling, n: int, rng: torch.Generator, like: Tensor | None = None, law: str = "own") -> Tensor:
    """Draw images (n, C, H, W) uint8 on the CPU by the method's `sample`, in batches.

    Args:
        model: A method that draws samples; with `like`, one that decodes.
        n: Number of images.
        rng: Generator on the method's device.
        like: As in `Generative.sample`.
        law: With `like`: one of `LAWS`.

    Raises:
        BenchError: A value is not finite.
    """
    sizes = [min(BATCH, n - start) for start in range(0, n, BATCH)]
    if like is not None and law == "gaussian":
        decoder = cast(Generative, model)
        return _levels(decoder.decode(gaussian_like(like, size, rng)) for size in sizes)
    sample: Callable[..., Tensor] = model.sample
    more = () if like is None else (like,)  # only methods that decode know it
    return _levels(sample(size, rng, *more) for size in sizes)


def decode(model: Generative, latents: Tensor, device: torch.device) -> Tensor:
    """Decode latents (M, P) to images (M, C, H, W) uint8 on the CPU, in batches.

    Raises:
        BenchError: A value is not finite.
    """
    return _levels(model.decode(part.to(device)) for part in torch.split(latents, BATCH))


def draw_by_cluster(
    model: Generative, latents: Tensor, labels: Tensor, n: int, rng: torch.Generator, per_row: int, law: str
) -> ClusterSamples:
    """Draw samples like the latents of each cluster, as many as keep the clusters' shares.

    Args:
        model: A generative method.
        latents: (M, P) latents of items, on the method's device.
        labels: (M,) int64 in [0, K), the items' clusters; some clusters may be empty.
        n: Number of images in all.
        rng: Generator on the method's device.
        per_row: Number of images of each cluster in `rows`.
        law: One of `LAWS`.
    """
    sizes = labels.bincount()
    counts = (sizes.cumsum(0) * n / len(labels)).round().long().diff(prepend=torch.zeros(1, dtype=torch.int64))
    images, clusters, rows = [], [], []
    for cluster in sizes.nonzero().flatten().tolist():
        count = int(counts[cluster])
        drawn = draw_samples(model, max(count, per_row), rng, latents[(labels == cluster).to(latents.device)], law)
        images.append(drawn[:count])
        clusters.append(torch.full((count,), cluster))
        rows.append(drawn[:per_row])
    order = torch.randperm(n, generator=rng, device=rng.device).cpu()
    return ClusterSamples(torch.cat(images)[order], torch.cat(clusters)[order], torch.cat(rows))


@torch.inference_mode()
def _levels(batches: Iterable[Tensor]) -> Tensor:
    """Round images in [0, 1] to 256 levels; each batch of the iterable is generated when it is its turn."""
    levels = []
    for images in batches:
        if not images.isfinite().all():
            raise BenchError("the method makes images that are not finite; its training has diverged.")
        levels.append(as_bytes(images).cpu())
    return torch.cat(levels)
