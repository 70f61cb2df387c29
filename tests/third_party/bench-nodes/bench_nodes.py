"""A method of nodes, with a graph and an encoder of its own: the encoder must tell neighbours from strangers (ours).

Shapes: N items, V nodes, F features, D features of the encoder.
"""

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, Dataset, DataSpec, Encoder, Loss, NoConfig, Objective, Recipe, Split, hookimpl
from bench_core.data import NodeMap, Nodes, digest_of

SPLITS = {"train": 40, "validation": 20, "test": 60}


class Circle(Dataset):
    """120 nodes on a circle, in 4 arcs (ours)."""

    def __init__(self, root: Path, config: NoConfig) -> None:
        """Read nothing: the graph is made here."""

    def spec(self) -> DataSpec:
        """Describe the nodes."""
        return DataSpec(shape=(8,), splits=SPLITS, num_classes=4, kind="nodes", transductive=True)

    def digest(self) -> str:
        """Return the digest of features and edges."""
        nodes, labels = _circle()
        return digest_of(nodes.features, nodes.adjacency.indices(), labels)

    def load(self, split: str) -> Split:
        """Return the nodes of one split, drawn at random, with the whole graph."""
        nodes, labels = _circle()
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
        index = dict(zip(SPLITS, torch.split(order, list(SPLITS.values())), strict=True))[split]
        return Split(nodes.select(index), labels[index])


def _circle() -> tuple[Nodes, Tensor]:
    """Return all nodes, each joined with the next two, and the arc (V,) that each lies in."""
    node = torch.arange(sum(SPLITS.values()))
    labels = node * 4 // len(node)
    edges = torch.cat([torch.stack([node, (node + step) % len(node)]) for step in (1, 2)], 1)
    noise = torch.randn(len(node), 8, generator=torch.Generator().manual_seed(1))
    return Nodes.from_edges(F.one_hot(labels, 8).float() + noise, edges, node), labels


class Neighbours(Encoder):
    """One layer on the sum over neighbours (ours)."""

    kinds = frozenset({"nodes"})

    def __init__(self, data: DataSpec, config: NoConfig) -> None:
        """Build the layer."""
        super().__init__(data, config)
        self.dim = 16
        self.layer = nn.Linear(data.shape[0], self.dim)

    def forward(self, inputs: Nodes) -> Tensor:
        """Return features (N, D) of the items."""
        sums = inputs.features + torch.sparse.mm(inputs.adjacency, inputs.features)
        features: Tensor = self.layer(sums)[inputs.index].relu()
        return features

    def maps(self, inputs: Nodes) -> dict[str, NodeMap]:
        """Return the features as the only map."""
        return {"layer": NodeMap(self(inputs), torch.arange(len(inputs), device=inputs.index.device))}


class Views(NamedTuple):
    """All nodes, their edges (2, E), and as many pairs of random nodes (2, E)."""

    nodes: Nodes
    edges: Tensor
    strangers: Tensor


class Link(Objective):
    """Tell neighbours from strangers (ours)."""

    recipe = Recipe(learning_rate=1e-2, epochs=20)
    recipe_source = "ours: short, for tests"

    def make_views(self, batch: Batch, rng: torch.Generator) -> Views:
        """Draw pairs of nodes that are joined by chance only."""
        nodes = batch.inputs.all_nodes()
        edges = nodes.adjacency.indices()
        return Views(nodes, edges, torch.randint(0, len(nodes), edges.shape, generator=rng, device=edges.device))

    def forward(self, views: Views, player: str = "main") -> Loss:
        """Return the cross-entropy of the cosine of two nodes."""
        features = F.normalize(self.encoder(views.nodes), dim=1)
        scores = [5 * (features[a] * features[b]).sum(1) for a, b in (views.edges, views.strangers)]
        return Loss(-(F.logsigmoid(scores[0]) + F.logsigmoid(-scores[1])).mean())

    @classmethod
    def skip_reason(cls, data: DataSpec, config: NoConfig) -> str | None:
        """Skip all but nodes."""
        return None if data.kind == "nodes" else "needs nodes"


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"circle": Circle}


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"neighbours": Neighbours}


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"link": Link}
