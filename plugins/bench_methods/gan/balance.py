"""Shorten the gradient of one term of a loss to the length of that of another.

Paper: Belghazi et al., ICML 2018, https://arxiv.org/abs/1801.04062 (section 5.1: the adaptive clipping of MINE in GANs)
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def limited_share(main: Tensor, other: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
    """Return the factor () in [0, 1] with which the other term's gradient is at most as long as the main term's.

    With the gradients g of both terms by all parameters together it is min(1, |g_main| / |g_other|), so that `main +
    factor * other` has the gradient g_main + min(|g_main|, |g_other|) g_other / |g_other|.

    Args:
        main: () term whose gradient stays as it is.
        other: () term whose gradient may be shortened.
        parameters: Parameters that both terms depend on.
    """
    main_length, other_length = (
        torch.stack([each.norm() for each in torch.autograd.grad(term, parameters, retain_graph=True)]).norm()
        for term in (main, other)
    )
    return (main_length / other_length.clamp_min(torch.finfo(other_length.dtype).tiny)).clamp_max(1)
