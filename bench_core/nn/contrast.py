"""NT-Xent, the contrast of two views within a batch.

Paper: Chen, Kornblith, Norouzi, Hinton, "A simple framework for contrastive learning of visual representations", ICML
       2020, https://arxiv.org/abs/2002.05709, Eq. (1)

Shapes: N images, rows i and i + N are two views of one; P dimensions of a projection.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def nt_xent(projections: Tensor, temperature: float) -> Tensor:
    """Return NT-Xent: the cross-entropy of finding the other view among all other views, by cosine similarity (Eq. 1).

    Args:
        projections: (2N, P); rows i and i + N are two views of one image.
        temperature: Divides the cosine similarities, > 0.

    Returns:
        () mean over 2N rows, in nats; log(2N - 1) when all rows are equal.
    """
    with torch.autocast(projections.device.type, enabled=False):  # bf16 products would round the similarities
        z = F.normalize(projections.float(), dim=-1)
        similarity = z @ z.T / temperature  # (2N, 2N)
        diagonal = torch.eye(len(z), dtype=torch.bool, device=z.device)  # a view is no candidate for itself
        partner = torch.arange(len(z), device=z.device).roll(len(z) // 2)
        return F.cross_entropy(similarity.masked_fill(diagonal, -torch.inf), partner)
