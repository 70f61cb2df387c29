"""Breakpoints: where the ReLUs of a network switch on the way from one input to another, exactly.

Along x(t) = a + t (b - a) a network of affine layers (batch norm in eval mode is one), ReLUs and max-pools is
piecewise linear. Between two points at which all earlier layers have the same switches a pre-activation is affine in
t, so its zero follows from its values at both. Intervals are cut at the zeros of the shallowest layer that switches
within them, until no layer does: each linear piece is found, and the network is evaluated once for each.

Sources: the cuts are those of Sotoudeh and Thakur, NeurIPS 2019, https://arxiv.org/abs/1908.06214 (ExactLine), taken
         over whole networks instead of layers so that any graph will do; counting along lines: Hanin and Rolnick, ICML
         2019, https://arxiv.org/abs/1901.09021. Code: ours.
Shapes: P points of a segment, P - 1 intervals, U ReLU units of a layer, C channels, L positions, W windows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

Layer = tuple[
    Tensor, ...
]  # of ReLUs the pre-activations (P, U); of a max-pool its inputs (P, C, L) and choices (P, C, W)

_RELUS = (F.relu, F.leaky_relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)
_SAME = 1e-9  # of the segment: breakpoints that are nearer than this are one
_ZERO = 1e-12  # of the largest value in a layer: what is left of 0 in float64
_ROUNDS = 64  # of cuts; as many as there are layers is usual
_BATCH = 256


class Switches(TorchFunctionMode):
    """Within it every ReLU (leaky ones, and calls of functions, included) and max-pool is kept, in order of the calls.

    Attributes:
        layers: What each of them read.
    """

    def __init__(self) -> None:
        """Nothing is kept yet."""
        super().__init__()
        self.layers: list[Layer] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Keep what is read, then do as ever."""
        kwargs = dict(kwargs or {})
        if func in _RELUS:
            read = args[0] if args else kwargs["input"]
            self.layers.append((read.detach().flatten(1).clone(),))  # a copy: it may work in place
        elif func is F.max_pool2d:
            read = args[0] if args else kwargs["input"]
            _, chosen = func(*args, **{**kwargs, "return_indices": True})
            self.layers.append((read.detach().flatten(2).clone(), chosen.flatten(2)))
        return func(*args, **kwargs)


@torch.inference_mode()
def switches(network: Callable[[Tensor], Any], inputs: Tensor) -> list[Layer]:
    """What every ReLU and max-pool reads, in batches.

    Args:
        network: Whose layers are called in the same order on every input.
        inputs: (P, ...).
    """
    parts = []
    for batch in torch.split(inputs, _BATCH):
        with Switches() as seen:
            network(batch)
        parts.append(seen.layers)
    return [tuple(torch.cat(pieces) for pieces in zip(*layer, strict=True)) for layer in zip(*parts, strict=True)]


def relus(layers: Sequence[Layer]) -> list[Tensor]:
    """Pre-activations (P, U) of each layer of ReLUs."""
    return [layer[0] for layer in layers if len(layer) == 1]


@dataclass(frozen=True)
class Breakpoints:
    """What was found on a segment.

    Attributes:
        times: (B,) float64 in [0, 1], ascending: where one ReLU or more switches.
        by_layer: Switches of each layer of ReLUs; their sum exceeds B where several switch at once.
    """

    times: Tensor
    by_layer: list[int]


def breakpoints(network: Callable[[Tensor], Any], start: Tensor, end: Tensor) -> Breakpoints:
    """Where ReLUs switch from `start` to `end`.

    Args:
        network: In eval mode and float64; piecewise linear, or zeros are approached and not hit.
        start: One input (...), float64.
        end: Another.
    """
    times = torch.tensor([0.0, 1.0], dtype=torch.float64, device=start.device)
    layers = switches(network, _points(start, end, times))
    for _ in range(_ROUNDS):
        cuts = _cuts(times, layers)
        if len(cuts) == 0:
            break
        new = switches(network, _points(start, end, cuts))
        times, order = torch.cat([times, cuts]).sort()
        layers = [
            tuple(torch.cat(pair)[order] for pair in zip(old, fresh, strict=True))
            for old, fresh in zip(layers, new, strict=True)
        ]
    return _found(times, layers)


def _points(start: Tensor, end: Tensor, times: Tensor) -> Tensor:
    return start + times.view(-1, *[1] * start.ndim) * (end - start)


def _zeros(times: Tensor, layer: Layer) -> tuple[Tensor, Tensor]:
    """Whether a unit switches in an interval, and where: both (P - 1, units); a max-pool's windows are units, too."""
    values = layer[0]
    if len(layer) == 1:
        left, right = values[:-1], values[1:]
    else:  # what was chosen on the left against what is chosen on the right: from >= 0 to <= 0 where they differ
        before, after = layer[1][:-1], layer[1][1:]
        left, right = ((v.gather(2, before) - v.gather(2, after)).flatten(1) for v in (values[:-1], values[1:]))
    least = _ZERO * float(values.abs().max()) if values.numel() else 0.0
    switched = (left > least) != (right > least)
    part = left / torch.where(switched, left - right, 1.0)
    return switched, times[:-1, None] + part.clamp(0, 1) * times.diff()[:, None]


def _cuts(times: Tensor, layers: Sequence[Layer]) -> Tensor:
    """Zeros strictly inside an interval, of the shallowest layer that has one there."""
    whole = torch.ones(len(times) - 1, 1, dtype=torch.bool, device=times.device)
    found = [times[:0]]
    for layer in layers:
        switched, at = _zeros(times, layer)
        inside = switched & whole & (at > times[:-1, None] + _SAME) & (at < times[1:, None] - _SAME)
        found.append(at[inside])
        whole &= ~inside.any(1, keepdim=True)
    cuts = torch.cat(found).sort().values
    return cuts[cuts.diff(prepend=cuts.new_tensor([-1.0])) > _SAME]


def _found(times: Tensor, layers: Sequence[Layer]) -> Breakpoints:
    """Where no zero is left inside an interval, each is at one of its ends."""
    hit, by_layer = torch.zeros_like(times, dtype=torch.bool), []
    for layer in layers:
        if len(layer) == 1:
            switched, at = _zeros(times, layer)
            interval = switched.nonzero()[:, 0]
            late = at[switched] - times[interval] > times[interval + 1] - at[switched]
            hit[interval + late] = True
            by_layer.append(len(interval))
    return Breakpoints(times[hit].cpu(), by_layer)
