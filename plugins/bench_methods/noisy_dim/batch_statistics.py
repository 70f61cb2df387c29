"""Statistics of batch norm, taken anew when training is over.

Running statistics lag behind weights that still move, and mix the views that training saw.

Source: Izmailov et al., UAI 2018, https://arxiv.org/abs/1803.05407, Sec. 3.2, and torch's `update_bn`; the second pass
        is ours.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from bench_core import Batch


@torch.no_grad()
def renew_statistics(body: nn.Module, last: nn.BatchNorm1d, batches: Callable[[], Iterator[Batch]]) -> float:
    """Set the statistics of every batch norm by two passes over images as they are; leaves all in eval mode.

    The first pass averages those of whole batches, as training uses them. The second sets those of the last batch norm
    to the moments of what it gets in eval mode: its outputs have mean 0 and variance 1 over the pass.

    Args:
        body: What stands before the last batch norm; inputs -> (N, P).
        last: On P coordinates, with running statistics.
        batches: Each call is a pass, all batches of one size but the last.

    Returns:
        How far the furthest of the last one's means moved, in deviations.
    """
    assert last.running_mean is not None
    assert last.running_var is not None
    before = last.running_mean.clone()
    size = len(next(batches()).index)
    update_bn((batch.inputs for batch in batches() if len(batch.index) == size), nn.Sequential(body, last))
    body.eval()
    last.eval()
    outputs: Tensor = torch.cat([body(batch.inputs) for batch in batches()]).double()
    last.running_mean.copy_(outputs.mean(0))
    last.running_var.copy_(outputs.var(0, correction=0))
    return float(((before - last.running_mean) / (last.running_var + last.eps).sqrt()).abs().max())
