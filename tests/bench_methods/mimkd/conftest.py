"""A wider teacher that reads the same images as the student."""

from collections.abc import Callable

import pytest
import torch

from bench_core import DataSpec, Objective
from bench_encoders.convnet import ConvNet, ConvNetConfig
from bench_methods.references import Supervised, SupervisedConfig


def build_teacher(data: DataSpec) -> Objective:
    encoder = ConvNet(data, ConvNetConfig(widths=(6, 8, 10)))
    teacher = Supervised(encoder, data, SupervisedConfig(augmentation="none"))
    return teacher.eval().requires_grad_(False)


@pytest.fixture
def make_teacher() -> Callable[[DataSpec], Objective]:
    """Function that builds an untrained teacher: a `supervised` on three layers, frozen and in eval mode."""
    return build_teacher


@pytest.fixture
def student(data: DataSpec) -> ConvNet:
    """Encoder with the maps conv1 (4, 4, 4) and conv2 (5, 2, 2)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return ConvNet(data, ConvNetConfig(widths=(4, 5)))


@pytest.fixture
def teacher(data: DataSpec) -> Objective:
    """Teacher with the maps conv1 (6, 4, 4), conv2 (8, 2, 2) and conv3 (10, 2, 2)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_teacher(data)
