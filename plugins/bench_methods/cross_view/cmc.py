"""CMC: encode each view of an image so that it recognises the image's other views among those of a batch.

A view is some channels of the image, such as its lightness, or its two colour channels.

Paper: Tian, Krishnan, Isola, ECCV 2020, https://arxiv.org/abs/1906.05849
Code:  https://github.com/HobbitLong/CMC/tree/7b227be (train_CMC.py, models/resnet.py, dataset.py)
Note:  Negatives are the other images of the batch, by a softmax; the code draws them from memory banks and has a
       softmax or noise-contrastive estimation. Encoders are any, one for each view. The code of the predictive
       control is not published: each view's features predict the pixels of the other view through our decoder
       (`conv_decoder`), by absolute errors. Views are scaled by other constants than the code's.

Shapes: N images, V views of them (N, C, H, W), D features of each, P coordinates of an embedding.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Encoder, Loss, Objective, Recipe, Variant, hookimpl, param
from bench_core.nn.decoders import conv_decoder, decoder_skip_reason
from bench_core.nn.layers import Standardize
from bench_core.views import augment, preset

from .contrast import CrossViewConfig, Embeddings, contrast, cross_view_skip_reason
from .encoder import ViewsEncoder
from .views import VIEWS


@dataclass(frozen=True, kw_only=True)
class CMCConfig(CrossViewConfig):
    """Parameters of views, embeddings and contrast, and of the predictive control."""

    graph: Literal["full", "core"] = param(
        "full", "which views are contrasted: each with each other one, or the first with the others", "paper"
    )
    loss: Literal["contrastive", "predictive"] = param(
        "contrastive", "recognise the other view, or predict its pixels: the control", "paper"
    )
    decoder_width: int = param(32, "predictive: channels before the last stage of a decoder", "ours: CPU", ge=1)


class CMC(Objective):
    """Contrast the channels of an image (Tian 2020).

    Trains an encoder for each view, with a linear head on each. Tasks read the features of all views side by side, or
    those of one view by its name (`linear.embedding=l`).
    """

    Config = CMCConfig
    recipe = Recipe(
        optimizer="sgd", learning_rate=0.03, weight_decay=1e-4, schedule="steps", milestones=(0.5, 0.667, 0.833),
        epochs=240, batch_size=128,
    )  # fmt: skip
    recipe_source = "code, train_CMC.py: 240 epochs, rate / 10 after 120, 160 and 200"
    variants: ClassVar[Mapping[str, Variant]] = {
        "three_views": Variant({"views": "l_a_b"}, "ours: the paper's claim", "lightness and each colour channel"),
        "predictive": Variant({"loss": "predictive"}, "paper: its control", "predict the pixels of other views"),
    }
    encoder: ViewsEncoder

    def __init__(
        self, encoder: Encoder, data: DataSpec, config: CMCConfig, *, new_encoder: Callable[[DataSpec], Encoder]
    ) -> None:
        """Replace the given encoder by one for each view, and add heads, or decoders for the predictive control."""
        views = VIEWS[config.views]
        super().__init__(ViewsEncoder(data, views, new_encoder), data, config)
        self.config = config
        self.augmentation = preset(config.augmentation, data)
        self.pairs = view_pairs(list(views.channels), config.graph)
        dims = self.encoder.dims
        if config.loss == "contrastive":
            self.embeddings = Embeddings(dims, config.output_dim)
            return
        specs = views.specs(data)
        self.targets = nn.ModuleDict({name: Standardize(spec) for name, spec in specs.items()})  # all weigh alike
        both = [*self.pairs, *((second, first) for first, second in self.pairs)]
        self.decoders = nn.ModuleDict(
            {f"{a}_{b}": conv_decoder(dims[a], specs[b].shape, config.decoder_width) for a, b in both}
        )

    def make_views(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Augment each image once, then split it: each view (N, C, H, W), by name."""
        return self.encoder.views.split(augment(batch.inputs, rng, self.augmentation))

    def forward(self, views: Mapping[str, Tensor], player: str = "main") -> Loss:
        """Return the sum over pairs of views, and over both directions of each.

        The terms are cross-entropies in nats, or for the predictive control mean absolute errors in deviations.
        """
        features = self.encoder.features(views)
        if self.config.loss == "predictive":
            return self._prediction(views, features)
        z = self.embeddings(features)
        losses = {f"{a}_{b}": contrast(z[a], z[b], self.config.temperature) for a, b in self.pairs}
        ceiling = math.log(len(next(iter(z.values()))))
        information = {f"information_{pair}": ceiling - loss for pair, loss in losses.items()}
        total = 2 * torch.stack(list(losses.values())).sum()
        return Loss(total, information, dict.fromkeys(information, ceiling))

    def _prediction(self, views: Mapping[str, Tensor], features: Mapping[str, Tensor]) -> Loss:
        """Return the sum of the errors of all decoders."""
        errors = {}
        for name, decoder in self.decoders.items():
            source, target = name.split("_")
            errors[f"error_{source}_to_{target}"] = F.l1_loss(
                decoder(features[source]).float(), self.targets[target](views[target])
            )
        return Loss(torch.stack(list(errors.values())).sum(), errors)

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `features` (N, V D) of all views, and those (N, D) of each view by its name."""
        features, of_views = self.encoder.all_features(inputs)
        return {"features": features, **of_views}

    @classmethod
    def skip_reason(
        cls,
        data: DataSpec,
        config: CMCConfig,
        *,
        encoder_class: type[Encoder] | None = None,
        encoder_config: Any = None,
    ) -> str | None:
        """Return a reason unless the data are colour images of which the encoder reads each view."""
        reason = cross_view_skip_reason(data, config, encoder_class, encoder_config)
        return reason or (decoder_skip_reason(data) if config.loss == "predictive" else None)


def view_pairs(names: Sequence[str], graph: Literal["full", "core"]) -> list[tuple[str, str]]:
    """Return the pairs of views that are contrasted: all, or the first view with each other one."""
    if graph == "core":
        return [(names[0], other) for other in names[1:]]
    return list(itertools.combinations(names, 2))


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"cmc": CMC}
