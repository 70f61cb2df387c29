"""Checks of encoders."""

from typing import Any

import torch

from bench_core.conformance.toys import images_of, need, spec_for


def _encodes(cls: Any) -> None:
    """Builds from defaults, features are (N, dim) float32, finite, inputs unchanged, same in eval mode twice."""
    spec = spec_for(cls)
    encoder, images = cls(spec, cls.Config()).eval(), images_of(spec, 4)
    before = images.clone()
    features = encoder(images)
    need(tuple(features.shape) == (4, encoder.dim), f"features {tuple(features.shape)}, expected (4, {encoder.dim})")
    need(features.dtype == torch.float32, f"features are {features.dtype}")
    need(bool(features.isfinite().all()), "features are not finite")
    need(torch.equal(images, before), "inputs were changed")
    need(torch.equal(features, encoder(images)), "eval mode gives other features the second time")


def _maps(cls: Any) -> None:
    """Maps are named and (N, channels, h, w)."""
    spec = spec_for(cls)
    maps = cls(spec, cls.Config()).eval().maps(images_of(spec, 2))
    need(isinstance(maps, dict) and bool(maps), "maps() must give a dict with at least one map")
    for name, value in maps.items():
        need(value.ndim == 4 and len(value) == 2, f"map {name!r} has shape {tuple(value.shape)}")


def _encoder_learns(cls: Any) -> None:
    """A gradient reaches its parameters, and state round-trips."""
    spec = spec_for(cls)
    encoder = cls(spec, cls.Config())
    encoder(images_of(spec, 4)).pow(2).mean().backward()
    grads = [p.grad for p in encoder.parameters() if p.requires_grad]
    need(any(g is not None and bool(g.abs().sum() > 0) for g in grads), "no parameter got a gradient")
    other = cls(spec, cls.Config())
    other.load_state_dict(encoder.state_dict())
    images = images_of(spec, 2)
    need(torch.equal(encoder.eval()(images), other.eval()(images)), "a loaded state gives other features")


CHECKS = (_encodes, _maps, _encoder_learns)
