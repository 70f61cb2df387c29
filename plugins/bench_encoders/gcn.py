"""GCN: each layer averages a node's features with those of its neighbours and maps the result linearly.

Paper: Kipf and Welling, "Semi-supervised classification with graph convolutional networks", ICLR 2017, Eq. (2),
    https://arxiv.org/abs/1609.02907
Code:  https://github.com/PetarV-/DGI/blob/61baf67d/layers/gcn.py, whose layer is the default: one of 512 units, PReLU
Note:  Kipf and Welling classify with two layers of 16 and K units, ReLU and dropout 0.5. Here a linear head of the
    method follows the encoder, so `widths = [16, 16]` comes closest to theirs.

Shapes: V nodes of the graph, F features of a node, N items, D = the last width.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from bench_core import Config, DataSpec, Encoder, hookimpl, param
from bench_core.data import NodeMap, Nodes

_FEW = 0.1  # part of the inputs that is not 0, up to which a sparse product is used: on Cora it is 7 times as fast


@dataclass(frozen=True, kw_only=True)
class GCNConfig(Config):
    """Parameters of the network."""

    widths: tuple[int, ...] = param((512,), "units of each layer, shallow to deep", "DGI's code at 61baf67d", ge=1)
    activation: Literal["prelu", "relu"] = param(
        "prelu", "nonlinearity after each layer; prelu learns one slope a layer", "DGI's code at 61baf67d"
    )
    dropout: float = param(
        0.0, "part of the inputs of each layer that is set to 0 in training", "code at 61baf67d", ge=0, lt=1
    )

    def __post_init__(self) -> None:
        """Check that there is a layer."""
        super().__post_init__()
        if not self.widths:
            raise ValueError("widths must have at least one number, got none")


class GCN(Encoder):
    """Graph convolutions over all nodes (Kipf 2017).

    A layer computes activation(A' X W + b), where A' averages over a node and its neighbours: the adjacency with
    loops, divided by the square roots of the degrees on both sides. Reads nodes of one graph.
    """

    Config = GCNConfig
    kinds = frozenset({"nodes"})
    shares_rows = False  # the features of a node depend on its neighbours

    def __init__(self, data: DataSpec, config: GCNConfig) -> None:
        """Build the layers."""
        super().__init__(data, config)
        self.dim = config.widths[-1]
        self.layers = nn.ModuleDict()
        before = data.shape[0]
        for k, width in enumerate(config.widths, start=1):
            self.layers[f"gcn{k}"] = GraphConvolution(before, width, config.activation, config.dropout)
            before = width

    def forward(self, inputs: Nodes) -> Tensor:
        """Return features (N, D) of the items; all nodes of the graph are computed."""
        return self._layers(inputs)[f"gcn{len(self.layers)}"][inputs.index]

    def maps(self, inputs: Nodes) -> dict[str, NodeMap]:
        """Return the output of each layer for the items (N, width): `gcn1`, `gcn2`, ..."""
        items = torch.arange(len(inputs), device=inputs.index.device)
        return {name: NodeMap(x[inputs.index], items) for name, x in self._layers(inputs).items()}

    def features_and_maps(self, inputs: Nodes) -> tuple[Tensor, dict[str, NodeMap]]:
        """Return features and maps from one pass; the features are the last map."""
        maps = self.maps(inputs)
        return maps[f"gcn{len(self.layers)}"].values, maps

    def _layers(self, inputs: Nodes) -> dict[str, Tensor]:
        """Return the output (V, width) of each layer for all nodes."""
        averages = averaging(inputs.adjacency)
        x, outputs = inputs.features, {}
        for name, layer in self.layers.items():
            x = outputs[name] = layer(x, averages)
        return outputs


class GraphConvolution(nn.Module):
    """One layer: (V, F) -> (V, width)."""

    def __init__(self, before: int, width: int, activation: str, dropout: float) -> None:
        """Draw the weights from Glorot's uniform distribution; the bias starts at 0.

        Args:
            before: Number of features of the layer's inputs.
            width: Number of units.
            activation: "prelu" or "relu".
            dropout: Part of the inputs that is set to 0 in training.
        """
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(before, width)))
        self.bias = nn.Parameter(torch.zeros(width))
        self.activation = nn.PReLU() if activation == "prelu" else nn.ReLU()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, averages: Tensor) -> Tensor:
        """Return activation(A' X W + b), where the product with W comes first: it makes the rows shorter.

        Args:
            x: Features (V, F) of all nodes.
            averages: The matrix A' (V, V), from `averaging`.
        """
        x = self.dropout(x)
        if not x.requires_grad and x.count_nonzero() < _FEW * x.numel():
            x = x.to_sparse()
        output: Tensor = self.activation(averages @ (x @ self.weight) + self.bias)
        return output


def averaging(adjacency: Tensor) -> Tensor:
    """Return A' = D^(-1/2) (A + I) D^(-1/2), where D has the row sums of A + I on its diagonal.

    Args:
        adjacency: Sparse A (V, V), without loops.

    Returns:
        Sparse (V, V). A node without neighbours averages over itself alone.
    """
    count, device = len(adjacency), adjacency.device
    loops = torch.arange(count, device=device)
    indices = torch.cat([adjacency.indices(), loops.expand(2, -1)], 1)
    values = torch.cat([adjacency.values(), torch.ones(count, device=device)])
    scale = torch.zeros(count, device=device).index_add(0, indices[0], values).rsqrt()
    values = scale[indices[0]] * values * scale[indices[1]]
    return torch.sparse_coo_tensor(indices, values, (count, count), check_invariants=False).coalesce()


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"gcn": GCN}
