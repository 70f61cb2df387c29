"""Lower bounds of mutual information that hold because they are measured on items nobody was trained on, in nats.

Sources: Barber and Agakov, NeurIPS 2003 (a classifier's bound); `bench_core.nn.mutual_information` for the critics';
         the split into train and test pairs: McAllester and Stratos, AISTATS 2020, https://arxiv.org/abs/1811.04251,
         who show, too, that no such bound tells more than about the logarithm of the number of pairs.
Shapes: N pairs to train on, M others; D and E coordinates; K pairs of a batch.
"""

import copy
import math
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core.nn.heads import mlp
from bench_core.nn.mutual_information import donsker_varadhan, info_nce, joint_and_product, lower_bound

Pairs = tuple[Tensor, Tensor]  # (N, D) and (N, E): rows of one index belong together


def entropy_of(labels: Tensor) -> float:
    """Of the classes' frequencies: (N,) int64 -> nats."""
    return float(torch.special.entr(torch.bincount(labels).double() / len(labels)).sum())


def classifier_information(logits: Tensor, labels: Tensor) -> float:
    """H(label) less the cross-entropy of a classifier: at most I(x; label) in the mean, below 0 for a bad classifier.

    Args:
        logits: (M, K) of a classifier that was fitted on other items.
        labels: (M,) int64.
    """
    return entropy_of(labels) - float(F.cross_entropy(logits.double(), labels))


class PairCritic(nn.Module):
    """T(x, y) = b(x) + c(y) - |f(x) - g(y)|^2 / (2 sqrt(U)): linear maps, each with a small network beside it.

    A squared distance and a term for each side make it exact for Gaussians with linear maps alone. Two views of one
    image are exchangeable, so one map serves both sides, which halves what can be overfitted.
    """

    gain: Tensor

    def __init__(self, dim: int, units: int, other_dim: int | None = None) -> None:
        """Initialised from the global generator.

        Args:
            dim: D.
            units: U, the width of the maps.
            other_dim: E; None for x and y that are exchangeable, of the same kind and order.
        """
        super().__init__()
        self.left = _Side(dim, units)
        self.right = self.left if other_dim is None else _Side(other_dim, units)
        self.scale = 0.5 / math.sqrt(units)
        self.register_buffer("gain", torch.ones(()))  # 0 says that x and y are independent

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(A, D) and (B, E) -> (A, B)."""
        f, b = self.left(x)
        g, c = self.right(y)
        squares = f.square().sum(1, keepdim=True) + g.square().sum(1) - 2 * f @ g.T
        scores: Tensor = self.gain * (b + c.T - self.scale * squares)
        return scores


class _Side(nn.Module):
    """(A, D) -> (A, U) and (A, 1)."""

    def __init__(self, dim: int, units: int) -> None:
        super().__init__()
        self.linear, self.net = nn.Linear(dim, units + 1), mlp(dim, units, units + 1, norm=False)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        both = self.linear(rows) + self.net(rows)
        return both[:, 1:], both[:, :1]


def fit_critic(
    critic: PairCritic, train: Pairs, rng: torch.Generator, *, batch_size: int, steps: int, learning_rate: float = 2e-3
) -> int:
    """Fit a critic to InfoNCE and to Donsker and Varadhan's bound at once, and leave it where it was best.

    Both have the same optimum, log p(x, y) / p(x) p(y) plus a constant; InfoNCE alone leaves a function of x free, the
    other bound alone is harder to climb. A fifth of the pairs is kept apart, and every 20 steps the sum of both bounds
    is measured on it: the weights of the largest are kept, or none (all scores 0) where that is not above 0.

    Args:
        critic: On the device of the pairs; changed.
        train: Rows in random order, each coordinate of about mean 0 and deviation 1; N >= 10.
        rng: On the CPU; batches are drawn from it.
        batch_size: K; all pairs where there are fewer.
        steps: Of Adam.
        learning_rate: At first; it falls to 0 along a cosine.

    Returns:
        The step whose weights were kept, 0 for none.
    """
    apart = len(train[0]) // 5
    (x, y), kept = (train[0][apart:], train[1][apart:]), (train[0][:apart], train[1][:apart])
    optimizer = torch.optim.Adam(critic.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    log_average = torch.tensor(-math.inf, device=x.device)
    best, best_step, weights = 0.0, 0, copy.deepcopy(critic.state_dict()) | {"gain": torch.zeros_like(log_average)}
    for step in range(1, steps + 1):
        rows = torch.randperm(len(x), generator=rng)[:batch_size].to(x.device)
        scores = critic(x[rows], y[rows])
        mine, log_average = lower_bound("dv", scores, log_average)
        optimizer.zero_grad()
        torch.autograd.backward(-info_nce(scores) - mine)
        optimizer.step()
        schedule.step()
        if step % 20 == 0 or step == steps:
            value = held_out_info_nce(critic, kept, batch_size) + held_out_donsker_varadhan(critic, kept)
            if value > best:
                best, best_step, weights = value, step, copy.deepcopy(critic.state_dict())
    critic.load_state_dict(weights)
    return best_step


@torch.no_grad()
def held_out_info_nce(critic: PairCritic, test: Pairs, batch_size: int) -> float:
    """Mean over whole batches of K pairs in their order; at most log K, K = M where there are fewer."""
    x, y = test
    starts = range(0, max(len(x) - batch_size, 0) + 1, batch_size)
    return fmean(float(info_nce(critic(x[i : i + batch_size], y[i : i + batch_size]))) for i in starts)


@torch.no_grad()
def held_out_donsker_varadhan(critic: PairCritic, test: Pairs) -> float:
    """From all M (M - 1) products at once; far from 0 a few of them decide, and its deviation is large."""
    return float(donsker_varadhan(*joint_and_product(critic(*test))))
