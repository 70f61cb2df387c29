"""Projection heads and measures of collapse."""

import pytest
import torch
from torch import nn

from bench_core.nn.collapse import directions, spread
from bench_core.nn.heads import mlp


def test_mlp_has_batch_norm_between_its_layers_and_no_bias_before_it() -> None:
    layers = list(mlp(4, 8, 8, 2))
    assert [type(layer).__name__ for layer in layers] == [
        "Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear",
    ]  # fmt: skip
    assert [layer.bias is None for layer in layers if isinstance(layer, nn.Linear)] == [True, True, False]


def test_mlp_of_two_widths_is_linear() -> None:
    assert [type(layer) for layer in mlp(4, 2)] == [nn.Linear]
    normed = mlp(4, 2, norm_output=True, affine_output=False)
    assert [type(layer) for layer in normed] == [nn.Linear, nn.BatchNorm1d]
    assert len(list(normed.parameters())) == 1


def test_spread_is_one_for_random_directions_and_zero_after_collapse() -> None:
    rows = torch.randn(4096, 16, generator=torch.Generator().manual_seed(0))
    assert float(spread(rows)) == pytest.approx(1.0, abs=0.02)
    assert float(spread(rows[:1].repeat(8, 1))) == pytest.approx(0.0, abs=1e-6)


def test_spread_ignores_the_length_of_rows() -> None:
    rows = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    lengths = torch.linspace(0.1, 9, 64)[:, None]
    assert float(spread(rows * lengths)) == pytest.approx(float(spread(rows)), abs=1e-6)


def test_directions_equal_the_number_of_used_dimensions() -> None:
    rows = torch.randn(4096, 16, generator=torch.Generator().manual_seed(0))
    assert float(directions(rows)) == pytest.approx(16.0, rel=0.02)
    rows[:, 4:] = 0
    assert float(directions(rows)) == pytest.approx(4.0, rel=0.02)


def test_rows_on_a_line_have_one_direction_though_their_spread_is_large() -> None:
    both_ways = torch.randn(64, 1, generator=torch.Generator().manual_seed(0)) * torch.ones(1, 16)
    assert float(directions(both_ways)) == pytest.approx(1.0, abs=1e-5)
    assert float(spread(both_ways)) > 0.9
    assert float(directions(torch.ones(8, 4))) == 0.0


def test_directions_are_the_participation_ratio_of_the_covariance() -> None:
    rows = torch.randn(12, 40, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.eigvalsh(torch.cov(torch.nn.functional.normalize(rows, dim=1).T))
    assert float(directions(rows)) == pytest.approx(float(values.sum() ** 2 / values.square().sum()), rel=1e-4)
    assert float(directions(3 * rows)) == pytest.approx(float(directions(rows)), rel=1e-5)


def test_directions_are_counted_in_float32_under_autocast() -> None:
    rows = torch.randn(12, 40, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = directions(rows)
    assert torch.equal(inside, directions(rows))


def test_mlp_has_the_widths_that_are_asked_for() -> None:
    layers = [layer for layer in mlp(4, 8, 16, 2, norm_output=True) if isinstance(layer, nn.Linear | nn.BatchNorm1d)]
    widths = [(m.in_features, m.out_features) if isinstance(m, nn.Linear) else m.num_features for m in layers]
    assert widths == [(4, 8), 8, (8, 16), 16, (16, 2), 2]
