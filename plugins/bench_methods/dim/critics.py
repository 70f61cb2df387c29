"""Critics: how well each summary fits each local feature.

Paper: Hjelm et al., ICLR 2019, https://arxiv.org/abs/1808.06670 (encode-and-dot, concat-and-convolve)
Code:  https://github.com/rdevon/DIM/blob/bac4765/cortex_DIM/nn_modules/mi_networks.py

Shapes: A summaries of P coordinates, B images of L locations of K channels, U units.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core.nn.heads import mlp


def make_critic(name: str, summary_dim: int, local_dim: int, units: int, divisor: float) -> nn.Module:
    """A critic by name: "dot", which `units` and `divisor` are for, or "concat"."""
    if name == "concat":
        return ConcatCritic(summary_dim, local_dim)
    return DotCritic(summary_dim, local_dim, units, divisor)


class DotCritic(nn.Module):
    """Encode and dot: both sides go through a network of their own; the score is the inner product."""

    def __init__(self, summary_dim: int, local_dim: int, units: int, divisor: float = 1.0) -> None:
        """Two networks.

        Args:
            summary_dim: P.
            local_dim: K.
            units: U, width of both networks.
            divisor: Of the inner products, which layer norm at its start keeps within [-U, U].
        """
        super().__init__()
        self.summary, self.local = Embedding(summary_dim, units), Embedding(local_dim, units)
        self.divisor = divisor

    def forward(self, summaries: Tensor, locations: Tensor) -> Tensor:
        """(A, P) and (B, L, K) -> scores (A, B, L), float32 under autocast too."""
        y = self.summary(summaries)
        c = self.local(locations.flatten(0, 1))  # (B * L, U): batch norm sees every location
        with torch.autocast(y.device.type, enabled=False):
            scores: Tensor = y.float() @ c.float().T / self.divisor
        return scores.view(len(y), *locations.shape[:2])


class Embedding(nn.Module):
    """A network of two layers beside a linear shortcut that starts near the identity, then layer norm."""

    def __init__(self, inputs: int, units: int) -> None:
        """Where there are fewer units than inputs the shortcut starts as any linear layer.

        Args:
            inputs: Width of a row.
            units: U.
        """
        super().__init__()
        self.block = mlp(inputs, units, units)
        self.shortcut = nn.Linear(inputs, units, bias=False)
        self.norm = nn.LayerNorm(units)
        if units >= inputs:
            with torch.no_grad():
                self.shortcut.weight.uniform_(-0.01, 0.01).fill_diagonal_(1.0)

    def forward(self, rows: Tensor) -> Tensor:
        """(R, inputs) -> (R, U)."""
        embedded: Tensor = self.norm(self.block(rows) + self.shortcut(rows))
        return embedded


class ConcatCritic(nn.Module):
    """Concat and convolve: a network of H, H, 1 units reads the summary beside the local feature."""

    def __init__(self, summary_dim: int, local_dim: int, hidden: int = 512) -> None:
        """One network.

        Args:
            summary_dim: P.
            local_dim: K.
            hidden: H; scores of all pairs hold A * B * L * H numbers in memory, twice.
        """
        super().__init__()
        self.summary_dim = summary_dim
        self.first = nn.Linear(summary_dim + local_dim, hidden)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, summaries: Tensor, locations: Tensor) -> Tensor:
        """(A, P) and (B, L, K) -> scores (A, B, L)."""
        # The first layer is linear in both parts: each is passed through once, not once a pair.
        left, right = self.first.weight[:, : self.summary_dim], self.first.weight[:, self.summary_dim :]
        y, c = F.linear(summaries, left, self.first.bias), F.linear(locations, right)
        scores: Tensor = self.rest(y[:, None, None] + c[None])  # (A, B, L, 1)
        return scores[..., 0]
