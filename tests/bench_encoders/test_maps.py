"""Maps of every built-in encoder are outputs of ReLUs, as the task linear_regions needs."""

import pytest
import torch
from torch import nn

from bench_core import DataSpec, Encoder
from bench_core.evaluation.sign_patterns import patterns
from bench_core.nn.layers import Standardize
from bench_encoders.alexnet import AlexNet, AlexNetConfig
from bench_encoders.convnet import ConvNet
from bench_encoders.dim_conv import DIMConv
from bench_encoders.mlp import MLP
from bench_encoders.resnet import ResNet18
from bench_encoders.vgg import VGG16BN


def build(kind: type[Encoder]) -> tuple[Encoder, torch.Tensor]:
    config, side = kind.Config(), 32
    if kind is AlexNet:
        config, side = AlexNetConfig(upsample=None), 63
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = kind(DataSpec(shape=(3, side, side), splits={"train": 1}), config)
    return encoder, torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", [ConvNet, ResNet18, VGG16BN, AlexNet, MLP])
def test_maps_are_outputs_of_relus(kind: type[Encoder]) -> None:
    encoder, images = build(kind)
    outputs: set[int] = set()
    kept = []  # so that no two outputs get one address

    def note(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        outputs.add(output.data_ptr())
        kept.append(output)

    for module in encoder.modules():
        if isinstance(module, nn.ReLU) or (kind is VGG16BN and isinstance(module, nn.MaxPool2d)):
            module.register_forward_hook(note)
    with torch.no_grad():
        maps = encoder.train().maps(images)
    assert {values.data_ptr() for values in maps.values()} <= outputs
    for name, values in maps.items():
        assert values.min() == 0, name
        assert 0.05 < (values > 0).float().mean() < 0.99, name
    bits = patterns(maps)
    assert bits.shape == (2, sum(values[0].numel() for values in maps.values()))


def test_maps_of_the_convnet_are_all_of_its_relus() -> None:
    encoder = ConvNet(DataSpec(shape=(3, 32, 32), splits={"train": 1}), ConvNet.Config())
    assert sum(isinstance(module, nn.ReLU) for module in encoder.modules()) == len(
        encoder.maps(torch.rand(2, 3, 32, 32))
    )


@pytest.mark.parametrize("kind", [ConvNet, DIMConv, ResNet18, VGG16BN, AlexNet, MLP])
def test_features_and_maps_come_from_one_pass(kind: type[Encoder]) -> None:
    encoder, images = build(kind)
    (first,) = (module for module in encoder.modules() if isinstance(module, Standardize))
    passes: list[int] = []
    first.register_forward_hook(lambda *_: passes.append(1))
    with torch.no_grad():
        encoder.features_and_maps(images)
    assert len(passes) == 1
