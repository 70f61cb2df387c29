"""Estimate the information between the inputs of a batch and their representations.

A batch of K pairs (x_i, z_i) stands for the joint distribution, and all K^2 pairs (x_i, z_j) for the product of its
marginals. Each x meets its own z with the weight 1/K, and the z of one other item for all the others. So no critic can
make the estimate larger than log K. Without the own pairs there is no such bound: where z is a function of x, a critic
that recognises each pair drives the estimate, and its gradient, to infinity.

Paper: Belghazi et al., ICML 2018, https://arxiv.org/abs/1801.04062
Note:  the paper draws the partners from the batch at random, so an item meets itself with the same chance 1/K.

Shapes: K pairs of a batch, D values of an input, P coordinates of z.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from bench_core.nn.joint_critic import JointCritic
from bench_core.nn.mutual_information import mine, nwj

EstimatorName = Literal["dv", "f"]


def batch_information(
    critic: JointCritic, x: Tensor, z: Tensor, log_average: Tensor, estimator: EstimatorName,
    noise: Sequence[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return an estimate of the information in nats, at most log K, and the new `log_average`.

    Args:
        critic: Scores pairs (K, D), (K, P) -> (K,).
        x: (K, D), in random order.
        z: (K, P), row by row the representation of x.
        log_average: () as `bench_core.nn.mutual_information.mine` keeps it; "f" returns it unchanged.
        estimator: "dv" for Donsker and Varadhan's form with MINE's corrected gradient, "f" for the f-form.
        noise: Noise of the critic for 2 K pairs: first the joint ones, then the others.

    Raises:
        ValueError: The batch has one item, which has no other to be compared with.
    """
    K = len(x)
    if K < 2:
        raise ValueError(f"needs at least 2 items in a batch, got {K}")
    with torch.autocast(x.device.type, enabled=False):
        x, z = x.float(), z.float()
        scores = critic(torch.cat([x, x]), torch.cat([z, z.roll(1, 0)]), noise)
        joint, others = scores[:K], scores[K:]
        # Twice as many scores as K: their mean of exp is 1/K of the own pairs' and (K - 1)/K of the others'.
        product = torch.cat([joint + math.log(2 / K), others + math.log(2 * (K - 1) / K)])
        if estimator == "f":
            return nwj(joint + 1, product + 1), log_average
        return mine(joint, product, log_average)
