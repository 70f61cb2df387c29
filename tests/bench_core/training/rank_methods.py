"""Encoders and methods with what ranks must compute over all rows: batch norm, random layers, second derivatives."""

from typing import Any

import torch
from torch import Tensor, nn

from bench_core.contracts import Batch, DataSpec, Encoder, Loss, Objective


class Norms(Encoder):
    """Layers with batch norm, on maps and on vectors; without biases before it, whose gradients are noise."""

    def __init__(self, data: DataSpec, config: Any) -> None:
        super().__init__(data, config)
        self.dim = 6
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, 4, bias=False), nn.BatchNorm2d(6), nn.Tanh())
        self.last = nn.Sequential(nn.Linear(6, 6, bias=False), nn.BatchNorm1d(6, affine=False))

    def maps(self, inputs: Any) -> dict[str, Any]:
        return {"stem": self.stem(inputs)}

    def forward(self, inputs: Any) -> Tensor:
        features: Tensor = self.last(self.maps(inputs)["stem"].mean((2, 3)))
        return features


class Draws(Norms):
    """Layers that draw random numbers in many ways."""

    def __init__(self, data: DataSpec, config: Any) -> None:
        super().__init__(data, config)
        self.drop, self.drop_maps = nn.Dropout(0.3), nn.Dropout2d(0.3)
        self.attend = nn.MultiheadAttention(6, 2, dropout=0.3, batch_first=True)

    def forward(self, inputs: Any) -> Tensor:
        x = self.drop_maps(self.drop(self.maps(inputs)["stem"]))
        x = x * x.new_empty(len(x), 1, 1, 1).bernoulli_(0.7)
        x = x + 0.1 * torch.randn_like(x) + 0.1 * torch.rand(len(x), 1, 1, 1)
        tokens = x.flatten(2).mT  # (N, locations, 6)
        rows = self.drop(tokens.flatten(0, 1)).view(tokens.shape)  # some rows for each item
        attended, _ = self.attend(rows, rows, rows)
        scale = torch.bernoulli(attended.detach().sigmoid().mean((1, 2))) + torch.rand(())
        features: Tensor = self.last(attended.mean(1) * scale[:, None])
        return features


class Recurrent(Norms):
    """A recurrent layer, which keeps a second list of its parameters."""

    def __init__(self, data: DataSpec, config: Any) -> None:
        super().__init__(data, config)
        self.read = nn.GRU(6, 6, batch_first=True)

    def forward(self, inputs: Any) -> Tensor:
        features: Tensor = self.read(self.maps(inputs)["stem"].flatten(2).mT)[0][:, -1]
        return features


class Mixes(Norms):
    """Rows that depend on one another, which it says."""

    shares_rows = False

    def forward(self, inputs: Any) -> Tensor:
        features = super().forward(inputs)
        return features - features.cumsum(0)


class Squares(Objective):
    """Moves features to the mean pixel; its copy of the encoder follows."""

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        wanted = views.mean((1, 2, 3))[:, None]
        return Loss((self.encoder(views) - wanted).square().mean() + self.encoder.maps(views)["stem"].square().mean())


class Penalty(Squares):
    """Adds the squared gradient with respect to the images, which is derived once more."""

    def forward(self, views: Any, player: str = "main") -> Loss:
        images = views.clone().requires_grad_()
        features = self.encoder(images)
        [slope] = torch.autograd.grad(features.square().sum(), images, create_graph=True)
        return Loss(super().forward(views).total + slope.square().sum())


CASES = {
    "norms": (Squares, Norms),
    "draws": (Squares, Draws),
    "recurrent": (Squares, Recurrent),
    "mixes": (Squares, Mixes),
    "penalty": (Penalty, Norms),
}
