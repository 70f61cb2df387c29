"""Modules of a user's Python file."""

import copy
from pathlib import Path

import pytest
import torch

from bench_core import DataSpec
from bench_core.errors import RequestError
from bench_encoders.outside.python_file import PythonConfig, PythonModule

GRAY = DataSpec(shape=(1, 8, 8), splits={"train": 64}, mean=(0.3,), std=(0.4,), num_classes=10)
FILE = """
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU())

def number():
    return 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(FILE)
    return tmp_path / "net.py"


def config(file: Path, function: str = "build", weights: str = "", size: int = 0) -> PythonConfig:
    return PythonConfig(factory=f"{file}:{function}", weights=weights, size=size)


@torch.no_grad()
def test_gray_is_repeated_and_maps_are_averaged(file: Path) -> None:
    encoder, images = PythonModule(GRAY, config(file)), torch.rand(2, 1, 8, 8)
    maps = encoder.net(images.repeat(1, 3, 1, 1))
    torch.testing.assert_close(encoder(images), maps.mean((2, 3)))
    torch.testing.assert_close(encoder.maps(images)["output"], maps)
    assert torch.equal(copy.deepcopy(encoder)(images), encoder(images))
    assert PythonModule(GRAY, config(file, size=12)).maps(images)["output"].shape == (2, 5, 10, 10)


def test_the_key_knows_file_function_and_weights(file: Path, tmp_path: Path) -> None:
    first = PythonModule.outside_weights(config(file))
    assert (first.name, first.source) == ("net", "net.py")
    assert PythonModule.outside_weights(config(file)).digest == first.digest
    torch.save(PythonModule(GRAY, config(file)).net.state_dict(), tmp_path / "w.pt")
    weights = PythonModule.outside_weights(config(file, weights=str(tmp_path / "w.pt")))
    file.write_text(FILE.replace("nn.ReLU()", "nn.GELU()"))
    assert len({first.digest, weights.digest, PythonModule.outside_weights(config(file)).digest}) == 3
    assert weights.name == "net:w"


@torch.no_grad()
def test_weights_are_loaded(file: Path, tmp_path: Path) -> None:
    state = {"0.weight": torch.ones(5, 3, 3, 3), "0.bias": torch.zeros(5)}
    torch.save({"model": state}, tmp_path / "w.pt")
    encoder = PythonModule(GRAY, config(file, weights=str(tmp_path / "w.pt")))
    torch.testing.assert_close(encoder(torch.ones(1, 1, 8, 8)), torch.full((1, 5), 27.0))


def test_bad_input_says_what_is_right(file: Path, tmp_path: Path) -> None:
    assert "python.factory=FILE.py:build" in str(PythonModule.skip_reason(GRAY, PythonConfig()))
    with pytest.raises(RequestError, match=r"no function 'bild'; did you mean 'build'"):
        PythonModule.outside_weights(config(file, "bild"))
    with pytest.raises(RequestError, match=r"must return a torch\.nn\.Module, got a int"):
        PythonModule.outside_weights(config(file, "number"))
    with pytest.raises(RequestError, match=r"must be FILE\.py:FUNCTION"):
        PythonModule.outside_weights(PythonConfig(factory=str(file)))
    with pytest.raises(RequestError, match="no such file"):
        PythonModule.outside_weights(config(tmp_path / "none.py"))
