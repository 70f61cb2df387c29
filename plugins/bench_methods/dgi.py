"""DGI: tell the nodes of a graph from nodes whose features were shuffled, by a summary of the graph.

Paper: Velickovic, Fedus, Hamilton, Lio, Bengio, Hjelm, "Deep graph infomax", ICLR 2019,
    https://arxiv.org/abs/1809.10341
Code:  https://github.com/PetarV-/DGI/blob/61baf67d/execute.py
Note:  The code trains up to 10,000 epochs and stops after 20 without a lesser loss; here 300 are the most by default.
    Loops that a data set has are left out of the graph before each node gets one of its own.

Shapes: V nodes, F features of a node, D features of the encoder.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, Config, DataSpec, Encoder, Loss, Objective, Recipe, hookimpl, param
from bench_core.data import Nodes


@dataclass(frozen=True, kw_only=True)
class DGIConfig(Config):
    """Parameters of DGI."""

    patience: int = param(20, "epochs without a lesser loss after which the training ends", "code at 61baf67d", ge=1)


class GraphViews(NamedTuple):
    """The graph, and the same graph whose nodes have each other's features."""

    graph: Nodes
    corrupted: Nodes


class DGI(Objective):
    """Contrast nodes with their graph (Velickovic 2019).

    Trains the encoder and a bilinear critic on all nodes of one graph, without labels. The training ends with the
    weights of the least loss. Tasks read the encoder.
    """

    Config = DGIConfig
    recipe = Recipe(optimizer="adam", learning_rate=1e-3, schedule="constant", epochs=300)
    recipe_source = "code at 61baf67d; ours: 300 epochs at most, where the code has 10,000"
    keeps = "least_loss"

    def __init__(self, encoder: Encoder, data: DataSpec, config: DGIConfig) -> None:
        """Add the critic."""
        super().__init__(encoder, data, config)
        self.patience = config.patience
        self.critic = Critic(encoder.dim)

    def make_views(self, batch: Batch, rng: torch.Generator) -> GraphViews:
        """Take all nodes of the graph, once as they are and once with features (V, F) in random order."""
        graph: Nodes = batch.inputs.all_nodes()
        order = torch.randperm(len(graph), generator=rng, device=graph.index.device)
        return GraphViews(graph, replace(graph, features=graph.features[order]))

    def forward(self, views: GraphViews, player: str = "main") -> Loss:
        """Return the mean cross-entropy in nats of telling the 2V nodes apart, with the critic's accuracy."""
        nodes, corrupted = self.encoder(views.graph), self.encoder(views.corrupted)  # (V, D) each
        summary = nodes.mean(0).sigmoid()
        scores = torch.stack([self.critic(nodes, summary), self.critic(corrupted, summary)])  # (2, V)
        real = torch.ones_like(scores)
        real[1] = 0
        accuracy = ((scores > 0) == (real > 0)).float().mean()
        return Loss(F.binary_cross_entropy_with_logits(scores, real), {"accuracy": accuracy})

    @classmethod
    def skip_reason(cls, data: DataSpec, config: DGIConfig) -> str | None:
        """Return a reason unless the data are the nodes of one graph."""
        return None if data.kind == "nodes" else "needs the nodes of one graph"


class Critic(nn.Module):
    """Bilinear score of a node and a summary, h^T W s + b; a score above 0 says that they belong together."""

    def __init__(self, dim: int) -> None:
        """Draw the weights as the code does: from Glorot's uniform distribution for one output of two inputs.

        Args:
            dim: Number of features D of nodes and summary.
        """
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, dim, dim))[0])
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, nodes: Tensor, summary: Tensor) -> Tensor:
        """Return the score (V,) of each node (V, D) with the summary (D,)."""
        return nodes @ (self.weight @ summary) + self.bias


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"dgi": DGI}
