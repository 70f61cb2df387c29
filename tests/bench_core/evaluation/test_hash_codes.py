"""LSH, PCAH and ITQ, and measures of bits."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from bench_core.evaluation import hash_codes
from bench_core.evaluation.hash_codes import (
    LinearHash,
    bit_correlation,
    bit_entropy,
    bit_imbalance,
    itq,
    itq_rotation,
    lsh,
    pcah,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clusters(items: int = 400, dims: int = 24, seed: int = 0) -> Tensor:
    """Make eight clusters far from the origin, with axes of different lengths."""
    centres = torch.randn(8, dims, generator=rng(99))
    spread = torch.linspace(3, 0.3, dims)
    return (centres[torch.arange(items) % 8] + 0.5 * torch.randn(items, dims, generator=rng(seed))) * spread + 5


HASHES: list[Callable[[Tensor], LinearHash]] = [
    lambda x: lsh(x, 12, rng()),
    lambda x: pcah(x, 12),
    lambda x: itq(x, 12, rng()),
]


def distances(codes: Tensor) -> Tensor:
    return (codes[:, None] ^ codes[None]).sum(2)


@pytest.mark.parametrize("angle", [0.2, 1.0, math.pi / 2, 2.5])
def test_lsh_differs_in_a_bit_with_probability_angle_over_pi(angle: float) -> None:
    pair = torch.zeros(2, 6)
    pair[0, 0], pair[1, 0], pair[1, 1] = 1, math.cos(angle), math.sin(angle)
    train = torch.cat([pair, -pair])  # mean 0
    codes = lsh(train, 20_000, rng()).codes(pair)
    differ = float((codes[0] ^ codes[1]).double().mean())
    assert differ == pytest.approx(angle / math.pi, abs=4 * math.sqrt(0.25 / 20_000))


def test_shift_and_scale_of_features_do_not_change_codes() -> None:
    train = clusters().double()
    for make in HASHES:
        plain = make(train.float()).codes(train.float())
        moved = make((4 * train + 64).float()).codes((4 * train + 64).float())
        assert float((plain == moved).double().mean()) > 0.998  # rounding may flip a bit


def test_pcah_codes_equal_signs_of_scikit_learn_components() -> None:
    train, test = clusters(), clusters(seed=1)
    expected = torch.from_numpy(PCA(10, svd_solver="full").fit(train.numpy()).transform(test.numpy()) > 0)
    agree = (pcah(train, 10).codes(test) == expected).double().mean(0)
    assert bool((torch.maximum(agree, 1 - agree) > 0.999).all())  # a component's sign is free


def test_signs_of_components_are_fixed_and_do_not_change_distances() -> None:
    train = clusters()
    hashed = pcah(train, 8)
    largest = hashed.projections.gather(0, hashed.projections.abs().argmax(0, keepdim=True))
    assert bool((largest > 0).all())
    flipped = torch.tensor([1, -1] * 4) * hashed.projections
    codes = (train - hashed.mean) @ flipped > 0
    assert torch.equal(distances(codes[:50]), distances(hashed.codes(train)[:50]))


@pytest.mark.parametrize(("bits", "seed"), [(8, 0), (24, 1), (40, 2)])
def test_loss_of_itq_never_rises(bits: int, seed: int) -> None:
    values = clusters(seed=seed).double()[:, : min(bits, 24)]
    rotation, losses = itq_rotation(values - values.mean(0), bits, rng(seed))
    assert len(losses) == 51
    assert bool((np.diff(losses) <= 1e-9).all())
    assert losses[-1] < losses[0]
    assert torch.allclose(rotation @ rotation.T, torch.eye(len(rotation)).double(), atol=1e-10)


def test_loss_of_itq_equals_a_slow_computation() -> None:
    values = clusters().double()[:, :6]
    values -= values.mean(0)
    rotation, losses = itq_rotation(values, 6, rng())
    total = 0.0
    for row in (values @ rotation).tolist():
        total += sum(((1 if v > 0 else -1) - v) ** 2 for v in row)
    assert losses[-1] == pytest.approx(total / len(values))


def test_itq_rotates_a_square_so_that_its_corners_are_codes() -> None:
    corners = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]]).double().repeat(10, 1) * math.sqrt(2)
    rotation, losses = itq_rotation(corners, 2, rng())
    assert losses[-1] == pytest.approx(0, abs=1e-12)
    assert (corners @ rotation).abs() == pytest.approx(np.ones((40, 2)), abs=1e-6)


def test_itq_separates_clusters_better_than_pcah_if_axes_differ_in_length() -> None:
    train = clusters(800)
    labels = torch.arange(800) % 8
    same = labels[:, None] == labels[None]

    def gap(codes: Tensor) -> float:
        distance = distances(codes).double() / codes.shape[1]
        return float(distance[~same].mean() - distance[same].mean())

    assert gap(itq(train, 16, rng()).codes(train)) > gap(pcah(train, 16).codes(train)) + 0.02


def test_bits_beyond_the_dimensions_are_a_frame_in_itq_and_constant_in_pcah() -> None:
    train = clusters(dims=6)
    few, many = pcah(train, 6).codes(train), pcah(train, 10).codes(train)
    assert torch.equal(distances(few[:40]), distances(many[:40]))
    assert not bool(many[:, 6:].any())
    overcomplete = itq(train, 10, rng())
    assert torch.allclose(overcomplete.projections @ overcomplete.projections.T, torch.eye(6), atol=1e-5)
    assert bit_entropy(overcomplete.codes(train)) > 0.5


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_directions_without_variance_give_no_bits(rank: int) -> None:
    factors = torch.randn(100, rank, generator=rng()) @ torch.randn(rank, 12, generator=rng(1)) + 2
    codes = pcah(factors, 8).codes(factors)
    assert int((codes.any(0) & ~codes.all(0)).sum()) == rank
    assert bool(itq(factors, 8, rng()).projections.isfinite().all())


def test_measures_of_bits_by_hand() -> None:
    bits = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0]]).bool()
    assert bit_imbalance(bits) == pytest.approx((0.5 + 0 + 0.25 + 0.5) / 4)
    quarter = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert bit_entropy(bits) == pytest.approx((0 + 1 + quarter + 0) / 4)
    correlation = abs(float(np.corrcoef(bits[:, 1].numpy(), bits[:, 2].numpy())[0, 1]))
    assert bit_correlation(bits) == pytest.approx(2 * correlation / 12)  # constant bits have 0 with all


def test_correlation_of_many_codes_is_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_codes, "_ROWS", 7)
    bits = torch.randn(100, 9, generator=rng()) @ torch.randn(9, 9, generator=rng(1)) > 0.5
    sizes = np.abs(np.corrcoef(bits.numpy(), rowvar=False))
    assert bit_correlation(bits) == pytest.approx((sizes.sum() - 9) / 72, abs=1e-12)


def test_measures_of_copied_bits_and_of_independent_fair_bits() -> None:
    coin = torch.rand(4000, 1, generator=rng()) > 0.5
    assert bit_correlation(torch.cat([coin, ~coin, coin], 1)) == pytest.approx(1)
    fair = torch.rand(4000, 16, generator=rng()) > 0.5
    assert bit_correlation(fair) == pytest.approx(math.sqrt(2 / math.pi / 4000), abs=0.003)
    assert bit_entropy(fair) == pytest.approx(1, abs=1e-3)
    assert bit_correlation(coin) == 0


def test_correlation_of_two_bits_is_that_of_the_pair() -> None:
    pair = torch.tensor([[1, 1], [1, 0], [0, 0], [0, 0]]).bool()
    assert bit_correlation(pair) == pytest.approx(float(np.corrcoef(pair.numpy(), rowvar=False)[0, 1]))


def test_every_update_of_itq_lowers_the_loss_also_the_last() -> None:
    values = clusters().double()[:, :6]
    _, losses = itq_rotation(values - values.mean(0), 6, rng(), iterations=2)
    assert losses[0] > losses[1] > losses[2]
