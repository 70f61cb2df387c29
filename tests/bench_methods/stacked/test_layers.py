"""Layers as autoencoders: values by hand, the formula in loops, and linear layers, whose best weights are known."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

from bench_core import DataSpec, Encoder, EpochContext
from bench_core.conformance.toys import TinyEncoder
from bench_methods.stacked.corruption import corrupt
from bench_methods.stacked.layers import (
    LayerDecoder,
    layer_inputs,
    layer_stages,
    make_decoders,
    number_of,
    stack_skip_reason,
)

IMAGES = DataSpec(shape=(1, 2, 3), splits={"train": 9})
VECTORS = DataSpec(shape=(6,), splits={"train": 9})


class Stacked(Encoder):
    """Stack of layers of one activation; inputs are scaled if a test says so."""

    def __init__(
        self, data: DataSpec, *widths: int, activation: type[nn.Module] = nn.Sigmoid, scale: float = 1.0
    ) -> None:
        super().__init__(data, None)
        self.dim, self.scale = widths[-1], scale
        sizes = (math.prod(data.shape), *widths)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(a, b), activation()) for a, b in zip(sizes, widths, strict=False)
        )

    def flatten(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1) * self.scale

    def forward(self, inputs: Tensor) -> Tensor:
        values = self.flatten(inputs)
        for layer in self.layers:
            values = layer(values)
        return values

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        return {"last": self(inputs)[..., None]}


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def autoencoder(tied: bool, bounded: bool) -> tuple[nn.Sequential, LayerDecoder]:
    torch.manual_seed(2)
    linear = nn.Linear(4, 3)
    layer, decoder = nn.Sequential(linear, nn.Sigmoid()), LayerDecoder(linear, tied, bounded)
    for parameter in decoder.parameters():
        nn.init.normal_(parameter)
    return layer, decoder


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("bounded", [True, False])
def test_loss_equals_the_formula_written_as_loops(tied: bool, bounded: bool) -> None:
    layer, decoder = autoencoder(tied, bounded)
    rng = torch.Generator().manual_seed(0)
    corrupted, clean = torch.rand(5, 4, generator=rng), torch.rand(5, 4, generator=rng)
    (weight, bias), out = (p.tolist() for p in layer.parameters()), decoder.bias.tolist()
    back = [list(row) for row in zip(*weight, strict=True)] if decoder.weight is None else decoder.weight.tolist()
    total = 0.0
    for x, y in zip(corrupted.tolist(), clean.tolist(), strict=True):
        hidden = [sigmoid(sum(w * v for w, v in zip(weight[k], x, strict=True)) + bias[k]) for k in range(3)]
        for d in range(4):
            value = sum(back[d][k] * hidden[k] for k in range(3)) + out[d]
            chance = sigmoid(value)
            cross_entropy = -(y[d] * math.log(chance) + (1 - y[d]) * math.log(1 - chance))
            total += cross_entropy if bounded else (value - y[d]) ** 2
    assert float(decoder(layer, corrupted, clean).total.detach()) == pytest.approx(total / 5, rel=1e-5)


@pytest.mark.parametrize(("bounded", "loss"), [(True, 4 * math.log(2)), (False, 4 * 0.25)])
def test_weights_of_zero_cost_log_2_or_the_square_of_an_input_each(bounded: bool, loss: float) -> None:
    layer, decoder = autoencoder(True, bounded)
    for parameter in (*layer.parameters(), *decoder.parameters()):
        nn.init.zeros_(parameter)
    clean = torch.full((7, 4), 0.5)
    assert float(decoder(layer, clean, clean).total.detach()) == pytest.approx(loss)


def test_explained_part_is_1_for_a_perfect_copy_and_0_for_the_mean() -> None:
    linear = nn.Linear(2, 2)
    layer, decoder = nn.Sequential(linear, nn.Identity()), LayerDecoder(linear, True, False)
    clean = torch.tensor([[1.0, 2.0], [3.0, -2.0]])
    with torch.no_grad():
        linear.weight.copy_(torch.eye(2))
        linear.bias.zero_()
        assert float(decoder(layer, clean, clean).parts["explained"]) == 1
        linear.weight.zero_()
        decoder.bias.copy_(clean.mean(0))
        assert float(decoder(layer, clean, clean).parts["explained"]) == 0


def test_decoder_with_weights_of_its_own_begins_where_the_tied_one_does() -> None:
    linear = nn.Linear(4, 3)
    layer, decoders = nn.Sequential(linear, nn.Sigmoid()), [LayerDecoder(linear, tied, True) for tied in (True, False)]
    inputs = torch.rand(5, 4)
    first, second = (float(decoder(layer, inputs, inputs).total.detach()) for decoder in decoders)
    assert first == second
    assert [sum(p.numel() for p in decoder.parameters()) for decoder in decoders] == [4, 4 + 12]


@pytest.mark.parametrize(
    ("data", "fields", "bounded"),
    [
        (IMAGES, {}, [True, True]),
        (IMAGES, {"scale": 3.0}, [False, True]),
        (IMAGES, {"activation": nn.ReLU}, [True, False]),
        (VECTORS, {}, [False, True]),
    ],
)
def test_cross_entropy_is_for_inputs_in_0_1_alone(data: DataSpec, fields: dict[str, Any], bounded: list[bool]) -> None:
    decoders = make_decoders(Stacked(data, 5, 4, **fields), data, True)
    assert [decoder.bounded for decoder in decoders] == bounded


def test_inputs_of_a_layer_are_the_clean_outputs_of_those_below_and_carry_no_gradient() -> None:
    encoder = Stacked(IMAGES, 5, 4, 3)
    images = torch.rand(7, 1, 2, 3)
    expected = images.flatten(1)
    for number in range(3):
        inputs = layer_inputs(encoder, images, number)
        assert torch.allclose(inputs, expected)
        assert not inputs.requires_grad
        expected = torch.sigmoid(nn.functional.linear(inputs, *encoder.layers[number].parameters()))
    assert torch.allclose(encoder(images), expected)


def test_each_stage_trains_one_layer_with_its_decoder() -> None:
    encoder = Stacked(IMAGES, 5, 4)
    decoders = make_decoders(encoder, IMAGES, True)
    stages = layer_stages(encoder, decoders)
    assert [stage.name for stage in stages] == ["layer1", "layer2"]
    for number, stage in enumerate(stages):
        (player,) = stage.players
        expected = [*encoder.layers[number].parameters(), *decoders[number].parameters()]
        assert [id(parameter) for parameter in player.parameters] == [id(parameter) for parameter in expected]
        context = EpochContext(0, 2, 0, 2, lambda: iter(()), torch.Generator(), stage.name)
        assert number_of(context) == number


def test_encoder_that_is_no_stack_is_refused() -> None:
    assert stack_skip_reason(Stacked) is None
    assert "such as `mlp`" in str(stack_skip_reason(TinyEncoder))
    with pytest.raises(TypeError, match="TinyEncoder: needs an encoder that is a stack"):
        make_decoders(TinyEncoder(IMAGES), IMAGES, True)


@pytest.fixture(scope="module")
def ellipse() -> Tensor:
    """Gaussian vectors (1000, 6) whose covariance has the eigenvalues 4, 2, 0.5, 0.3, 0.2, 0.1."""
    rng = torch.Generator().manual_seed(4)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=rng)).Q
    deviations = torch.tensor([4.0, 2.0, 0.5, 0.3, 0.2, 0.1]).sqrt()
    values: Tensor = (torch.randn(1000, 6, generator=rng) * deviations) @ turn.T
    return values - values.mean(0)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("deviation", [0.0, 1.0])
def test_linear_layer_finds_the_principal_components_shrunk_by_the_noise(
    tied: bool, deviation: float, ellipse: Tensor
) -> None:
    torch.manual_seed(0)
    encoder = Stacked(VECTORS, 2, activation=nn.Identity)
    (decoder,) = make_decoders(encoder, VECTORS, tied)
    layer, rng = encoder.layers[0], torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam([*layer.parameters(), *decoder.parameters()], lr=0.04)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
    for _ in range(400):
        optimizer.zero_grad()
        decoder(layer, corrupt(ellipse, "gaussian", deviation, False, rng), ellipse).total.backward()
        optimizer.step()
        scheduler.step()
    forth = layer.get_parameter("0.weight").detach()
    back = forth.T if tied else decoder.get_parameter("weight").detach()
    found = PCA(2).fit(ellipse.numpy())
    axes, variances = found.components_, found.explained_variance_
    shrunk = axes.T @ np.diag(variances / (variances + deviation**2)) @ axes  # ridge regression of x on x + noise
    assert np.abs((back @ forth).numpy() - shrunk).max() < 0.04
