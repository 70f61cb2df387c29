"""InfoGraph: a graph's vector recognises the graph's own nodes among those of other graphs.

Paper: Sun, Hoffmann, Verma, Tang, ICLR 2020, https://arxiv.org/abs/1908.01000
Code:  https://github.com/fanyun-sun/InfoGraph/tree/673a065/unsupervised (main.py, losses.py, model.py)
Note:  The code's optional prior is left out: it is off by default, and encoder and discriminator both minimise it. The
    code passes over the graphs in one fixed order and keeps the last, shorter batch; here the order is drawn anew for
    each epoch and that batch is left out.

Shapes: N graphs, V nodes, E edges, F features of a node, D features of a graph, K channels of a node vector.
"""

import math

import torch
from torch import Tensor

from bench_core import Batch, DataSpec, Encoder, Loss, NoConfig, Objective, Recipe, hookimpl
from bench_core.data import Graphs

from .node_information import Critic, graphs_skip_reason, node_channels, node_jsd, node_map
from .semi_supervised import InfoGraphSemi


class InfoGraph(Objective):
    """Match a graph with its own nodes (Sun 2020).

    Trains the encoder and two residual networks, one for graphs and one for nodes, whose inner product scores a pair.
    Nodes get high scores with their own graph and low ones with the other graphs of the batch. Tasks read the encoder.
    """

    recipe = Recipe(optimizer="adam", learning_rate=1e-3, schedule="constant", epochs=20, batch_size=128)
    recipe_source = "code, main.py: Adam, 20 epochs, batches of 128; rate of the README's command"

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoConfig) -> None:
        """Add the critic."""
        super().__init__(encoder, data, config)
        self.critic = Critic(node_channels(encoder, data), encoder.dim, encoder.dim)

    def make_views(self, batch: Batch, rng: torch.Generator) -> Graphs:
        """Return the graphs unchanged."""
        graphs: Graphs = batch.inputs
        return graphs

    def forward(self, views: Graphs, player: str = "main") -> Loss:
        """Return minus the estimate of information between nodes and graphs."""
        features, maps = self.encoder.features_and_maps(views)
        nodes = node_map(maps)
        jsd = node_jsd(self.critic(nodes.values, features), nodes.graph)
        return Loss(-jsd, {"jsd": jsd}, {"jsd": 2 * math.log(2)})

    def embed(self, inputs: Graphs) -> dict[str, Tensor]:
        """Return `features` (N, D), the sums over each graph's nodes."""
        return {"features": self.encoder(inputs)}

    @classmethod
    def skip_reason(cls, data: DataSpec, config: NoConfig) -> str | None:
        """Return "needs graphs" for data of another kind, and a reason where there is one graph only."""
        return graphs_skip_reason(data)


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"infograph": InfoGraph, "infograph_semi": InfoGraphSemi}
