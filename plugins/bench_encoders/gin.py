"""GIN: a graph isomorphism network, which adds up the neighbours of a node in each layer.

Paper: Xu, Hu, Leskovec, Jegelka, ICLR 2019, https://arxiv.org/abs/1810.00826 (Eq. 4.1, and Eq. 4.2 without layer 0)
Code:  https://github.com/fanyun-sun/InfoGraph/blob/673a065/unsupervised/gin.py
Note:  Layers, their order and initial weights are those of InfoGraph's code: ReLU and then batch norm after the two
    linear layers of each step, none between them. GIN's own code has batch norm between them and before ReLU.

Shapes: N graphs, V nodes, E edges in both directions, F features of a node, H units, D = H times the number of layers.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Config, DataSpec, Encoder, hookimpl, param
from bench_core.data import Graphs, NodeMap


@dataclass(frozen=True, kw_only=True)
class GINConfig(Config):
    """Parameters of the network: width, depth and the weight of a node's own vector."""

    layers: int = param(
        3,
        "number of layers; after k a node's vector depends on nodes k edges away",
        "InfoGraph's README: 3 (code: 5)",
        ge=1,
    )
    width: int = param(32, "units of each layer", "InfoGraph's code: 32", ge=1)
    learn_eps: bool = param(
        False,
        "learn how much a node's own vector counts beside its neighbours', instead of once",
        "InfoGraph's code: GIN-0",
    )


class GIN(Encoder):
    """Network that sums over neighbours (Xu 2019).

    Each layer adds a node's vector to those of its neighbours and transforms the sum. Features of a graph are the sums
    of its nodes' vectors in each layer, side by side. Maps are the node vectors of each layer, and of all (`nodes`).
    """

    Config = GINConfig
    kinds = frozenset({"graphs"})

    def __init__(self, data: DataSpec, config: GINConfig) -> None:
        """Build the layers."""
        super().__init__(data, config)
        self.dim = config.layers * config.width
        inputs = [data.shape[0]] + [config.width] * (config.layers - 1)
        self.layers = nn.ModuleList(GINLayer(width, config.width, config.learn_eps) for width in inputs)

    def forward(self, inputs: Graphs) -> Tensor:
        """Return features (N, D) of N graphs."""
        return self.features_and_maps(inputs)[0]

    def maps(self, inputs: Graphs) -> dict[str, NodeMap]:
        """Return node vectors (V, H) of each layer, `layer1`, `layer2`, ..., and of all layers, `nodes` (V, D)."""
        vectors, maps = inputs.features, {}
        for number, layer in enumerate(self.layers, start=1):
            vectors = layer(vectors, inputs.edges)
            maps[f"layer{number}"] = NodeMap(vectors, inputs.graph)
        maps["nodes"] = NodeMap(torch.cat([layer.values for layer in maps.values()], 1), inputs.graph)
        return maps

    def features_and_maps(self, inputs: Graphs) -> tuple[Tensor, dict[str, NodeMap]]:
        """Return features (N, D) and maps in one pass: features are the sums of `nodes` over each graph."""
        maps = self.maps(inputs)
        nodes = maps["nodes"].values
        return nodes.new_zeros(len(inputs), self.dim).index_add(0, inputs.graph, nodes), maps


class GINLayer(nn.Module):
    """One layer: norm(relu(MLP((1 + eps) x + sum of the neighbours' x)))."""

    def __init__(self, inputs: int, width: int, learn_eps: bool) -> None:
        """Build two linear layers with ReLU between them, and batch norm over nodes."""
        super().__init__()
        self.first, self.second = nn.Linear(inputs, width), nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)
        self.eps = nn.Parameter(torch.zeros(())) if learn_eps else 0.0
        for linear in (self.first, self.second):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, vectors: Tensor, edges: Tensor) -> Tensor:
        """Turn node vectors (V, inputs) into (V, width); edges (2, E) go from the first row to the second."""
        source, target = edges
        total = ((1 + self.eps) * vectors).index_add(0, target, vectors[source])
        normed: Tensor = self.norm(F.relu(self.second(F.relu(self.first(total)))))
        return normed


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"gin": GIN}
