"""Tiny encoders of vectors, nodes, graphs and pairs, with which methods of these kinds are checked.

The one of images is `toys.TinyEncoder`.

Shapes: N items, D values of a vector, V nodes, F features of a node.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core.config import NoConfig
from bench_core.conformance.toys import TinyEncoder
from bench_core.contracts import DataSpec, Encoder
from bench_core.data import Graphs, NodeMap, Nodes, Pair

_HIDDEN, _DIM = 8, 12


class TinyVectorEncoder(Encoder):
    """Encoder of vectors, of two linear layers (ours)."""

    kinds = frozenset({"vector"})

    def __init__(self, data: DataSpec, config: NoConfig) -> None:
        """Build the layers."""
        super().__init__(data, config)
        self.dim = _DIM
        self.first, self.second = nn.Linear(data.shape[0], _HIDDEN), nn.Linear(_HIDDEN, _DIM)

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the output of both layers, each at one location: (N, 8, 1) and (N, 12, 1)."""
        first = F.relu(self.first(inputs))
        return {"first": first[..., None], "second": self.second(first)[..., None]}

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the output of the second layer: (N, D) -> (N, 12)."""
        return self.maps(inputs)["second"].squeeze(2)


class TinyGraphEncoder(Encoder):
    """Encoder of nodes and of graphs, of two layers that sum over neighbours (ours)."""

    kinds = frozenset({"nodes", "graphs"})

    def __init__(self, data: DataSpec, config: NoConfig) -> None:
        """Build the layers."""
        super().__init__(data, config)
        self.dim = _DIM
        self.first, self.second = nn.Linear(data.shape[0], _HIDDEN), nn.Linear(_HIDDEN, _DIM)

    def maps(self, inputs: Nodes | Graphs) -> dict[str, NodeMap]:
        """Return the output of both layers at each item of nodes, or at all nodes of graphs: (V, 8) and (V, 12)."""
        first = F.relu(self.first(_with_neighbours(inputs, inputs.features)))
        second = self.second(_with_neighbours(inputs, first))
        if isinstance(inputs, Graphs):
            return {"first": NodeMap(first, inputs.graph), "second": NodeMap(second, inputs.graph)}
        items = torch.arange(len(inputs), device=first.device)
        return {"first": NodeMap(first[inputs.index], items), "second": NodeMap(second[inputs.index], items)}

    def forward(self, inputs: Nodes | Graphs) -> Tensor:
        """Return the second map of each node (N, 12), or its mean over the nodes of each graph."""
        nodes = self.maps(inputs)["second"].values
        if isinstance(inputs, Nodes):
            return nodes
        sums: Tensor = nodes.new_zeros(len(inputs), self.dim).index_add(0, inputs.graph, nodes)
        return sums / torch.bincount(inputs.graph, minlength=len(inputs))[:, None]


class TinyPairEncoder(Encoder):
    """Encoder of pairs, with a tiny encoder for each modality (ours)."""

    kinds = frozenset({"pairs"})

    def __init__(self, data: DataSpec, config: NoConfig) -> None:
        """Build an encoder for each modality."""
        super().__init__(data, config)
        self.first, self.second = (TINY_ENCODERS[m.kind](m, config) for m in (data.modalities or {}).values())
        self.dim = self.first.dim + self.second.dim

    def maps(self, inputs: Pair) -> dict[str, Any]:
        """Return the maps of both modalities: `first_first`, `first_second`, `second_first`, ..."""
        first, second = self.first.maps(inputs.first), self.second.maps(inputs.second)
        return {f"first_{name}": m for name, m in first.items()} | {f"second_{name}": m for name, m in second.items()}

    def forward(self, inputs: Pair) -> Tensor:
        """Return the features of both modalities, side by side: (N, 24)."""
        return torch.cat([self.first(inputs.first), self.second(inputs.second)], 1)


def _with_neighbours(inputs: Nodes | Graphs, values: Tensor) -> Tensor:
    """Add to the values (V, F) of each node those of its neighbours."""
    if isinstance(inputs, Nodes):
        neighbours: Tensor = torch.sparse.mm(inputs.adjacency, values)
        return values + neighbours
    source, target = inputs.edges
    return values.index_add(0, target, values[source])


# Kind of data -> the encoder with which methods of this kind are checked.
TINY_ENCODERS: Mapping[str, type[Encoder]] = {
    "image": TinyEncoder,
    "vector": TinyVectorEncoder,
    "nodes": TinyGraphEncoder,
    "graphs": TinyGraphEncoder,
    "pairs": TinyPairEncoder,
}
