"""Exact breakpoints: the positions on a line between two inputs at which ReLUs of a network switch on or off.

Along x(t) = a + t (b - a) a network of affine layers (batch norm in eval mode is one), ReLUs and max-pools is
piecewise linear. Between two points at which all earlier layers have the same switches, a pre-activation is affine in
t, so its zero follows from its values at the two points. Each interval is cut at the zeros of the shallowest layer that
switches within it, again and again, until no layer switches within an interval. This finds every linear piece, with one
evaluation of the network for each.

Sources: the cuts are those of Sotoudeh and Thakur, NeurIPS 2019, https://arxiv.org/abs/1908.06214 (ExactLine), here for
         whole networks instead of single layers, so that layers may be connected in any way; counting along lines:
         Hanin and Rolnick, ICML 2019, https://arxiv.org/abs/1901.09021. Code: ours.
Shapes: P points of a segment, P - 1 intervals, U ReLU units of a layer, C channels, L positions, W windows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

Layer = tuple[Tensor, ...]
"""Input of a layer: (pre-activations (P, U),) for ReLUs; (inputs (P, C, L), choices (P, C, W)) for a max-pool."""

_RELUS = (F.relu, F.leaky_relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)
_SAME = 1e-9  # breakpoints nearer than this part of the segment count as one
_ZERO = 1e-12  # values below this part of the largest value in a layer are rounding errors of 0 in float64
_ROUNDS = 64  # rounds of cuts, at most; as many as the network has layers are usual
_BATCH = 256  # inputs at once


class SwitchRecorder(TorchFunctionMode):
    """Context manager that records the input of every ReLU and max-pool, in the order of the calls.

    ReLUs include leaky ones, and calls of functions instead of modules.

    Attributes:
        layers: The recorded inputs.
    """

    def __init__(self) -> None:
        """Start without records."""
        super().__init__()
        self.layers: list[Layer] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Record the input of a ReLU or max-pool, then call the function as usual."""
        kwargs = dict(kwargs or {})
        if func in _RELUS:
            inputs = args[0] if args else kwargs["input"]
            self.layers.append((inputs.detach().flatten(1).clone(),))  # a copy, as the ReLU may work in place
        elif func is F.max_pool2d:
            inputs = args[0] if args else kwargs["input"]
            _, chosen = func(*args, **{**kwargs, "return_indices": True})
            self.layers.append((inputs.detach().flatten(2).clone(), chosen.flatten(2)))
        return func(*args, **kwargs)


@torch.inference_mode()
def record_switches(network: Callable[[Tensor], Any], inputs: Tensor) -> list[Layer]:
    """Run the network in batches; return the input of every ReLU and max-pool.

    Args:
        network: Its layers must be called in the same order for every input.
        inputs: (P, ...).
    """
    parts = []
    for batch in torch.split(inputs, _BATCH):
        with SwitchRecorder() as recorder:
            network(batch)
        parts.append(recorder.layers)
    return [tuple(torch.cat(pieces) for pieces in zip(*layer, strict=True)) for layer in zip(*parts, strict=True)]


def relus(layers: Sequence[Layer]) -> list[Tensor]:
    """Return the pre-activations (P, U) of each layer of ReLUs."""
    return [layer[0] for layer in layers if len(layer) == 1]


@dataclass(frozen=True)
class Breakpoints:
    """Breakpoints of a segment: the result of `breakpoints`.

    Attributes:
        times: (B,) float64 in [0, 1], ascending: positions at which one ReLU or more switches.
        by_layer: Number of switches in each layer of ReLUs; the sum exceeds B if several ReLUs switch at once.
    """

    times: Tensor
    by_layer: list[int]


def breakpoints(network: Callable[[Tensor], Any], start: Tensor, end: Tensor) -> Breakpoints:
    """Find the positions at which ReLUs switch on the line from `start` to `end`.

    Args:
        network: In eval mode and float64. Zeros are exact if it is piecewise linear, else approximate.
        start: One input (...), float64.
        end: Another input of the same shape.
    """
    times = torch.tensor([0.0, 1.0], dtype=torch.float64, device=start.device)
    layers = record_switches(network, _points(start, end, times))
    for _ in range(_ROUNDS):
        cuts = _cuts(times, layers)
        if len(cuts) == 0:
            break
        cut_layers = record_switches(network, _points(start, end, cuts))
        times, order = torch.cat([times, cuts]).sort()
        layers = [
            tuple(torch.cat(pair)[order] for pair in zip(old, new, strict=True))
            for old, new in zip(layers, cut_layers, strict=True)
        ]
    return _collect(times, layers)


def _points(start: Tensor, end: Tensor, times: Tensor) -> Tensor:
    """Return the inputs (P, ...) at these positions of the segment."""
    return start + times.view(-1, *[1] * start.ndim) * (end - start)


def _zeros(times: Tensor, layer: Layer) -> tuple[Tensor, Tensor]:
    """Find the zero of each unit in each interval; the units of a max-pool are its windows.

    Returns:
        Does the unit switch in the interval (bool), and at which position: both (P - 1, units).
    """
    values = layer[0]
    if len(layer) == 1:
        left, right = values[:-1], values[1:]
    else:  # value chosen at the left end minus value chosen at the right end: it falls from >= 0 to <= 0 if they differ
        before, after = layer[1][:-1], layer[1][1:]
        left, right = ((v.gather(2, before) - v.gather(2, after)).flatten(1) for v in (values[:-1], values[1:]))
    least = _ZERO * float(values.abs().max()) if values.numel() else 0.0
    switched = (left > least) != (right > least)
    part = left / torch.where(switched, left - right, 1.0)
    return switched, times[:-1, None] + part.clamp(0, 1) * times.diff()[:, None]


def _cuts(times: Tensor, layers: Sequence[Layer]) -> Tensor:
    """Return zeros strictly inside the intervals: in each interval those of the shallowest layer that has any."""
    uncut = torch.ones(len(times) - 1, 1, dtype=torch.bool, device=times.device)  # intervals without a zero so far
    zeros = [times[:0]]
    for layer in layers:
        switched, position = _zeros(times, layer)
        inside = switched & uncut & (position > times[:-1, None] + _SAME) & (position < times[1:, None] - _SAME)
        zeros.append(position[inside])
        uncut &= ~inside.any(1, keepdim=True)
    cuts = torch.cat(zeros).sort().values
    return cuts[cuts.diff(prepend=cuts.new_tensor([-1.0])) > _SAME]


def _collect(times: Tensor, layers: Sequence[Layer]) -> Breakpoints:
    """Collect the positions at which ReLUs switch.

    No interval has a zero inside any more, so each zero belongs to the nearer end of its interval.
    """
    is_breakpoint, by_layer = torch.zeros_like(times, dtype=torch.bool), []
    for layer in layers:
        if len(layer) == 1:
            switched, position = _zeros(times, layer)
            interval = switched.nonzero()[:, 0]
            zero = position[switched]
            nearer_to_end = zero - times[interval] > times[interval + 1] - zero
            is_breakpoint[interval + nearer_to_end] = True
            by_layer.append(len(interval))
    return Breakpoints(times[is_breakpoint].cpu(), by_layer)
