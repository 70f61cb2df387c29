"""Checks of encoders, on an example of each kind of data. The docstring of each check is its line in `bench check`."""

import copy
from typing import Any

import torch
from torch import Tensor

from bench_core.conformance.comparing import same
from bench_core.conformance.examples import build_encoder, inputs_of
from bench_core.conformance.toys import require
from bench_core.contracts import Encoder, Example
from bench_core.contracts.encoder import features_fault
from bench_core.data import Graphs, NodeMap, Nodes

_CLOSE = 1e-5  # between features that were computed in another order


def _check_features(cls: Any, example: Example) -> None:
    """Features are finite float32 (N, dim), the same twice and in any batch in eval mode; inputs stay unchanged."""
    encoder, inputs = build_encoder(example).eval(), inputs_of(example, range(4))
    before = copy.deepcopy(inputs)
    features = encoder(inputs)
    fault = features_fault(features, 4, encoder.dim)
    require(fault is None, str(fault))
    require(bool(features.isfinite().all()), "features are not finite")
    require(same(inputs, before), "forward() changed its inputs")
    require(torch.equal(features, encoder(inputs)), "in eval mode a second call gives different features")
    others = encoder(inputs_of(example, (3, 1)))
    alike = torch.allclose(others, features[[3, 1]], rtol=_CLOSE, atol=_CLOSE)
    require(alike, "in eval mode the features of an item depend on the other items of its batch")


def _check_maps(cls: Any, example: Example) -> None:
    """maps() returns named local maps (N, channels, h, w), (N, channels, locations) or NodeMap."""
    inputs = inputs_of(example, range(2))
    maps = build_encoder(example).eval().maps(inputs)
    require(isinstance(maps, dict) and bool(maps), "maps() must return a dict with at least one map")
    for name, value in maps.items():
        if isinstance(value, NodeMap):
            _require_valid_nodes(name, value, inputs)
            continue
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        right = "(2, channels, h, w)" if example.data.is_image else "(2, channels, locations), or a NodeMap"
        require(
            isinstance(value, Tensor) and value.ndim in (3, 4) and len(value) == 2,
            f"map {name!r} has shape {shape}, expected {right}",
        )


def _require_valid_nodes(name: str, nodes: NodeMap, inputs: Any) -> None:
    """Require a row and an owner for each node: of graphs all their nodes, of one graph's nodes those in the batch."""
    shape, owners = tuple(nodes.values.shape), tuple(nodes.graph.shape)
    require(
        len(shape) == 2 and owners == shape[:1],
        f"map {name!r} has values of shape {shape} for {owners} nodes, expected (nodes, channels) and (nodes,)",
    )
    if isinstance(inputs, Graphs):
        require(
            torch.equal(nodes.graph, inputs.graph), f"map {name!r} must have the nodes of the graphs, in their order"
        )
    if isinstance(inputs, Nodes):
        alone = torch.equal(nodes.graph, torch.arange(len(inputs)))
        require(
            alone, f"map {name!r} must have a row for each item, which are nodes of one graph, and graph 0, 1, 2, ..."
        )


def _check_both(cls: Any, example: Example) -> None:
    """features_and_maps() agrees with forward() and maps()."""
    encoder, inputs = build_encoder(example).eval(), inputs_of(example, range(3))
    features, maps = encoder.features_and_maps(inputs)
    alike = torch.allclose(features, encoder(inputs), rtol=_CLOSE, atol=_CLOSE)
    require(alike, "its features differ from those of forward()")
    single = encoder.maps(inputs)
    require(list(maps) == list(single), f"its maps are {list(maps)}, those of maps() {list(single)}")
    for name, value in maps.items():
        a, b = (each.values if isinstance(each, NodeMap) else each for each in (value, single[name]))
        alike = a.shape == b.shape and torch.allclose(a, b, rtol=_CLOSE, atol=_CLOSE)
        require(alike, f"its map {name!r} differs from that of maps()")


def _check_gradients_and_state(cls: Any, example: Example) -> None:
    """Parameters receive a gradient, and a loaded state_dict gives the same features."""
    encoder = build_encoder(example)
    trained = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    if trained or not brings_weights(cls):  # what comes trained may be a graph that cannot be trained further
        encoder(inputs_of(example, range(4))).pow(2).mean().backward()
        moved = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in trained]
        require(any(moved), "no parameter received a gradient")
    loaded = build_encoder(example)
    loaded.load_state_dict(encoder.state_dict())
    inputs = inputs_of(example, range(2))
    require(torch.equal(encoder.eval()(inputs), loaded.eval()(inputs)), "a loaded state gives different features")


def brings_weights(cls: Any) -> bool:
    """Return whether an encoder may load weights from elsewhere, so that it may need a file or have nothing to train.

    Args:
        cls: A class derived from `Encoder`.
    """
    return getattr(cls.outside_weights, "__func__", None) is not getattr(Encoder.outside_weights, "__func__", None)


CHECKS = (_check_features, _check_maps, _check_both, _check_gradients_and_state)
