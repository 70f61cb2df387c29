"""Information between graphs and their nodes, from scores of all pairs, and the networks whose products are the scores.

Paper: Sun, Hoffmann, Verma, Tang, ICLR 2020, Sec. 3.3, https://arxiv.org/abs/1908.01000
Code:  https://github.com/fanyun-sun/InfoGraph/blob/673a065/unsupervised (losses.py, model.py)
Note:  The code multiplies the scores of other pairs by 0, which leaves its sums as they are because a score of 0 counts
    0. Here these scores are left out.

Shapes: N graphs, V nodes, D channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import DataSpec, Encoder
from bench_core.data import Graphs, NodeMap
from bench_core.errors import BenchError
from bench_core.nn.mutual_information import jensen_shannon


def node_jsd(scores: Tensor, graph: Tensor) -> Tensor:
    """Return E_own[-softplus(-T)] - E_others[softplus(T)] + 2 log 2, with one mean over nodes and one over other pairs.

    Args:
        scores: T (V, N) of each node with each graph.
        graph: Number (V,) int64 of the graph that each node belongs to.

    Returns:
        () at most 2 log 2; 0 if all scores are 0.

    Raises:
        BenchError: There is one graph, so no pair of a node with another graph.
    """
    count = scores.shape[1]
    if count < 2:
        raise BenchError(
            f"nodes are compared with other graphs of the batch, which has {count}; set recipe.batch_size to 2 or more"
        )
    # Columns of other graphs: those before the own one, and those after it moved up by one. A mask would make the
    # host wait for the device.
    others = torch.arange(count - 1, device=scores.device).expand(len(scores), -1)
    others = others + (others >= graph[:, None])
    return jensen_shannon(scores.gather(1, graph[:, None]), scores.gather(1, others))


class Critic(nn.Module):
    """Scores pairs of two kinds of rows: the inner product of what one residual network for each kind returns."""

    def __init__(self, first_dim: int, second_dim: int, width: int) -> None:
        """Build both networks.

        Args:
            first_dim: Width of the rows of the first kind.
            second_dim: Width of the rows of the second kind.
            width: Width of the rows whose inner product is the score.
        """
        super().__init__()
        self.first, self.second = Residual(first_dim, width), Residual(second_dim, width)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Score rows (A, first_dim) with rows (B, second_dim): (A, B), in float32 also under autocast."""
        a, b = self.first(first), self.second(second)
        with torch.autocast(a.device.type, enabled=False):
            scores: Tensor = a.float() @ b.float().T
        return scores


class Residual(nn.Module):
    """Three linear layers, each with ReLU, plus a linear shortcut."""

    def __init__(self, inputs: int, width: int) -> None:
        """Build the layers with Xavier's uniform weights and biases of 0."""
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(before, width) for before in (inputs, width, width))
        self.shortcut = nn.Linear(inputs, width)
        for layer in (*self.layers, self.shortcut):
            assert isinstance(layer, nn.Linear)
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, rows: Tensor) -> Tensor:
        """Transform rows (R, inputs) into (R, width)."""
        hidden = rows
        for layer in self.layers:
            hidden = F.relu(layer(hidden))
        total: Tensor = hidden + self.shortcut(rows)
        return total


def node_map(maps: dict[str, NodeMap]) -> NodeMap:
    """Return the last map, which is that of all layers where an encoder gives one."""
    return list(maps.values())[-1]


def node_channels(encoder: Encoder, data: DataSpec) -> int:
    """Return the number of channels of the encoder's last map; no parameter, buffer or generator changes."""
    device = next((p.device for p in encoder.parameters()), None)
    nothing = torch.empty(2, 0, dtype=torch.int64)
    one = Graphs(torch.zeros(1, *data.shape), nothing, torch.zeros(1, dtype=torch.int64), 1)
    training = encoder.training
    with torch.no_grad():
        maps = encoder.eval().maps(one.to(device or "cpu"))
    encoder.train(training)
    return node_map(maps).values.shape[1]


def graphs_skip_reason(data: DataSpec) -> str | None:
    """Return a reason unless the data are graphs, two or more to train on."""
    if data.kind != "graphs":
        return "needs graphs"
    return None if data.num_train > 1 else "needs two graphs or more"
