"""Networks of a Python session as rows."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

from bench_core import evaluate, results
from bench_core.errors import RequestError
from bench_core.plugins import Component, Registry
from bench_core.running.given_module import given_module


@pytest.fixture
def with_frozen(registry: Registry) -> Registry:
    from bench_methods.references import FrozenEncoder

    registry.components.append(Component("objective", "frozen", "toys", "1.0", FrozenEncoder))
    return registry


def measure(module: nn.Module, path: Path, registry: Registry, **arguments: Any) -> pd.DataFrame:
    return evaluate(module, "blobs", "spread", store=path, progress=False, registry=registry, **arguments)


def test_a_network_of_the_session_becomes_a_row(with_frozen: Registry, tmp_path: Path) -> None:
    module = nn.Flatten()
    frame = measure(module, tmp_path / "runs", with_frozen, name="mine", trained_on="nothing")
    assert list(frame["method"]) == ["mine"]
    assert len(results(tmp_path / "runs")) == 1


def test_the_same_weights_have_the_same_key_whatever_their_name(with_frozen: Registry, tmp_path: Path) -> None:
    measure(nn.Flatten(), tmp_path / "runs", with_frozen, name="first")
    measure(nn.Flatten(), tmp_path / "runs", with_frozen, name="second")
    assert len(results(tmp_path / "runs")) == 1


def test_the_digest_follows_weights_and_structure() -> None:
    layer = nn.Linear(2, 2)
    other = nn.Linear(2, 2)
    modules = [layer, other, nn.Sequential(layer), nn.Sequential(layer, nn.ReLU())]
    digests = [given_module(module, "x").cls.weights.digest for module in modules]
    assert len(set(digests)) == 4
    assert given_module(layer, "y").cls.weights.digest == digests[0]


def test_the_module_is_not_changed(with_frozen: Registry, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64)).train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    frame = measure(module, tmp_path / "runs", with_frozen, name="mine")
    assert len(frame) == 1
    assert module.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_maps_are_averaged() -> None:
    from bench_core import DataSpec

    data = DataSpec(shape=(2, 3, 3), splits={"train": 4})
    component = given_module(nn.Identity(), "maps")
    encoder = component.cls(data, component.cls.Config())
    inputs = torch.rand(5, 2, 3, 3)
    torch.testing.assert_close(encoder(inputs), inputs.mean((2, 3)))
    assert encoder.dim == 2


@pytest.mark.parametrize(
    ("module", "name", "words"), [("resnet", "mine", "torch.nn.Module"), (nn.Identity(), " ", "name of a row")]
)
def test_wrong_arguments_are_refused(module: Any, name: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        given_module(module, name)
