"""Items that are not one tensor: nodes of one graph, whole graphs, and pairs of two modalities.

    Split(Graphs(features, edges, graph, 188), labels)    # what Dataset.load returns
    batch.inputs.select(torch.tensor([3, 1]))             # the graphs 3 and 1, in that order

A split holds all its items as one of these, and a batch holds some of them. Each has the methods of
`bench_core.contracts.Items`.

Shapes: N items, V nodes, E edges, F features of a node, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Nodes:
    """Some nodes of one graph, together with the whole graph.

    The items are the nodes in `index`; their features depend on the rest of the graph, so all of it is there. A step
    is one pass over the graph, whatever the batch size.

    Attributes:
        features: Features (V, F) float32 of all nodes.
        adjacency: Sparse COO tensor (V, V) float32, coalesced and symmetric, with 1 at each edge and no loops.
        index: Positions (N,) int64 of the items among all nodes.
    """

    features: Tensor
    adjacency: Tensor
    index: Tensor

    def __len__(self) -> int:
        """Return the number of items N."""
        return len(self.index)

    def select(self, index: Tensor) -> Self:
        """Return the items at index (M,) int64; the graph stays whole."""
        return replace(self, index=self.index[index])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Return the same items on a device."""
        return replace(self, **_moved(self, device, non_blocking))

    @classmethod
    def from_edges(cls, features: Tensor, edges: Tensor, index: Tensor) -> "Nodes":
        """Build the graph from its edges, in any order; loops and repeated edges are left out.

        Args:
            features: Features (V, F) of all nodes.
            edges: Nodes (2, E) int64 that each edge joins, in one or both directions.
            index: Positions (N,) int64 of the items among all nodes.
        """
        both = torch.cat([edges, edges.flip(0)], 1)
        both = torch.unique(both[:, both[0] != both[1]], dim=1)
        ones, count = torch.ones(both.shape[1]), len(features)
        adjacency = torch.sparse_coo_tensor(both, ones, (count, count), check_invariants=True).coalesce()
        return cls(features, adjacency, index)

    def all_nodes(self) -> Self:
        """Return all nodes of the graph as items, for methods that read the whole graph."""
        return replace(self, index=torch.arange(len(self.features), device=self.index.device))

    @classmethod
    def join(cls, parts: Sequence["Nodes"]) -> "Nodes":
        """Return the items of several parts of one graph, one part after the other.

        Raises:
            ValueError: The parts are not of one graph.
        """
        first = parts[0]
        if any(part.features is not first.features or part.adjacency is not first.adjacency for part in parts):
            raise ValueError("nodes of different graphs cannot be joined")
        return replace(first, index=torch.cat([part.index for part in parts]))


@dataclass(frozen=True)
class Graphs:
    """Whole graphs, laid one after the other. The nodes of a graph lie together, in the order of the graphs.

    Attributes:
        features: Features (V, F) float32 of the nodes of all graphs.
        edges: Nodes (2, E) int64 that each edge goes from and to, ordered by graph; both directions are there.
        graph: Number (V,) int64 of the graph that each node belongs to, ascending from 0 to N - 1.
        count: Number of graphs N.
    """

    features: Tensor
    edges: Tensor
    graph: Tensor
    count: int

    def __len__(self) -> int:
        """Return the number of graphs N."""
        return self.count

    def select(self, index: Tensor) -> Self:
        """Return the graphs at index (M,) int64, in that order; a graph may be there several times."""
        nodes, graph, first_old, first_new = _ranges(self.graph, self.count, index)
        edge_graph = self.graph[self.edges[0]]
        edges, edge_owner, _, _ = _ranges(edge_graph, self.count, index)
        moved_by = (first_new - first_old)[edge_owner]
        return replace(
            self, features=self.features[nodes], edges=self.edges[:, edges] + moved_by, graph=graph, count=len(index)
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Return the same graphs on a device."""
        return replace(self, **_moved(self, device, non_blocking))

    @classmethod
    def join(cls, parts: Sequence["Graphs"]) -> "Graphs":
        """Return the graphs of several parts, one part after the other."""
        edges, graph, nodes, count = [], [], 0, 0
        for part in parts:
            edges.append(part.edges + nodes)
            graph.append(part.graph + count)
            nodes, count = nodes + len(part.features), count + part.count
        return cls(torch.cat([part.features for part in parts]), torch.cat(edges, 1), torch.cat(graph), count)


@dataclass(frozen=True)
class Pair:
    """Pairs of two modalities, such as an image and its sketch: item i is `first[i]` with `second[i]`.

    Attributes:
        first: N items of the first modality of `DataSpec.modalities`: a tensor (N, ...), or Graphs and the like.
        second: N items of the second modality.
    """

    first: Any
    second: Any

    def __len__(self) -> int:
        """Return the number of pairs N."""
        return len(self.first)

    def select(self, index: Tensor) -> Self:
        """Return the pairs at index (M,) int64, in that order."""
        return replace(self, first=select(self.first, index), second=select(self.second, index))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Return the same pairs on a device."""
        return replace(self, **_moved(self, device, non_blocking))

    @classmethod
    def join(cls, parts: Sequence["Pair"]) -> "Pair":
        """Return the pairs of several parts, one part after the other."""
        return cls(join([part.first for part in parts]), join([part.second for part in parts]))


@dataclass(frozen=True)
class NodeMap:
    """A local map whose locations are the nodes of graphs; `Encoder.maps` may give one.

    Attributes:
        values: Channels (V, C) of each node.
        graph: Number (V,) int64 of the item that each node belongs to, ascending from 0. Of nodes of one graph there
            is a row for each item of the batch, and `graph` is 0 to N - 1.
    """

    values: Tensor
    graph: Tensor


def select(inputs: Any, index: Tensor) -> Any:
    """Return the items at index (M,) int64 of a tensor (N, ...) or of Items, in that order, as a copy."""
    return inputs.index_select(0, index) if isinstance(inputs, Tensor) else inputs.select(index)


def join(parts: Sequence[Any]) -> Any:
    """Return the items of several tensors, or of several Items of one class, one part after the other."""
    return torch.cat(list(parts)) if isinstance(parts[0], Tensor) else type(parts[0]).join(parts)


def as_float(inputs: Any) -> Any:
    """Return uint8 images as float32 in [0, 1], also those of pairs; anything else as it is."""
    if isinstance(inputs, Pair):
        return Pair(as_float(inputs.first), as_float(inputs.second))
    return inputs.float().div_(255) if isinstance(inputs, Tensor) and inputs.dtype == torch.uint8 else inputs


def num_bytes(inputs: Any) -> int:
    """Return the bytes that the tensors of some inputs take; 0 for objects of an unknown class."""
    if isinstance(inputs, Tensor):
        return 0 if inputs.is_sparse else inputs.numel() * inputs.element_size()
    parts = (getattr(inputs, f.name) for f in fields(inputs)) if isinstance(inputs, Nodes | Graphs | Pair) else ()
    return sum(num_bytes(part) for part in parts)


def _moved(items: "Nodes | Graphs | Pair", device: torch.device | str, non_blocking: bool) -> dict[str, Any]:
    """Return the tensors and Items of some items on a device, by field."""
    values = {f.name: getattr(items, f.name) for f in fields(items)}
    return {name: v.to(device, non_blocking=non_blocking) for name, v in values.items() if hasattr(v, "to")}


def _ranges(owner: Tensor, count: int, index: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return where the rows of some owners lie, for rows that are ordered by owner.

        owner 0 0 1 2 2, index 2 0   ->   rows 3 4 0 1, new owner 0 0 1 1, first row before 3 0, after 0 2

    Args:
        owner: Owner (R,) of each row, ascending.
        count: Number of owners.
        index: Owners (M,) whose rows are wanted.
    """
    sizes = torch.bincount(owner, minlength=count)
    first_old = (sizes.cumsum(0) - sizes)[index]
    wanted = sizes[index]
    first_new = wanted.cumsum(0) - wanted
    new_owner = torch.repeat_interleave(torch.arange(len(index), device=owner.device), wanted)
    rows = torch.arange(len(new_owner), device=owner.device) + (first_old - first_new)[new_owner]
    return rows, new_owner, first_old, first_new
