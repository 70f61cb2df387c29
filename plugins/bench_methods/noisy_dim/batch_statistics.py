"""Statistics of batch norm, renewed after training.

The running statistics of training belong to older weights, and to views instead of images.

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
    """Set the statistics of every batch norm by two passes over images without augmentation.

    The first pass averages the statistics of whole batches, as training computes them. The second pass sets those of
    the last batch norm to the moments of its inputs in eval mode. Its outputs then have mean 0 and variance 1 over the
    pass. Both modules are left in eval mode.

    Args:
        body: The network before the last batch norm; inputs -> (N, P).
        last: Batch norm of P coordinates, with running statistics.
        batches: Each call starts a pass; all batches but the last have one size.

    Returns:
        The largest move of one of the last batch norm's means, in standard deviations.
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
