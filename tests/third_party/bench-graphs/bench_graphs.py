"""A method of graphs, with a set of graphs and an encoder of its own: features must tell the number of nodes (ours).

Shapes: N graphs, V nodes, E edges, D features of the encoder.
"""

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, Dataset, DataSpec, Encoder, Loss, NoConfig, Objective, Recipe, Split, hookimpl
from bench_core.data import Graphs, NodeMap, digest_of

SPLITS = {"train": 60, "test": 40}


class RingsAndStars(Dataset):
    """100 graphs: rings and stars (ours)."""

    def __init__(self, root: Path, config: NoConfig) -> None:
        """Read nothing: the graphs are made here."""

    def spec(self) -> DataSpec:
        """Describe the graphs; the feature of a node is its number of neighbours."""
        return DataSpec(shape=(1,), splits=SPLITS, num_classes=2, kind="graphs")

    def digest(self) -> str:
        """Return the digest of both splits."""
        graphs = [_graphs(range(start, start + count)) for start, count in ((0, 60), (60, 40))]
        return digest_of(*(tensor for each in graphs for tensor in (each.features, each.edges, each.graph)))

    def load(self, split: str) -> Split:
        """Make the graphs of one split: every second one is a star."""
        start, count = {"train": (0, 60), "test": (60, 40)}[split]
        return Split(_graphs(range(start, start + count)), torch.arange(count) % 2)


def _graphs(numbers: range) -> Graphs:
    """Make one ring or star of 5 to 9 nodes for each number."""
    parts = []
    for number in numbers:
        nodes = torch.arange(5 + number // 2 % 5)
        if number % 2:
            edges = torch.stack([torch.zeros_like(nodes[1:]), nodes[1:]])
        else:
            edges = torch.stack([nodes, nodes.roll(-1)])
        both = torch.cat([edges, edges.flip(0)], 1)
        degrees = torch.bincount(both[0], minlength=len(nodes)).float()[:, None]
        parts.append(Graphs(degrees, both, torch.zeros_like(nodes), 1))
    return Graphs.join(parts)


class SumOfNodes(Encoder):
    """Two layers around the sum over nodes (ours)."""

    kinds = frozenset({"graphs"})

    def __init__(self, data: DataSpec, config: NoConfig) -> None:
        """Build the layers."""
        super().__init__(data, config)
        self.dim = 16
        self.of_node, self.of_graph = nn.Linear(data.shape[0], 16), nn.Linear(16, self.dim)

    def forward(self, inputs: Graphs) -> Tensor:
        """Return features (N, D)."""
        nodes = self.maps(inputs)["nodes"]
        sums = nodes.values.new_zeros(len(inputs), 16).index_add(0, nodes.graph, nodes.values)
        features: Tensor = self.of_graph(sums)
        return features

    def maps(self, inputs: Graphs) -> dict[str, NodeMap]:
        """Return vectors (V, 16) of the nodes, each of itself and its neighbours."""
        source, target = inputs.edges
        sums = inputs.features.index_add(0, target, inputs.features[source])
        return {"nodes": NodeMap(self.of_node(sums).relu(), inputs.graph)}


class Views(NamedTuple):
    """Graphs, and the logarithm (N,) of their numbers of nodes."""

    graphs: Graphs
    sizes: Tensor


class Count(Objective):
    """Tell the number of nodes (ours)."""

    recipe = Recipe(learning_rate=1e-2, epochs=10, batch_size=20)
    recipe_source = "ours: short, for tests"

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoConfig) -> None:
        """Add a linear layer."""
        super().__init__(encoder, data, config)
        self.head = nn.Linear(encoder.dim, 1)

    def make_views(self, batch: Batch, rng: torch.Generator) -> Views:
        """Count the nodes."""
        return Views(batch.inputs, torch.bincount(batch.inputs.graph, minlength=len(batch.inputs)).log())

    def forward(self, views: Views, player: str = "main") -> Loss:
        """Return the squared error of the logarithm."""
        return Loss(F.mse_loss(self.head(self.encoder(views.graphs)).squeeze(1), views.sizes))

    @classmethod
    def skip_reason(cls, data: DataSpec, config: NoConfig) -> str | None:
        """Skip all but graphs."""
        return None if data.kind == "graphs" else "needs graphs"


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"rings_and_stars": RingsAndStars}


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"sum_of_nodes": SumOfNodes}


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"count": Count}
