"""A dataset of graphs instead of images: read by index, encoded, trained on and evaluated by the real harness."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench_core import Batch, Dataset, DataSpec, Encoder, Loss, NoConfig, Objective, Recipe, Split


class GraphBatch:
    """Adjacency (N, V, V) and node features (N, V, F), moved together."""

    def __init__(self, adjacency: Tensor, nodes: Tensor) -> None:
        self.adjacency, self.nodes = adjacency, nodes

    def to(self, device: torch.device, **_: Any) -> "GraphBatch":
        """Move both to a device."""
        return GraphBatch(self.adjacency.to(device), self.nodes.to(device))


class GraphReader:
    """Reads graphs by index; they are never one tensor in memory."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def read(self, index: Tensor) -> GraphBatch:
        """Return rings and stars of five nodes."""
        ring = torch.eye(5).roll(1, 0) + torch.eye(5).roll(-1, 0)
        star = torch.zeros(5, 5)
        star[0, 1:] = star[1:, 0] = 1
        adjacency = torch.stack([ring if i % 2 else star for i in index.tolist()])
        return GraphBatch(adjacency, torch.ones(len(index), 5, 1))


class Graphs(Dataset):
    """Rings and stars of five nodes, two classes."""

    def __init__(self, root: Path, config: NoConfig) -> None:
        self.root = root

    def spec(self) -> DataSpec:
        """Describe two splits of graphs."""
        return DataSpec(shape=(5,), splits={"train": 32, "test": 8}, num_classes=2)

    def digest(self) -> str:
        """Return a fixed digest: code makes the graphs."""
        return "graphs-1"

    def load(self, split: str) -> Split:
        """Return a reader with labels."""
        count = self.spec().splits[split]
        return Split(GraphReader(count), torch.arange(count) % 2)


class GraphEncoder(Encoder):
    """Two rounds of message passing."""

    Config = NoConfig
    dim = 6

    def __init__(self, data: DataSpec, config: NoConfig) -> None:
        super().__init__(data, config)
        self.mix = nn.Linear(2, self.dim)

    def forward(self, inputs: GraphBatch) -> Tensor:
        """Return the mean over nodes."""
        once = inputs.adjacency @ inputs.nodes
        return torch.tanh(self.mix(torch.cat([once, inputs.adjacency @ once], 2))).mean(1)

    def maps(self, inputs: GraphBatch) -> dict[str, Tensor]:
        """Return nothing: graphs have no local maps."""
        return {}


class SpreadFeatures(Objective):
    """Spreads the features of a batch; works on anything that an encoder reads."""

    recipe = Recipe(optimizer="sgd", learning_rate=0.05, epochs=2, batch_size=16)

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Return the inputs."""
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return minus the variance of the features."""
        return Loss(-self.encoder(views).var(0).sum())


def test_dataset_of_graphs_is_trained_on_and_evaluated(
    plan_of: Callable[..., Any], add: Callable[[str, str, type], None], train: Callable[..., Any]
) -> None:
    add("dataset", "graphs", Graphs)
    add("encoder", "message_passing", GraphEncoder)
    add("objective", "spread_features", SpreadFeatures)
    trained = train(plan_of(datasets=["graphs"], encoders=["message_passing"], methods=["spread_features"]))
    assert trained.log[-1]["loss"] < trained.log[0]["loss"]
    assert (next(iter(trained.record.scores.values())).value or 0.0) > 0.01  # rings and stars get different features


@pytest.mark.parametrize(("shape", "is_image"), [((1, 8, 8), True), ((7,), False), ((4, 3, 8, 8), False)])
def test_an_input_of_three_dimensions_is_an_image(shape: tuple[int, ...], is_image: bool) -> None:
    assert DataSpec(shape=shape, splits={"train": 4}).is_image == is_image
