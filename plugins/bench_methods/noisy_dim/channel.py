"""A channel that adds noise: what it can carry, what is sent, and critics that score what was received against it.

Paper: Butakov et al., ICLR 2025, https://arxiv.org/abs/2410.06993 (both bounds)
Shapes: N rows of D features or of P coordinates; row i was received where row i was sent.
"""

import math

import torch
from torch import Tensor, nn


def gaussian_bound(dim: int, noise: float) -> float:
    """Most nats through normal noise of this deviation from coordinates of variance 1; N(0, I) alone sends as much."""
    return dim / 2 * math.log1p(1 / noise**2) if noise > 0 else math.inf


def uniform_bound(dim: int, noise: float) -> float:
    """Most nats through noise in [-noise, noise] from coordinates in [0, 1].

    U(0, 1) sends log(1 + 2 noise) - noise less a coordinate, up to noise 1/2.
    """
    return dim * math.log1p(1 / (2 * noise)) if noise > 0 else math.inf


def gaussian_log_ratio(received: Tensor, sent: Tensor, variance: Tensor) -> Tensor:
    """Scores (N, N): log p(y | u) / p(y) where y = u + noise of this variance and u follows N(0, I).

    Args:
        received: (N, P), y.
        sent: (N, P), u.
        variance: () of the noise.
    """
    norms = received.square().sum(1, keepdim=True)  # (N, 1)
    squares = norms + sent.square().sum(1) - 2 * received @ sent.T
    log_ratio = received.shape[1] / 2 * torch.log1p(1 / variance)
    return log_ratio + norms / (2 * (1 + variance)) - squares / (2 * variance)


class Sender(nn.Module):
    """A head whose last step fixes mean 0 and deviation 1: no parameter after it could scale the noise away."""

    def __init__(self, features: int, width: int, dim: int) -> None:
        """Build: D = features, P = dim."""
        super().__init__()
        self.body = nn.Sequential(nn.Linear(features, width), nn.LeakyReLU(), nn.Linear(width, dim, bias=False))
        self.norm = nn.BatchNorm1d(dim, affine=False)

    def forward(self, features: Tensor) -> Tensor:
        """(N, D) -> (N, P) float32, by the batch's own moments in train mode."""
        outputs = self.body(features)
        with torch.autocast(outputs.device.type, enabled=False):
            normalised: Tensor = self.norm(outputs.float())
        return normalised


class QuadraticCritic(nn.Module):
    """`gaussian_log_ratio` with a learned variance: exact where N(0, I) is sent and arrives with normal noise."""

    def __init__(self, noise: float) -> None:
        """Start at the variance of this noise, at .01 at least: with less, the first steps explode."""
        super().__init__()
        self.log_variance = nn.Parameter(torch.tensor(2 * math.log(max(noise, 0.1))))

    def forward(self, received: Tensor, sent: Tensor) -> Tensor:
        """Scores (N, N) of received rows and sent columns."""
        return gaussian_log_ratio(received, sent, self.log_variance.exp())


class MLPCritic(nn.Module):
    """Three layers on each pair; the first, linear in both, is worked on N rows of each and not on N^2 pairs."""

    def __init__(self, dim: int, width: int) -> None:
        """Build for P = dim."""
        super().__init__()
        self.received, self.sent = nn.Linear(dim, width), nn.Linear(dim, width, bias=False)
        self.rest = nn.Sequential(nn.LeakyReLU(), nn.Linear(width, width), nn.LeakyReLU(), nn.Linear(width, 1))

    def forward(self, received: Tensor, sent: Tensor) -> Tensor:
        """Scores (N, N) of received rows and sent columns."""
        scores: Tensor = self.rest(self.received(received)[:, None] + self.sent(sent)[None])  # (N, N, 1)
        return scores[..., 0]
