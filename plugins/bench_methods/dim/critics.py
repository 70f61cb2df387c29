"""Critics: networks that score how well each summary fits each local feature.

Paper: Hjelm et al., ICLR 2019, https://arxiv.org/abs/1808.06670 (encode-and-dot, concat-and-convolve)
Code:  https://github.com/rdevon/DIM/blob/bac4765/cortex_DIM/nn_modules/mi_networks.py

Shapes: A summaries of P coordinates, B images with L locations of K channels, U units.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core.nn.heads import mlp


def make_critic(name: str, summary_dim: int, local_dim: int, units: int, divisor: float) -> nn.Module:
    """Build a critic by name.

    Args:
        name: "dot" for DotCritic, "concat" for ConcatCritic.
        summary_dim: P.
        local_dim: K.
        units: U of DotCritic; not used by ConcatCritic.
        divisor: Divisor of DotCritic's scores; not used by ConcatCritic.
    """
    if name == "concat":
        return ConcatCritic(summary_dim, local_dim)
    return DotCritic(summary_dim, local_dim, units, divisor)


class DotCritic(nn.Module):
    """Encode-and-dot critic: one network for summaries, one for local features; the score is their inner product."""

    def __init__(self, summary_dim: int, local_dim: int, units: int, divisor: float = 1.0) -> None:
        """Build both networks.

        Args:
            summary_dim: P.
            local_dim: K.
            units: U, width of both networks.
            divisor: Divides the inner products. Layer norm keeps these within [-U, U] at initialisation.
        """
        super().__init__()
        self.summary, self.local = Embedding(summary_dim, units), Embedding(local_dim, units)
        self.divisor = divisor

    def forward(self, summaries: Tensor, locations: Tensor) -> Tensor:
        """Score summaries (A, P) with locations (B, L, K): (A, B, L), in float32 also under autocast."""
        y = self.summary(summaries)
        c = self.local(locations.flatten(0, 1))  # (B * L, U); batch norm averages over all locations
        with torch.autocast(y.device.type, enabled=False):
            scores: Tensor = y.float() @ c.float().T / self.divisor
        return scores.view(len(y), *locations.shape[:2])


class Embedding(nn.Module):
    """Two layers plus a linear shortcut that starts near the identity, then layer norm."""

    def __init__(self, inputs: int, units: int) -> None:
        """Build the layers.

        With fewer units than inputs the shortcut cannot be near the identity and keeps torch's initialisation.

        Args:
            inputs: Width of an input row.
            units: U, width of an output row.
        """
        super().__init__()
        self.block = mlp(inputs, units, units)
        self.shortcut = nn.Linear(inputs, units, bias=False)
        self.norm = nn.LayerNorm(units)
        if units >= inputs:
            with torch.no_grad():
                self.shortcut.weight.uniform_(-0.01, 0.01).fill_diagonal_(1.0)

    def forward(self, rows: Tensor) -> Tensor:
        """Embed rows (R, inputs) as (R, U)."""
        embedded: Tensor = self.norm(self.block(rows) + self.shortcut(rows))
        return embedded


class ConcatCritic(nn.Module):
    """Concat-and-convolve critic: a network of H, H and 1 units reads the summary next to the local feature."""

    def __init__(self, summary_dim: int, local_dim: int, hidden: int = 512) -> None:
        """Build the network.

        Args:
            summary_dim: P.
            local_dim: K.
            hidden: H. Scoring all pairs keeps two tensors of A * B * L * H numbers in memory.
        """
        super().__init__()
        self.summary_dim = summary_dim
        self.first = nn.Linear(summary_dim + local_dim, hidden)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, summaries: Tensor, locations: Tensor) -> Tensor:
        """Score summaries (A, P) with locations (B, L, K): (A, B, L)."""
        # The first layer is linear, so each side passes it once, and not once for each pair.
        summary_weight = self.first.weight[:, : self.summary_dim]
        local_weight = self.first.weight[:, self.summary_dim :]
        y = F.linear(summaries, summary_weight, self.first.bias)
        c = F.linear(locations, local_weight)
        scores: Tensor = self.rest(y[:, None, None] + c[None])  # (A, B, L, 1)
        return scores[..., 0]
