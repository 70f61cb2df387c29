"""Critics that are fitted to pairs, and the lower bounds of mutual information that they reach on other pairs.

Sources: `bench_core.nn.mutual_information` for the bounds; the split into train and test pairs: McAllester and Stratos,
         AISTATS 2020, https://arxiv.org/abs/1811.04251, who also show that no such bound exceeds about the logarithm of
         the number of pairs.
Shapes: N train pairs, M test pairs; D and E coordinates; K pairs of a batch.
"""

import copy
import math
from collections.abc import Callable
from statistics import fmean

import torch
from torch import Tensor, nn

from bench_core.nn.heads import mlp
from bench_core.nn.mutual_information import donsker_varadhan, info_nce, joint_and_product, lower_bound

Pairs = tuple[Tensor, Tensor]  # (N, D) and (N, E): rows with the same index form a pair


class PairCritic(nn.Module):
    """Critic T(x, y) = b(x) + c(y) - |f(x) - g(y)|^2 / (2 sqrt(U)); each map is linear plus a small network.

    With a squared distance and a term for each side, linear maps alone are exact for Gaussians. Two views of one image
    are exchangeable, so one map serves both sides, which halves the number of parameters that can overfit.
    """

    gain: Tensor

    def __init__(self, dim: int, units: int, other_dim: int | None = None) -> None:
        """Initialise the maps from the global generator.

        Args:
            dim: D.
            units: U, the width of the maps.
            other_dim: E; None if x and y are exchangeable, so that one map serves both.
        """
        super().__init__()
        self.left = _Side(dim, units)
        self.right = self.left if other_dim is None else _Side(other_dim, units)
        self.scale = 0.5 / math.sqrt(units)
        self.register_buffer("gain", torch.ones(()))  # 0 makes all scores 0: x and y count as independent

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Score all pairs of x (A, D) and y (B, E): (A, B)."""
        f, b = self.left(x)
        g, c = self.right(y)
        squares = f.square().sum(1, keepdim=True) + g.square().sum(1) - 2 * f @ g.T
        scores: Tensor = self.gain * (b + c.T - self.scale * squares)
        return scores


class _Side(nn.Module):
    """Map of one side: (A, D) -> (A, U) and (A, 1)."""

    def __init__(self, dim: int, units: int) -> None:
        super().__init__()
        self.linear, self.net = nn.Linear(dim, units + 1), mlp(dim, units, units + 1, norm=False)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        both = self.linear(rows) + self.net(rows)
        return both[:, 1:], both[:, :1]


def fit_critic(
    critic: PairCritic, train: Pairs, rng: torch.Generator, *, batch_size: int, steps: int, learning_rate: float = 2e-3
) -> int:
    """Fit a critic to the sum of InfoNCE and Donsker and Varadhan's bound, and keep its best weights.

    Both bounds have the same optimum, log p(x, y) / p(x) p(y) plus a constant. InfoNCE alone does not determine a
    function of x; the other bound alone is harder to optimise. A fifth of the pairs is held out, and every 20 steps the
    sum of both bounds is measured on it. The weights of the largest sum are kept; if no sum is above 0, all scores are
    set to 0.

    Args:
        critic: On the device of the pairs; it is changed.
        train: Rows in random order, each coordinate of about mean 0 and deviation 1; N >= 10.
        rng: Generator on the CPU that draws the batches.
        batch_size: K; all pairs if there are fewer.
        steps: Number of Adam steps.
        learning_rate: First learning rate; it falls to 0 along a cosine.

    Returns:
        The step whose weights were kept, 0 for none.
    """
    held_out, (x, y) = split_pairs(train)
    log_average = torch.tensor(-math.inf, device=x.device)

    def loss() -> Tensor:
        nonlocal log_average
        rows = torch.randperm(len(x), generator=rng)[:batch_size].to(x.device)
        scores = critic(x[rows], y[rows])
        dv_bound, log_average = lower_bound("dv", scores, log_average)
        return -info_nce(scores) - dv_bound

    def value() -> float:
        return held_out_info_nce(critic, held_out, batch_size) + held_out_donsker_varadhan(critic, held_out)

    best_step = fit_best(critic, loss, value, steps=steps, learning_rate=learning_rate)
    if best_step == 0:
        critic.gain.zero_()
    return best_step


def split_pairs(pairs: Pairs) -> tuple[Pairs, Pairs]:
    """Split pairs into the first fifth, which is held out, and the others."""
    x, y = pairs
    count = len(x) // 5
    return (x[:count], y[:count]), (x[count:], y[count:])


def fit_best(
    critic: nn.Module, loss: Callable[[], Tensor], value: Callable[[], float], *,
    steps: int, learning_rate: float, every: int = 20,
) -> int:  # fmt: skip
    """Minimise a loss by Adam, and keep the weights with the largest value on pairs that are held out.

    Args:
        critic: The network that is trained.
        loss: Function that draws a batch and returns its loss ().
        value: Function that measures the critic on pairs that are neither trained nor tested on.
        steps: Number of Adam steps.
        learning_rate: First learning rate; it falls to 0 along a cosine.
        every: Number of steps between two calls of `value`.

    Returns:
        The step whose weights were kept. 0 if no value was above 0: the weights are then those from before.
    """
    optimizer = torch.optim.Adam(critic.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, best_step, weights = 0.0, 0, copy.deepcopy(critic.state_dict())
    for step in range(1, steps + 1):
        batch_loss = loss()
        optimizer.zero_grad()
        torch.autograd.backward(batch_loss)
        optimizer.step()
        schedule.step()
        if step % every == 0 or step == steps:
            reached = value()
            if reached > best:
                best, best_step, weights = reached, step, copy.deepcopy(critic.state_dict())
    critic.load_state_dict(weights)
    return best_step


@torch.no_grad()
def held_out_info_nce(critic: PairCritic, test: Pairs, batch_size: int) -> float:
    """Return InfoNCE, the mean over whole batches of K pairs in their order; at most log K (K = M with fewer pairs)."""
    x, y = test
    starts = range(0, max(len(x) - batch_size, 0) + 1, batch_size)
    return fmean(float(info_nce(critic(x[i : i + batch_size], y[i : i + batch_size]))) for i in starts)


@torch.no_grad()
def held_out_donsker_varadhan(critic: PairCritic, test: Pairs) -> float:
    """Return Donsker and Varadhan's bound over all M (M - 1) products; far from 0 a few dominate and it is noisy."""
    return float(donsker_varadhan(*joint_and_product(critic(*test))))
