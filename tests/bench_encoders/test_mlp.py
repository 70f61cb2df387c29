import math
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from bench_core.contracts import DataSpec
from bench_encoders.mlp import MLP, MLPConfig, bench_encoders


def spec(*shape: int) -> DataSpec:
    return DataSpec(shape=shape, splits={"train": 1}, mean=(0.4,) * shape[0], std=(0.2,) * shape[0])


def build(data: DataSpec, **config: object) -> MLP:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MLP(data, MLPConfig(**config))  # type: ignore[arg-type]  # each test gives values of the right types


def inputs(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def linear(layer: nn.Module) -> nn.Linear:
    found = layer.get_submodule("0")
    assert isinstance(found, nn.Linear)
    return found


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("shape", [(2, 2, 3), (12,)])
def test_features_equal_the_sums_written_as_loops(shape: tuple[int, ...], activation: str) -> None:
    encoder = build(spec(*shape), widths=(4, 3), activation=activation)
    x = inputs(5, *shape)
    features = encoder(x)
    for i in range(5):
        values = [(float(value) - 0.4) / 0.2 for value in x[i].flatten()]
        for layer in encoder.layers:
            weights, biases = linear(layer).weight.tolist(), linear(layer).bias.tolist()
            sums = [
                sum(weight * value for weight, value in zip(row, values, strict=True)) + bias
                for row, bias in zip(weights, biases, strict=True)
            ]
            values = [max(s, 0.0) if activation == "relu" else 1 / (1 + math.exp(-s)) for s in sums]
        torch.testing.assert_close(features[i], torch.tensor(values))


def test_a_unit_by_hand() -> None:
    encoder = build(DataSpec(shape=(2,), splits={"train": 1}, mean=(1.0, 2.0), std=(2.0, 4.0)), widths=(1,))
    with torch.no_grad():
        linear(encoder.layers[0]).weight.copy_(torch.tensor([[3.0, -1.0]]))
        linear(encoder.layers[0]).bias.fill_(0.5)
    # (5 - 1) / 2 = 2 and (10 - 2) / 4 = 2, so 3 * 2 - 1 * 2 + 0.5 = 4.5; at the means 0.5; below 0 the ReLU gives 0
    torch.testing.assert_close(
        encoder(torch.tensor([[5.0, 10.0], [1.0, 2.0], [-5.0, 2.0]])), torch.tensor([[4.5], [0.5], [0.0]])
    )


def test_each_channel_is_standardised_by_its_own_mean_and_deviation() -> None:
    encoder = build(DataSpec(shape=(2, 1, 2), splits={"train": 1}, mean=(0.5, 0.1), std=(0.5, 0.1)))
    flat = encoder.flatten(torch.tensor([[[[1.0, 0.0]], [[0.3, 0.1]]]]))
    torch.testing.assert_close(flat, torch.tensor([[1.0, -1.0, 2.0, 0.0]]))


def test_without_standardize_the_first_layer_reads_the_inputs_as_they_are() -> None:
    encoder, x = build(spec(1, 4, 4), standardize=False), inputs(3, 1, 4, 4)
    assert torch.equal(encoder.flatten(x), x.flatten(1))


@pytest.mark.parametrize(("activation", "low", "high"), [("relu", 0.2, 0.8), ("sigmoid", 0.02, 0.98)])
def test_the_signal_neither_vanishes_nor_saturates_in_a_deep_network(
    activation: Literal["relu", "sigmoid"], low: float, high: float
) -> None:
    encoder = build(spec(1, 28, 28), widths=(256,) * 6, activation=activation)
    features = encoder(0.4 + 0.2 * torch.randn(64, 1, 28, 28, generator=torch.Generator().manual_seed(1)))
    if activation == "relu":
        assert low < (features > 0).float().mean() < high
        assert 0.5 < features.square().mean() < 2
    else:
        assert low < features.mean() < high
        assert features.std() > 0.1


def test_weights_have_the_variances_of_he_and_glorot() -> None:
    he = linear(build(spec(1, 20, 20), widths=(400,)).layers[0]).weight.detach()
    glorot = linear(build(spec(1, 20, 20), widths=(400,), activation="sigmoid").layers[0]).weight.detach()
    assert float(he.var()) == pytest.approx(2 / 400, rel=0.02)
    assert float(glorot.var()) == pytest.approx(16 * 2 / (400 + 400), rel=0.02)
    assert float(glorot.abs().max()) <= 4 * math.sqrt(6 / 800)


def test_maps_are_the_outputs_of_each_layer_and_the_last_one_is_the_features() -> None:
    encoder, x = build(spec(1, 8, 8), widths=(7, 5, 3)), inputs(4, 1, 8, 8)
    maps = encoder.maps(x)
    assert {name: tuple(values.shape) for name, values in maps.items()} == {
        "layer1": (4, 7, 1), "layer2": (4, 5, 1), "layer3": (4, 3, 1),
    }  # fmt: skip
    assert torch.equal(maps["layer2"].squeeze(2), encoder.layers[1](encoder.layers[0](encoder.flatten(x))))
    features, again = encoder.features_and_maps(x)
    assert torch.equal(features, encoder(x))
    assert all(torch.equal(maps[name], again[name]) for name in maps)


def test_pixels_moved_along_with_the_weights_give_the_same_features() -> None:
    encoder, x = build(spec(1, 4, 4), widths=(6,)), inputs(3, 1, 4, 4)
    before = encoder(x)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        weight = linear(encoder.layers[0]).weight
        weight.copy_(weight[:, order])
    torch.testing.assert_close(encoder(x.flatten(1)[:, order].view(3, 1, 4, 4)), before)


def test_gradients_reach_every_parameter() -> None:
    encoder = build(spec(1, 8, 8))
    encoder(inputs(4, 1, 8, 8)).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in encoder.parameters())


def test_inputs_stay_unchanged() -> None:
    encoder, x = build(spec(1, 8, 8)), inputs(4, 1, 8, 8)
    before = x.clone()
    encoder(x)
    assert torch.equal(x, before)


def test_widths_must_be_positive_and_at_least_one() -> None:
    with pytest.raises(ValueError, match=r"widths must each be >= 1, got \(32, 0\)"):
        MLPConfig(widths=(32, 0))
    with pytest.raises(ValueError, match="widths must have at least one number"):
        MLPConfig(widths=())


def test_it_reads_images_and_vectors_and_is_registered() -> None:
    assert MLP.kinds == {"image", "vector"}
    assert bench_encoders() == {"mlp": MLP}
