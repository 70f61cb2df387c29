"""An untrained network as the teacher, and methods on it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench_core import DataSpec, Objective
from bench_encoders.convnet import ConvNet, ConvNetConfig
from bench_methods.simclr import SimCLR, SimCLRConfig


@pytest.fixture
def make_teacher() -> Callable[..., Objective]:
    """Function that builds an untrained `simclr`, frozen and in eval mode, whose batch norm has seen other data."""

    def build(data: DataSpec, widths: tuple[int, ...] = (6, 8)) -> Objective:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(9)
            teacher = SimCLR(ConvNet(data, ConvNetConfig(widths=widths)), data, SimCLRConfig())
            with torch.no_grad():
                teacher.encoder(torch.rand(64, *data.shape))  # in train mode, so that its statistics move
        return teacher.eval().requires_grad_(False)

    return build


@pytest.fixture
def hasher(make_teacher: Callable[..., Objective]) -> Callable[..., Any]:
    """Function that builds a method with small layers: hasher(CIBHash, data, code_dim=4), always the same weights."""

    def build(cls: Any, data: DataSpec, *, widths: tuple[int, ...] = (6, 8), seed: int = 0, **values: Any) -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            config = cls.Config(**{"hidden_dim": 32, "code_dim": 8, **values})
            return cls(ConvNet(data, ConvNetConfig(widths=widths)), data, config, teacher=make_teacher(data, widths))

    return build
