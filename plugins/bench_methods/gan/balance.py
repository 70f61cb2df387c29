"""Add two terms of a loss, of which the second one's gradient is at most as long as that of the first.

Paper: Belghazi et al., ICML 2018, https://arxiv.org/abs/1801.04062 (section 5.1: the adaptive clipping of MINE in GANs)
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def limited_sum(main: Tensor, other: Tensor, parameters: Sequence[nn.Parameter]) -> tuple[Tensor, Tensor]:
    """Return main + share * other, where the share shortens the other term's gradient to the main term's length.

    With the gradients g of both terms by all parameters together the sum has the gradient
    g_main + min(|g_main|, |g_other|) g_other / |g_other|. Both gradients are computed here, once; the sum only passes
    them on, and has no gradient by anything but these parameters.

    Args:
        main: () term whose gradient stays as it is.
        other: () term whose gradient may be shortened.
        parameters: Parameters that both terms depend on.

    Returns:
        () the sum.
        () the share, in [0, 1].
    """
    g_main, g_other = (torch.autograd.grad(term, parameters, retain_graph=True) for term in (main, other))
    main_length, other_length = (torch.stack([g.norm() for g in each]).norm() for each in (g_main, g_other))
    share = (main_length / other_length.clamp_min(torch.finfo(other_length.dtype).tiny)).clamp_max(1)
    steps = [(p * (g + share * h)).sum() for p, g, h in zip(parameters, g_main, g_other, strict=True)]
    carrier = torch.stack(steps).sum()  # its gradient by p is g + share * h
    return (main + share * other).detach() + carrier - carrier.detach(), share
