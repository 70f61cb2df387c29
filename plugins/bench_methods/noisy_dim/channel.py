"""A channel that adds noise: its capacity, the head that sends, and critics that score received against sent rows.

Paper: Butakov et al., ICLR 2025, https://arxiv.org/abs/2410.06993 (both bounds)
Shapes: N rows of D features or of P coordinates; received row i is sent row i plus noise.
"""

import math

import torch
from torch import Tensor, nn


def gaussian_bound(dim: int, noise: float) -> float:
    """Return the capacity in nats of normal noise for coordinates of variance 1; only N(0, I) reaches it.

    Args:
        dim: P.
        noise: Standard deviation of the noise; 0 gives inf.
    """
    return dim / 2 * math.log1p(1 / noise**2) if noise > 0 else math.inf


def uniform_bound(dim: int, noise: float) -> float:
    """Return the capacity in nats of uniform noise in [-noise, noise] for coordinates in [0, 1].

    U(0, 1) sends less: by log(1 + 2 noise) - noise for each coordinate, up to noise 1/2.

    Args:
        dim: P.
        noise: Half-width of the noise; 0 gives inf.
    """
    return dim * math.log1p(1 / (2 * noise)) if noise > 0 else math.inf


def gaussian_log_ratio(received: Tensor, sent: Tensor, variance: Tensor) -> Tensor:
    """Return log p(y | u) / p(y) for y = u + noise and u from N(0, I).

    Args:
        received: (N, P), y.
        sent: (N, P), u.
        variance: () variance of the noise.

    Returns:
        (N, N): rows are received, columns sent.
    """
    norms = received.square().sum(1, keepdim=True)  # (N, 1)
    squares = norms + sent.square().sum(1) - 2 * received @ sent.T
    log_ratio = received.shape[1] / 2 * torch.log1p(1 / variance)
    return log_ratio + norms / (2 * (1 + variance)) - squares / (2 * variance)


class Sender(nn.Module):
    """Head that ends in batch norm without parameters, so that its outputs have mean 0 and deviation 1.

    With a scale after the norm, training could make the outputs so large that the noise has no effect.
    """

    def __init__(self, features: int, width: int, dim: int) -> None:
        """Build the head.

        Args:
            features: D.
            width: Units of the hidden layer.
            dim: P.
        """
        super().__init__()
        self.body = nn.Sequential(nn.Linear(features, width), nn.LeakyReLU(), nn.Linear(width, dim, bias=False))
        self.norm = nn.BatchNorm1d(dim, affine=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, D) to normalised rows (N, P) in float32, by the moments of the batch in train mode."""
        outputs = self.body(features)
        with torch.autocast(outputs.device.type, enabled=False):
            normalised: Tensor = self.norm(outputs.float())
        return normalised


class QuadraticCritic(nn.Module):
    """Critic `gaussian_log_ratio` with a learned variance; exact if rows are N(0, I) and the noise is normal."""

    def __init__(self, noise: float) -> None:
        """Start at the variance of the noise, but at least at .01: below, the first steps diverge.

        Args:
            noise: Standard deviation of the noise.
        """
        super().__init__()
        self.log_variance = nn.Parameter(torch.tensor(2 * math.log(max(noise, 0.1))))

    def forward(self, received: Tensor, sent: Tensor) -> Tensor:
        """Return the scores (N, N) of received rows and sent columns."""
        return gaussian_log_ratio(received, sent, self.log_variance.exp())


class MLPCritic(nn.Module):
    """Critic of three layers that reads each pair of rows.

    The first layer is linear, so it is applied to N received and N sent rows, and not to N^2 pairs.
    """

    def __init__(self, dim: int, width: int) -> None:
        """Build the layers.

        Args:
            dim: P.
            width: Units of the hidden layers.
        """
        super().__init__()
        self.received, self.sent = nn.Linear(dim, width), nn.Linear(dim, width, bias=False)
        self.rest = nn.Sequential(nn.LeakyReLU(), nn.Linear(width, width), nn.LeakyReLU(), nn.Linear(width, 1))

    def forward(self, received: Tensor, sent: Tensor) -> Tensor:
        """Return the scores (N, N) of received rows and sent columns."""
        scores: Tensor = self.rest(self.received(received)[:, None] + self.sent(sent)[None])  # (N, N, 1)
        return scores[..., 0]
