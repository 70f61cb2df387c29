"""Scores of images by a method that has one of its own, such as BiGAN's reconstruction error.

Paper: Zenati et al., 2018, https://arxiv.org/abs/1802.06222, for BiGAN

Shapes: N images.
"""

import torch
from torch import Tensor

from bench_core import BenchError, OutlierScoring, Split
from bench_core.data import open_split

_BATCH = 512


def own_scores(method: OutlierScoring, images: Split, device: torch.device) -> Tensor:
    """Return the method's score (N,) of each image, float64 on the CPU; higher is further out.

    Args:
        method: The trained method, in eval mode.
        images: N images of the shape that the method was trained on.
        device: Device of the method.

    Raises:
        BenchError: The method gave no finite number for each image.
    """
    parts = []
    with torch.no_grad():
        for batch in open_split(images, device).batches(_BATCH):
            scores = method.outlier_score(batch.inputs)
            if scores.shape != batch.index.shape or not scores.isfinite().all():
                raise BenchError(
                    f"outlier_score of {type(method).__name__} must return one finite number for each image, "
                    f"{tuple(batch.index.shape)}; got shape {tuple(scores.shape)}, or a value that is not finite."
                )
            parts.append(scores.double().cpu())
    return torch.cat(parts)
