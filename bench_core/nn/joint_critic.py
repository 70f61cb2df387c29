"""A critic that reads both sides of a pair at once: MINE's statistics network.

Paper: Belghazi et al., ICML 2018, https://arxiv.org/abs/1801.04062
Code:  https://github.com/gtegner/mine-pytorch/tree/4335819 (by others; mine/models/information_bottleneck.py has the
       layers and the noise)
Note:  ReLU units; the code has ELU, which takes many times longer on a CPU and did not estimate better in our trials.

Shapes: N pairs, D and E coordinates, U units.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NOISE = (0.3, 0.5, 0.5)  # deviation of the noise on the inputs and on the outputs of both hidden layers


class JointCritic(nn.Module):
    """Network of two hidden layers of ReLU units that gives each pair a score.

    A critic of this form can represent any dependence. But it has to read each pair by itself, so the scores of all
    pairs of a batch are costly; `shifted_scores` compares each item with few partners.
    """

    def __init__(self, dim: int, other_dim: int, units: int) -> None:
        """Initialise the layers from the global generator.

        Args:
            dim: D, length of the first side.
            other_dim: E, length of the second side.
            units: U of each hidden layer.
        """
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Linear(*widths) for widths in ((dim + other_dim, units), (units, units), (units, 1))
        )

    def forward(self, x: Tensor, y: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """Score pairs of x (N, D) and y (N, E), row by row: (N,).

        Args:
            x: (N, D).
            y: (N, E).
            noise: Noise as `draw_noise` returns it, added to what each layer reads; None adds nothing.
        """
        rows = torch.cat([x, y], 1)
        for number, layer in enumerate(self.layers):
            if number > 0:
                rows = F.relu(rows)
            if noise is not None:
                rows = rows + NOISE[number] * noise[number]
            rows = layer(rows)
        return rows.squeeze(1)

    def draw_noise(self, n: int, rng: torch.Generator) -> list[Tensor]:
        """Draw standard normal noise for what each layer reads of n pairs; rng is on the critic's device."""
        return [
            torch.randn(n, layer.in_features, generator=rng, device=rng.device)
            for layer in self.layers
            if isinstance(layer, nn.Linear)
        ]


def shifted_scores(critic: nn.Module, x: Tensor, y: Tensor, shifts: int) -> Tensor:
    """Score each x with the y of other rows: those 1, 2, ..., `shifts` rows before it, (shifts * N,).

    Rows are in random order, so these are pairs drawn independently; no row meets its own partner.

    Args:
        critic: (N, D) and (N, E) -> (N,).
        x: (N, D).
        y: (N, E).
        shifts: Number of partners of each row, 1 to N - 1.

    Raises:
        ValueError: There are not that many other rows.
    """
    if not 1 <= shifts < len(x):
        raise ValueError(f"shifts must be from 1 to {len(x) - 1}, the number of other rows, got {shifts}")
    return torch.cat([critic(x, y.roll(shift, 0)) for shift in range(1, shifts + 1)])
