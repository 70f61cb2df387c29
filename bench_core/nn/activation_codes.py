"""Activation codes and the noisy channel they are sent through: what NAC and its momentum-queue variant share.

Paper: Park, Lee, Kim, Blei, ICML 2021, https://arxiv.org/abs/2112.04014
Code:  https://github.com/yookoon/nac (7d706c0)
Note:  formulas follow the code, which relaxes the code's signs to tanh(z / sqrt(P)). The information of the relaxed
       loss is no bound, so `information` takes the signs.

Shapes: N images, rows i and i + N are two views of one; C channels, H x W pixels, D features, P code bits, K keys.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core.views import Augmentation, augment

# Floor of the codes' mean squared norm. Training begins near the saddle of codes 0 (loss log(K)) and falls towards it
# before it leaves. Ours: on digits it was under .03 on this plateau and over .2 after it (1 to 32 bits, flip .1 to .4).
PLATEAU = 0.1


class CodeViews(NamedTuple):
    """Images (2N, C, H, W) of both views, and what the channel does to their codes: flips (2N, P), +1 or -1."""

    images: Tensor
    flips: Tensor


def code_head(features: int, bits: int) -> nn.Sequential:
    """Of the code and of the inference network alike: D -> D -> P, biases and no batch norm."""
    return nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, bits))


def code_views(images: Tensor, augmentation: Augmentation, bits: int, flip: float, rng: torch.Generator) -> CodeViews:
    """Augment each image twice, then draw what the channel flips: each bit with probability `flip`.

    Args:
        images: (N, C, H, W) in [0, 1].
        augmentation: Of both views.
        bits: P.
        flip: The channel's p.
        rng: On the device of the images.
    """
    views = torch.cat([augment(images, rng, augmentation) for _ in range(2)])
    draws = torch.rand(len(views), bits, generator=rng, device=views.device)
    return CodeViews(views, 1 - 2 * (draws < flip).float())


def nac_loss(codes: Tensor, logits: Tensor, flips: Tensor, flip: float, keys: Tensor | None = None) -> Tensor:
    """Variational bound on the information between a received code and the other view, as a loss.

    -E[log q(y | x')] + E[log p_batch(y)] up to the constant that `information` restores. Only the anchor y passes
    the channel; p_batch mixes all 2N clean codes, the anchor's own and its partner's included, or it is no bound.

    Args:
        codes: (2N, P) in [-1, 1]; rows i and i + N are two views of one image.
        logits: (2N, P) of the inference network; a row answers for its partner's code.
        flips: (2N, P), +1 or -1: the channel's noise on each row's code.
        flip: The channel's p in (0, .5); beta = 1/2 log((1 - p) / p).
        keys: (K, P) clean codes to be mixed; None: `codes`, with gradient.

    Returns:
        () mean over 2N rows, in nats; log(K) where codes and logits are 0.
    """
    beta = 0.5 * math.log((1 - flip) / flip)
    with torch.autocast(codes.device.type, enabled=False):  # thousands of small terms are summed
        received = flips * codes
        positive = log_posterior(received, logits)
        return (torch.logsumexp(beta * received @ (codes if keys is None else keys).T, 1) - positive).mean()


def log_posterior(received: Tensor, logits: Tensor) -> Tensor:
    """How well the other view tells what was received: log q(y | x') + P log 2, in nats.

    Args:
        received: (2N, P) y in [-1, 1].
        logits: (2N, P) of the inference network; a row answers for its partner's y.

    Returns:
        (2N,), each 0 where logits are 0; linear in y between y = -1 and +1, where a bit gives
        logsigmoid(y l) + log 2.
    """
    answer = logits.roll(len(logits) // 2, 0)
    both = F.logsigmoid(answer) + F.logsigmoid(-answer) + math.log(4)
    return 0.5 * (received * answer + both).sum(1)


def information(codes: Tensor, logits: Tensor, flips: Tensor, flip: float) -> Tensor:
    """Lower bound () in nats on the information that hard codes, sent through the channel, keep of the other view.

    Arguments as for `nac_loss`; codes count by their signs. The network answers for relaxed bits of a mean size below
    1, so its logits are divided by that size; any logits that do not see the flips give a bound. In the mean over
    flips, not in each draw, it is at most `information_ceiling`.
    """
    signs = 2 * (codes > 0).to(codes.dtype) - 1
    answers = logits / codes.abs().mean().clamp_min(1e-6)
    log_cosh = -math.log(2) - 0.5 * math.log(flip * (1 - flip))
    return math.log(len(codes)) - nac_loss(signs, answers, flips, flip) + codes.shape[1] * log_cosh


def information_ceiling(rows: int, bits: int, flip: float) -> float:
    """What the bound cannot exceed, in nats: the batch's log(rows), the channel's bits x (log 2 - h(p))."""
    entropy = -flip * math.log(flip) - (1 - flip) * math.log(1 - flip)
    return min(math.log(rows), bits * (math.log(2) - entropy))
