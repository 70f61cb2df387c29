"""Heads that training alone sees, and numbers that say whether what they return has collapsed.

Shapes: N rows, D features, P projected.
"""

import itertools

from torch import nn


def mlp(*widths: int, norm: bool = True, norm_output: bool = False, affine_output: bool = True) -> nn.Sequential:
    """Linear layers with (batch norm and) ReLU between them.

    Args:
        widths: Of input, hidden layers and output: at least two.
        norm: Batch norm after each hidden layer, whose bias then falls away.
        norm_output: Batch norm after the last layer, too, whose bias then falls away.
        affine_output: Whether that last batch norm has scale and shift.
    """
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths[:-1]):
        layers += [nn.Linear(before, after, bias=not norm)]
        layers += [nn.BatchNorm1d(after), nn.ReLU(inplace=True)] if norm else [nn.ReLU(inplace=True)]
    layers += [nn.Linear(widths[-2], widths[-1], bias=not norm_output)]
    if norm_output:
        layers += [nn.BatchNorm1d(widths[-1], affine=affine_output)]
    return nn.Sequential(*layers)
