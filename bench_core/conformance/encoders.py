"""Checks of encoders, on toy images. The docstring of each check is its line in `bench check`."""

from typing import Any

import torch

from bench_core.conformance.toys import images_of, require, spec_for
from bench_core.contracts.encoder import features_fault


def _check_features(cls: Any) -> None:
    """Features are finite float32 (N, dim), the same twice in eval mode; inputs stay unchanged."""
    spec = spec_for(cls)
    encoder, images = cls(spec, cls.Config()).eval(), images_of(spec, 4)
    before = images.clone()
    features = encoder(images)
    fault = features_fault(features, 4, encoder.dim)
    require(fault is None, str(fault))
    require(bool(features.isfinite().all()), "features are not finite")
    require(torch.equal(images, before), "forward() changed its inputs")
    require(torch.equal(features, encoder(images)), "in eval mode a second call gives different features")


def _check_maps(cls: Any) -> None:
    """maps() returns named local maps (N, channels, h, w)."""
    spec = spec_for(cls)
    maps = cls(spec, cls.Config()).eval().maps(images_of(spec, 2))
    require(isinstance(maps, dict) and bool(maps), "maps() must return a dict with at least one map")
    for name, value in maps.items():
        require(
            value.ndim == 4 and len(value) == 2,
            f"map {name!r} has shape {tuple(value.shape)}, expected (2, channels, h, w)",
        )


def _check_gradients_and_state(cls: Any) -> None:
    """Parameters receive a gradient, and a loaded state_dict gives the same features."""
    spec = spec_for(cls)
    encoder = cls(spec, cls.Config())
    encoder(images_of(spec, 4)).pow(2).mean().backward()
    gradients = [p.grad for p in encoder.parameters() if p.requires_grad]
    require(any(g is not None and bool(g.abs().sum() > 0) for g in gradients), "no parameter received a gradient")
    loaded = cls(spec, cls.Config())
    loaded.load_state_dict(encoder.state_dict())
    images = images_of(spec, 2)
    require(torch.equal(encoder.eval()(images), loaded.eval()(images)), "a loaded state gives different features")


CHECKS = (_check_features, _check_maps, _check_gradients_and_state)
