"""A game over rows: a discriminator tells real ones from made ones, their maker is to fool it.

Papers: Goodfellow et al., NeurIPS 2014, https://arxiv.org/abs/1406.2661 (both losses); Mescheder, Geiger, Nowozin,
        ICML 2018, https://arxiv.org/abs/1801.04406 (the gradient penalty, centred at zero)

Shapes: N rows of P coordinates.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def discriminator_loss(discriminator: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """What the discriminator minimises: the sum of the two that are returned, the second with a weight.

    Args:
        discriminator: (N, P) -> logits (N, 1), high where it takes a row for real.
        real: (N, P).
        fake: (N, P); no gradient goes back to it, nor to `real`.

    Returns:
        () cross-entropy of the real rows plus that of the fake ones, 2 log 2 where the logits are 0; () the squared
        length of the logit's gradient by its input, averaged over both kinds of row.
    """
    with torch.autocast(real.device.type, enabled=False):
        inputs = [rows.detach().float().requires_grad_() for rows in (real, fake)]
        says_real, says_fake = (discriminator(rows) for rows in inputs)
        slopes = torch.autograd.grad(says_real.sum() + says_fake.sum(), inputs, create_graph=True)
        penalty = torch.cat(slopes).square().sum(1).mean()
        return F.softplus(-says_real).mean() + F.softplus(says_fake).mean(), penalty


def fooling_loss(discriminator: nn.Module, fake: Tensor) -> Tensor:
    """What the maker of the fake rows minimises, non-saturating: -log of the chance that they are taken for real.

    Its gradient stays where the discriminator is sure; that of log(1 - chance) does not.

    Args:
        discriminator: (N, P) -> logits (N, 1).
        fake: (N, P); the gradient goes back to it, and to whatever parameters of the discriminator are asked for.

    Returns:
        () log 2 where the logits are 0.
    """
    with torch.autocast(fake.device.type, enabled=False):
        return F.softplus(-discriminator(fake.float())).mean()
