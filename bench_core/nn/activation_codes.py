"""Activation codes and the noisy channel that they are sent through: the part that `nac` and `nac_moco` share.

Paper: Park, Lee, Kim, Blei, ICML 2021, https://arxiv.org/abs/2112.04014
Code:  https://github.com/yookoon/nac (7d706c0)
Note:  formulas follow that repository, which replaces the signs of a code by tanh(z / sqrt(P)) so that gradients can
       pass. The loss of such relaxed codes gives no bound of the information, so `information` takes the signs.

Shapes: N images, rows i and i + N are two views of one; C channels, H x W pixels, D features, P code bits, K keys.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core.views import Augmentation, augment

# Floor of the codes' mean square. Training begins near the saddle where all codes are 0 (loss log(K)), approaches it
# first and then leaves. Ours: on digits the mean square was below .03 on this plateau and above .2 after it (1 to 32
# bits, flip .1 to .4).
PLATEAU = 0.1
HEAD_NORMS = ("none", "batch")  # norms in the hidden layer of a head


class CodeViews(NamedTuple):
    """Views of a batch, and the noise of the channel on their codes.

    Attributes:
        images: (2N, C, H, W), both views of each image.
        flips: (2N, P), -1 where the channel flips a bit, else +1.
    """

    images: Tensor
    flips: Tensor


def code_head(features: int, bits: int, norm: str) -> nn.Sequential:
    """Build the head of a code, or of the inference network: D -> D -> P, with biases in both layers.

    Args:
        features: D.
        bits: P.
        norm: One of `HEAD_NORMS`: "batch" puts batch norm between the first layer and its ReLU, as the option `proj_bn`
            of the authors' program for ImageNet does (branch imagenet, c0a6d60, moco/moco/builder.py); "none" leaves it
            out, as their program for CIFAR-10.
    """
    norms = [nn.BatchNorm1d(features)] if norm == "batch" else []
    return nn.Sequential(nn.Linear(features, features), *norms, nn.ReLU(), nn.Linear(features, bits))


def code_views(images: Tensor, augmentation: Augmentation, bits: int, flip: float, rng: torch.Generator) -> CodeViews:
    """Augment each image twice, then draw which bits the channel flips, each with probability `flip`.

    Args:
        images: (N, C, H, W) in [0, 1].
        augmentation: Augmentation of both views.
        bits: P, bits of a code.
        flip: Probability p that the channel flips a bit.
        rng: Generator on the device of the images.
    """
    views = torch.cat([augment(images, rng, augmentation) for _ in range(2)])
    draws = torch.rand(len(views), bits, generator=rng, device=views.device)
    return CodeViews(views, 1 - 2 * (draws < flip).float())


def nac_loss(codes: Tensor, logits: Tensor, flips: Tensor, flip: float, keys: Tensor | None = None) -> Tensor:
    """Return the loss of NAC: a variational bound on the information between a received code and the other view.

    -E[log q(y | x')] + E[log p_batch(y)] up to the constant that `information` adds again. Only the anchor y passes
    the channel. p_batch is the mixture of all 2N clean codes; without those of the anchor and its partner it would be
    no bound.

    Args:
        codes: (2N, P) in [-1, 1]; rows i and i + N are two views of one image.
        logits: (2N, P) output of the inference network; a row predicts its partner's code.
        flips: (2N, P), +1 or -1: noise of the channel on each row's code.
        flip: Probability p in (0, .5) that the channel flips a bit; beta = 1/2 log((1 - p) / p).
        keys: (K, P) clean codes of the mixture; None takes `codes`, with their gradient.

    Returns:
        () mean over 2N rows, in nats; log(K) where codes and logits are 0.
    """
    beta = 0.5 * math.log((1 - flip) / flip)
    with torch.autocast(codes.device.type, enabled=False):  # thousands of small terms are summed
        received = flips * codes
        positive = log_posterior(received, logits)
        return (torch.logsumexp(beta * received @ (codes if keys is None else keys).T, 1) - positive).mean()


def log_posterior(received: Tensor, logits: Tensor) -> Tensor:
    """Return how well the other view predicts the received code: log q(y | x') + P log 2, in nats.

    Args:
        received: (2N, P) received codes y in [-1, 1].
        logits: (2N, P) output l of the inference network; a row predicts its partner's y.

    Returns:
        (2N,), 0 where logits are 0. A bit y = -1 or +1 adds logsigmoid(y l) + log 2; in between it is linear in y.
    """
    predicted = logits.roll(len(logits) // 2, 0)
    both = F.logsigmoid(predicted) + F.logsigmoid(-predicted) + math.log(4)
    return 0.5 * (received * predicted + both).sum(1)


def information(codes: Tensor, logits: Tensor, flips: Tensor, flip: float) -> Tensor:
    """Return a lower bound () in nats on the information about the other view in binary codes sent by the channel.

    The arguments are those of `nac_loss`; of the codes only the signs count. The inference network was trained on
    relaxed codes, whose entries are smaller than 1, so its logits are divided by their mean size. This is allowed: any
    logits that do not depend on the flips give a bound. Its mean over flips is at most `information_ceiling`; a single
    draw may be above.
    """
    signs = 2 * (codes > 0).to(codes.dtype) - 1
    rescaled = logits / codes.abs().mean().clamp_min(1e-6)
    log_cosh = -math.log(2) - 0.5 * math.log(flip * (1 - flip))
    return math.log(len(codes)) - nac_loss(signs, rescaled, flips, flip) + codes.shape[1] * log_cosh


def information_ceiling(rows: int, bits: int, flip: float) -> float:
    """Return the largest value of `information` in nats: the smaller of log(rows) and bits x (log 2 - h(p)).

    The first is the limit for a batch of so many rows, the second the channel's capacity; h is the entropy of a flip.
    """
    entropy = -flip * math.log(flip) - (1 - flip) * math.log(1 - flip)
    return min(math.log(rows), bits * (math.log(2) - entropy))
