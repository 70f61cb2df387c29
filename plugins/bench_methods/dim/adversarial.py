"""Losses of an adversarial game: a discriminator separates real rows from fake ones, the encoder makes the fake ones.

DIM matches its summary to the prior with it: real rows are samples of the prior, fake rows are summaries.

Papers: Goodfellow et al., NeurIPS 2014, https://arxiv.org/abs/1406.2661 (both losses); Mescheder, Geiger, Nowozin,
        ICML 2018, https://arxiv.org/abs/1801.04406 (the gradient penalty, centred at zero)

Shapes: N rows of P coordinates.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def discriminator_loss(discriminator: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two terms of the discriminator's loss: cross-entropy and gradient penalty.

    Args:
        discriminator: (N, P) -> logits (N, 1), high for rows that it classifies as real.
        real: (N, P); gets no gradient.
        fake: (N, P); gets no gradient.

    Returns:
        () cross-entropy of the real rows plus that of the fake ones; 2 log 2 if the logits are 0.
        () squared length of the logit's gradient by its input, a mean over both kinds of rows.
    """
    with torch.autocast(real.device.type, enabled=False):
        inputs = [rows.detach().float().requires_grad_() for rows in (real, fake)]
        real_logits, fake_logits = (discriminator(rows) for rows in inputs)
        gradients = torch.autograd.grad(real_logits.sum() + fake_logits.sum(), inputs, create_graph=True)
        penalty = torch.cat(gradients).square().sum(1).mean()
        return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean(), penalty


def fooling_loss(discriminator: nn.Module, fake: Tensor) -> Tensor:
    """Return the encoder's loss in the game: -log of the chance that its rows are classified as real.

    This non-saturating loss keeps its gradient where the discriminator is sure; log(1 - chance) would lose it.

    Args:
        discriminator: (N, P) -> logits (N, 1).
        fake: (N, P); gets a gradient, as do those parameters of the discriminator that require one.

    Returns:
        () mean over rows; log 2 if the logits are 0.
    """
    with torch.autocast(fake.device.type, enabled=False):
        return F.softplus(-discriminator(fake.float())).mean()
