"""The row's own encoder becomes the teacher's, and any other architecture is refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import DataSpec, Objective
from bench_core.errors import ConfigError
from bench_encoders.convnet import ConvNet, ConvNetConfig
from bench_encoders.mlp import MLP
from bench_methods.feature_hashing.cibhash import CIBHash
from bench_methods.feature_hashing.distillhash import DistillHash
from bench_methods.feature_hashing.frozen_encoder import HashHead, bit_imbalance, take_over


class Negated(ConvNet):
    """The same layers, but other features if it is asked for them."""

    sign = 1.0

    def forward(self, inputs: Tensor) -> Tensor:
        return self.sign * super().forward(inputs)


@pytest.mark.parametrize("cls", [CIBHash, DistillHash])
def test_features_are_the_teachers_from_the_first_step_on(
    cls: Any, hasher: Callable[..., Any], make_teacher: Callable[..., Objective], data: DataSpec, images: Tensor
) -> None:
    method, teacher = hasher(cls, data), make_teacher(data)
    with torch.no_grad():
        embedded = method.eval().embed(images)
        assert torch.equal(embedded["features"], teacher.encoder(images))
        assert torch.equal(embedded["code"], method.head(embedded["features"]) > 0)
    assert (embedded["code"].dtype, embedded["code"].shape) == (torch.bool, (96, 8))


@pytest.mark.parametrize("cls", [CIBHash, DistillHash])
def test_encoder_is_frozen_and_of_no_player_and_the_teacher_is_not_kept(
    cls: Any, hasher: Callable[..., Any], data: DataSpec
) -> None:
    method = hasher(cls, data).train()
    assert not any(module.training for module in method.encoder.modules())
    assert method.head.training
    assert not any(parameter.requires_grad for parameter in method.encoder.parameters())
    (player,) = method.players()
    assert [id(parameter) for parameter in player.parameters] == [
        id(parameter) for parameter in method.head.parameters()
    ]
    assert {name.split(".")[0] for name in method.state_dict()} <= {"encoder", "head", "bank", "around", "limits"}


@pytest.mark.parametrize(
    ("encoder", "why"),
    [
        (lambda data: MLP(data, MLP.Config()), "MLP, not the teacher's ConvNet"),
        (
            lambda data: ConvNet(data, ConvNetConfig(widths=(6, 9))),
            r"conv2.*: \(9, 6, 3, 3\), not the teacher's \(8, 6",
        ),
        (lambda data: ConvNet(data, ConvNetConfig(widths=(6,))), "conv2.*: missing, not the teacher's"),
        (lambda data: ConvNet(data, ConvNetConfig(widths=(6, 8, 8))), "conv3.*, not the teacher's missing"),
    ],
)
def test_encoder_of_another_architecture_is_refused(
    encoder: Any, why: str, make_teacher: Callable[..., Objective], data: DataSpec
) -> None:
    with pytest.raises(ConfigError, match=rf"cibhash hashes .* as the teacher's \(.*{why}.* Give cibhash\.encoder"):
        take_over(encoder(data), make_teacher(data), data, "cibhash")


def test_encoder_that_computes_something_else_from_the_same_weights_is_refused(data: DataSpec) -> None:
    encoder, other = (Negated(data, ConvNetConfig(widths=(6, 8))) for _ in range(2))
    other.sign = -1.0
    with pytest.raises(ConfigError, match="same sizes, but other features from the same weights"):
        take_over(encoder, _Holder(other), data, "cibhash")  # type: ignore[arg-type]  # only its encoder is read


class _Holder:
    def __init__(self, encoder: ConvNet) -> None:
        self.encoder = encoder.eval()


def test_bit_imbalance_by_hand() -> None:
    logits = torch.tensor([[1.0, 1.0, -1.0], [1.0, -1.0, -1.0], [1.0, 2.0, 0.0], [1.0, 0.0, 3.0]])
    assert bit_imbalance(logits).item() == pytest.approx((0.5 + 0.0 + 0.25) / 3)


def test_head_measures_features_in_any_batches_by_hand() -> None:
    head, features = HashHead(2, 4, 3), torch.tensor([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]])
    head.fit(torch.split(features, 2))
    assert head.mean.tolist() == [3.0, 5.0]
    assert head.deviation.item() == pytest.approx((8 / 3 / 2) ** 0.5)  # variances 8/3 and 0
    with torch.no_grad():
        centred = (features - torch.tensor([3.0, 5.0])) / (4 / 3) ** 0.5
        assert torch.allclose(head(features), head.layers(centred), atol=1e-6)


def test_code_does_not_depend_on_offset_and_unit_of_the_features() -> None:
    features = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    head, other = HashHead(6, 8, 5), HashHead(6, 8, 5)
    other.load_state_dict(head.state_dict())
    moved = 0.01 * features + 4.0
    head.fit([features])
    other.fit([moved])
    assert torch.allclose(head(features), other(moved), atol=1e-3)


def test_features_without_variance_are_not_divided_by_0() -> None:
    head = HashHead(2, 4, 3)
    head.fit([torch.ones(5, 2)])
    assert head.deviation.item() == 1
    assert head(torch.ones(5, 2)).isfinite().all()
