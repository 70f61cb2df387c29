"""One layer of a stack as an autoencoder: its clean inputs, its decoder, its loss, and its stage of the training.

An encoder is a stack if it has `flatten(inputs)`, which gives the inputs (N, D) of the first layer, and a ModuleList
`layers`: each is a linear layer `[0]` with its activation `[1]`, and reads the outputs of the one before.

Shapes: N items; D inputs and K outputs of a layer.
"""

from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import DataSpec, Encoder, EpochContext, Loss, Player, Stage


class Stack(Protocol):
    """Encoder whose layers can be trained one by one, such as `mlp`."""

    layers: nn.ModuleList

    def flatten(self, inputs: Any) -> Tensor:
        """Return the inputs (N, D) of the first layer."""


class LayerDecoder(nn.Module):
    """Decoder of one layer: rebuilds the layer's clean inputs from its outputs."""

    def __init__(self, linear: nn.Linear, tied: bool, bounded: bool) -> None:
        """Begin with the transposed weights of the layer, and a bias of 0.

        Args:
            linear: The linear layer (D -> K); it is not kept.
            tied: True if the decoder has the transposed weights of the layer also later, False if it has its own.
            bounded: True if the layer's inputs lie in [0, 1]. Then the decoder ends in a sigmoid and its error is the
                cross-entropy, else it is linear and its error is the squared difference.
        """
        super().__init__()
        self.bounded = bounded
        self.bias = nn.Parameter(torch.zeros(linear.in_features))
        self.weight = None if tied else nn.Parameter(linear.weight.detach().T.clone())

    def forward(self, layer: nn.Module, corrupted: Tensor, clean: Tensor) -> Loss:
        """Return the error of the rebuilt inputs, and the part of the batch's variance that they explain.

        Args:
            layer: The layer; its `[0]` has the weights (K, D).
            corrupted: (N, D), which the layer reads.
            clean: (N, D), which the decoder is to rebuild.

        Returns:
            Sum over the inputs of an item, mean over items. With the cross-entropy it is in nats.
        """
        linear, activation = cast(nn.Sequential, layer)
        weight = cast(Tensor, linear.weight).T if self.weight is None else self.weight
        values = F.linear(activation(linear(corrupted)), weight, self.bias).float()
        if self.bounded:
            total = F.binary_cross_entropy_with_logits(values, clean, reduction="none").sum(1).mean()
        else:
            total = (values - clean).square().sum(1).mean()
        with torch.no_grad():
            left = ((values.sigmoid() if self.bounded else values) - clean).square().sum()
            explained = 1 - left / (clean - clean.mean(0)).square().sum().clamp_min(1e-12)
        return Loss(total, {"explained": explained})


def make_decoders(encoder: Encoder, data: DataSpec, tied: bool) -> nn.ModuleList:
    """Build a decoder for each layer of a stack; each finds by itself whether the layer's inputs lie in [0, 1].

    Raises:
        TypeError: The encoder is no stack.
    """
    if reason := stack_skip_reason(type(encoder)):
        raise TypeError(f"{type(encoder).__name__}: {reason}")
    stack = cast(Stack, encoder)
    bounded = _reads_unit_interval(stack, data)
    decoders = []
    for linear, activation in cast(list[nn.Sequential], stack.layers):
        decoders.append(LayerDecoder(cast(nn.Linear, linear), tied, bounded))
        bounded = isinstance(activation, nn.Sigmoid)
    return nn.ModuleList(decoders)


@torch.no_grad()
def layer_inputs(encoder: Encoder, inputs: Any, number: int) -> Tensor:
    """Return the clean inputs (N, D) of a layer, counted from 0: what the layers below make of clean data."""
    stack = cast(Stack, encoder)
    values = stack.flatten(inputs)
    for layer in stack.layers[:number]:
        values = layer(values)
    return values


def layer_of(encoder: Encoder, number: int) -> nn.Module:
    """Return a layer of the stack, counted from 0."""
    return cast(Stack, encoder).layers[number]


def layer_stages(encoder: Encoder, decoders: nn.ModuleList) -> list[Stage]:
    """Return a stage for each layer, `layer1`, `layer2`, ..., in which only the layer and its decoder are trained."""
    pairs = zip(cast(Stack, encoder).layers, decoders, strict=True)
    names = {f"layer{k}": [*layer.parameters(), *decoder.parameters()] for k, (layer, decoder) in enumerate(pairs, 1)}
    return [Stage(name=name, players=[Player(name, parameters)]) for name, parameters in names.items()]


def number_of(context: EpochContext) -> int:
    """Return the number of the layer that a stage of `layer_stages` trains, counted from 0."""
    return int(context.stage.removeprefix("layer")) - 1


def stack_skip_reason(encoder_class: type) -> str | None:
    """Return a reason unless the class of the encoder is a stack of layers."""
    if callable(getattr(encoder_class, "flatten", None)):
        return None
    return "needs an encoder that is a stack of fully connected layers, such as `mlp`"


@torch.no_grad()
def _reads_unit_interval(stack: Stack, data: DataSpec) -> bool:
    """Return True if the first layer reads values in [0, 1]: images that are not standardised."""
    if not data.is_image:
        return False  # vectors have no known range
    ends = stack.flatten(torch.stack([torch.zeros(data.shape), torch.ones(data.shape)]))
    return bool(ends.min() >= 0 and ends.max() <= 1)
