"""Losses of an adversarial game: a discriminator separates real items from fake ones, a network makes the fake ones.

DIM matches its summary to the prior with it: real items are samples of the prior, fake ones are summaries. In a GAN the
real items are images, and a generator makes the fake ones.

Papers: Goodfellow et al., NeurIPS 2014, https://arxiv.org/abs/1406.2661 (both losses); Mescheder, Geiger, Nowozin,
        ICML 2018, https://arxiv.org/abs/1801.04406 (the gradient penalty, centred at zero)

Shapes: N items, each a row of P coordinates or an image: (N, ...).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def discriminator_loss(discriminator: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two terms of the discriminator's loss: cross-entropy and gradient penalty.

    Args:
        discriminator: (N, ...) -> logits (N, 1), high for items that it classifies as real.
        real: (N, ...); gets no gradient.
        fake: (N, ...); gets no gradient.

    Returns:
        () cross-entropy of the real items plus that of the fake ones; 2 log 2 if the logits are 0.
        () squared length of the logit's gradient by its input, a mean over both kinds of items.
    """
    with torch.autocast(real.device.type, enabled=False):
        inputs = [items.detach().float().requires_grad_() for items in (real, fake)]
        real_logits, fake_logits = (discriminator(rows) for rows in inputs)
        gradients = torch.autograd.grad(real_logits.sum() + fake_logits.sum(), inputs, create_graph=True)
        penalty = torch.cat(gradients).flatten(1).square().sum(1).mean()
        return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean(), penalty


def fooling_loss(discriminator: nn.Module, fake: Tensor) -> Tensor:
    """Return the encoder's loss in the game: -log of the chance that its items are classified as real.

    This non-saturating loss keeps its gradient where the discriminator is sure; log(1 - chance) would lose it.

    Args:
        discriminator: (N, ...) -> logits (N, 1).
        fake: (N, ...); gets a gradient, as do those parameters of the discriminator that require one.

    Returns:
        () mean over items; log 2 if the logits are 0.
    """
    with torch.autocast(fake.device.type, enabled=False):
        return F.softplus(-discriminator(fake.float())).mean()
