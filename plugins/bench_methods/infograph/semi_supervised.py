"""InfoGraph*: an encoder learns from few labels, and from a second encoder that learns from all graphs.

Paper: Sun, Hoffmann, Verma, Tang, ICLR 2020, Sec. 3.4, https://arxiv.org/abs/1908.01000
Code:  https://github.com/fanyun-sun/InfoGraph/tree/673a065/semi-supervised (main.py, model.py, infomax.py)
Note:  The paper predicts numbers of molecules (QM9) with squared error; here graphs have classes, and the loss is the
    cross-entropy. The code draws a batch of labelled graphs for each batch of all graphs; here a batch has the labels
    that belong to its graphs, about a tenth of them. The critics are as wide as their inputs, as in InfoGraph.

Shapes: N graphs, D features of a graph, C classes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import Batch, Config, DataSpec, Encoder, Loss, Objective, Recipe, log, param
from bench_core.data import Graphs
from bench_core.nn.heads import mlp
from bench_core.nn.mutual_information import jensen_shannon, joint_and_product

from .node_information import Critic, graphs_skip_reason, node_channels, node_jsd, node_map

UNREAD = -100  # in place of a label


@dataclass(frozen=True, kw_only=True)
class InfoGraphSemiConfig(Config):
    """Parameters of InfoGraph*: how many labels are read, and the weight of the term that ties the encoders."""

    labelled: float = param(
        0.1,
        "part of the training graphs whose labels are read; the others' labels are not",
        "ours: the paper has 5,000 labels for about 110,000 molecules",
        gt=0,
        le=1,
    )
    tie: float = param(
        1e-3,
        "weight of the information between the two encoders' features",
        "code, arguments.py: lamda",
        ge=0,
        tune=log(1e-5, 1e-1),
    )


class LabelledGraphs(NamedTuple):
    """N graphs of one step, with their classes (N,) int64; UNREAD where the label is not read."""

    graphs: Graphs
    labels: Tensor


class InfoGraphSemi(Objective):
    """InfoGraph with some labels, InfoGraph* (Sun 2020).

    Trains one encoder on the labels of a tenth of the graphs and a second one as `infograph`, on all graphs. A third
    term ties them: the features of a graph in one encoder recognise those in the other. Tasks read the first encoder.
    """

    Config = InfoGraphSemiConfig
    uses_labels = True
    recipe = Recipe(optimizer="adam", learning_rate=1e-3, schedule="constant", epochs=100, batch_size=128)
    recipe_source = "rate: code, main.py; 100 epochs and batches of 128 are ours: the code has 500 and 20 for molecules"

    def __init__(
        self,
        encoder: Encoder,
        data: DataSpec,
        config: InfoGraphSemiConfig,
        *,
        new_encoder: Callable[[DataSpec], Encoder],
    ) -> None:
        """Add the classifier, the second encoder and the critics, and draw the graphs whose labels are read."""
        super().__init__(encoder, data, config)
        if data.num_classes is None:
            raise ValueError("infograph_semi needs classes, the data has none; see skip_reason")
        self.config = config
        self.classifier = mlp(encoder.dim, encoder.dim, data.num_classes, norm=False)
        self.unsupervised = new_encoder(data)
        D = encoder.dim
        self.node_critic = Critic(node_channels(encoder, data), D, D)
        self.tie_critic = Critic(D, D, D)
        order = np.random.RandomState(0).permutation(data.num_train)  # by position: no label is needed to draw
        count = math.ceil(config.labelled * data.num_train)
        is_labelled = torch.zeros(data.num_train, dtype=torch.bool)
        is_labelled[torch.from_numpy(order[:count])] = True
        self.is_labelled: Tensor
        self.register_buffer("is_labelled", is_labelled)

    def make_views(self, batch: Batch, rng: torch.Generator) -> LabelledGraphs:
        """Return the graphs unchanged, with the labels that may be read."""
        assert batch.labels is not None, "uses_labels asks for them"
        read = self.is_labelled[batch.index]
        return LabelledGraphs(batch.inputs, batch.labels.where(read, torch.full_like(batch.labels, UNREAD)))

    def forward(self, views: LabelledGraphs, player: str = "main") -> Loss:
        """Return cross-entropy - information of nodes and graphs - tie * information of the two encoders."""
        features = self.encoder(views.graphs)
        others, maps = self.unsupervised.features_and_maps(views.graphs)
        nodes = node_map(maps)
        jsd = node_jsd(self.node_critic(nodes.values, others), nodes.graph)
        tie_jsd = jensen_shannon(*joint_and_product(self.tie_critic(features, others)))
        logits = self.classifier(features).float()
        errors = F.cross_entropy(logits, views.labels, ignore_index=UNREAD, reduction="sum")
        cross_entropy = errors / (views.labels != UNREAD).sum().clamp(min=1)  # 0 where no graph has a label
        ceiling = 2 * math.log(2)
        return Loss(
            cross_entropy - jsd - self.config.tie * tie_jsd,
            {"cross_entropy": cross_entropy, "jsd": jsd, "tie_jsd": tie_jsd},
            {"jsd": ceiling, "tie_jsd": ceiling},
        )

    def embed(self, inputs: Graphs) -> dict[str, Tensor]:
        """Return `features` (N, D) of the encoder that learned from labels, and `unsupervised` (N, D) of the other."""
        return {"features": self.encoder(inputs), "unsupervised": self.unsupervised(inputs)}

    @classmethod
    def skip_reason(cls, data: DataSpec, config: InfoGraphSemiConfig) -> str | None:
        """Return a reason unless the data are graphs, two or more, with one class each."""
        return graphs_skip_reason(data) or (None if data.num_classes is not None else "needs one class for each graph")
