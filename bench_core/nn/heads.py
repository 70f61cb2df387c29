"""Projection and prediction heads: small networks on top of an encoder that are used in training only."""

import itertools

from torch import nn


def mlp(*widths: int, norm: bool = True, norm_output: bool = False, affine_output: bool = True) -> nn.Sequential:
    """Build linear layers with batch norm and ReLU between them.

    Args:
        widths: Widths of input, hidden layers and output: at least two numbers.
        norm: Batch norm after each hidden layer, which then has no bias.
        norm_output: Batch norm after the last layer, too, which then has no bias.
        affine_output: Scale and shift in the batch norm after the last layer.
    """
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths[:-1]):
        layers += [nn.Linear(before, after, bias=not norm)]
        layers += [nn.BatchNorm1d(after), nn.ReLU(inplace=True)] if norm else [nn.ReLU(inplace=True)]
    layers += [nn.Linear(widths[-2], widths[-1], bias=not norm_output)]
    if norm_output:
        layers += [nn.BatchNorm1d(widths[-1], affine=affine_output)]
    return nn.Sequential(*layers)
