"""Every method with a projector gives the signs of its output as a code, so that no method lacks what others have."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import DataSpec, Objective
from bench_core.conformance.examples import examples_of
from bench_core.conformance.toys import FACTORS, TinyEncoder
from bench_core.contracts.keywords import needs
from bench_core.plugins import load_plugins

BUILT_IN = [
    part
    for part in load_plugins().of_kind("objective")
    if part.distribution == "bench-core"
    and not needs(part.cls.__init__, "teacher")
    and any(example.encoder is TinyEncoder for example in examples_of(part, load_plugins()))
    and part.name != "amdim"  # reads two maps, which the encoder of these tests lacks; it has no projector
]
WITH_PROJECTOR = {"barlow_twins", "byol", "moco", "simclr", "simsiam", "swav", "vicreg"}


def small(cls: type[Objective]) -> dict[str, int]:
    """Return narrow heads, with an output that tells bits from features."""
    widths = {"hidden_dim": 8, "output_dim": 6, "bottleneck_dim": 4, "prototypes": 5, "queue": 0, "queue_size": 16}
    return {name: width for name, width in widths.items() if hasattr(cls.Config(), name)}


@pytest.mark.parametrize("part", BUILT_IN, ids=lambda part: part.name)
def test_code_is_there_and_is_the_signs_of_the_projection(
    part: Any, make: Callable[..., Any], data: DataSpec, images: Tensor
) -> None:
    method = make(part.cls, replace(data, factors=FACTORS), **small(part.cls)).eval()
    assert hasattr(method, "projector") == (part.name in WITH_PROJECTOR)
    if part.name in WITH_PROJECTOR:
        with torch.inference_mode():
            embedded = method.embed(images)
            features = method.encoder(images)
            projected = method.projector(features)
        assert torch.equal(embedded["features"], features)
        assert (embedded["code"].dtype, embedded["code"].shape) == (torch.bool, (len(images), 6))
        assert torch.equal(embedded["code"], projected > 0)
