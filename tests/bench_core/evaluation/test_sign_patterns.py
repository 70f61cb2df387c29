"""Counts, entropy and distances of sign patterns."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from bench_core.evaluation.sign_patterns import (
    count_distinct,
    mean_hamming,
    on_rates,
    pattern_counts,
    pattern_entropy,
    patterns,
)
from bench_core.nn.activation_codes import information


def coins(items: int, units: int, seed: int = 0) -> Tensor:
    return torch.rand(items, units, generator=torch.Generator().manual_seed(seed)) < 0.4


def rows(*words: str) -> Tensor:
    return torch.tensor([[letter == "1" for letter in word] for word in words])


def test_patterns_are_the_signs_of_all_maps_in_order() -> None:
    maps = {
        "a": torch.tensor([[[[0.0, 2.0], [-1.0, 0.5]]], [[[1.0, 0.0], [0.0, 0.0]]]]),
        "b": torch.tensor([[3.0], [0.0]]),
    }
    assert torch.equal(patterns(maps), rows("01011", "10000"))


def test_counts_and_entropy_of_patterns_by_hand() -> None:
    bits = rows("010", "111", "010", "000", "010", "111")
    assert pattern_counts(bits).tolist() == [3, 2, 1]
    assert count_distinct(bits) == 3
    assert pattern_entropy(bits) == pytest.approx(-(3 * math.log(3 / 6) + 2 * math.log(2 / 6) + math.log(1 / 6)) / 6)


@pytest.mark.parametrize("units", [1, 3, 8, 9, 130])
def test_counts_equal_those_of_a_set_of_rows(units: int) -> None:
    bits = coins(200, units)
    assert count_distinct(bits) == len({tuple(row) for row in bits.tolist()})
    assert int(pattern_counts(bits).sum()) == 200


def test_all_codes_of_five_bits_are_32_patterns_that_differ_in_half_of_the_units() -> None:
    words = rows(*("".join(word) for word in itertools.product("01", repeat=5)))
    assert count_distinct(words.repeat(3, 1)) == 32
    assert pattern_entropy(words.repeat(3, 1)) == pytest.approx(5 * math.log(2))
    assert on_rates(words).tolist() == [0.5] * 5
    assert mean_hamming(words) == pytest.approx(0.5 * 32 / 31)


def test_equal_items_have_one_pattern() -> None:
    bits = rows("101").repeat(7, 1)
    assert (count_distinct(bits), pattern_entropy(bits), mean_hamming(bits)) == (1, 0.0, 0.0)


def test_mean_hamming_equals_the_mean_over_all_pairs() -> None:
    bits = coins(20, 6)
    pairs = [float((a != b).double().mean()) for a, b in itertools.combinations(bits, 2)]
    assert mean_hamming(bits) == pytest.approx(sum(pairs) / len(pairs))


def test_order_of_items_and_units_and_complements_of_units_do_not_change_counts() -> None:
    bits = coins(60, 6)
    generator = torch.Generator().manual_seed(1)
    items, units = torch.randperm(60, generator=generator), torch.randperm(6, generator=generator)
    changed = bits[items][:, units] ^ rows("110100")
    assert torch.equal(pattern_counts(bits), pattern_counts(changed))
    assert mean_hamming(bits) == pytest.approx(mean_hamming(changed))


def test_more_units_never_give_fewer_patterns() -> None:
    bits = coins(100, 12)
    counts = [count_distinct(bits[:, :units]) for units in range(1, 13)]
    assert counts == sorted(counts)
    assert counts[0] == 2


@pytest.mark.parametrize("flip", [0.1, 0.4])
def test_information_of_codes_is_at_most_the_entropy_of_their_patterns(flip: float) -> None:
    codes = torch.where(coins(10, 4), 1.0, -1.0).double()
    mean = 0.0
    for word in itertools.product((1.0, -1.0), repeat=4):
        wrong = sum(bit < 0 for bit in word)
        flips = torch.tensor(word, dtype=torch.float64).expand(20, 4)
        pairs = codes.repeat(2, 1)
        exact = math.log((1 - flip) / flip) * pairs  # 2 beta: the posterior of a certain bit
        mean += flip**wrong * (1 - flip) ** (4 - wrong) * float(information(pairs, exact, flips, flip))
    bits = codes > 0
    assert 0 < mean < pattern_entropy(bits) <= math.log(count_distinct(bits)) + 1e-12


def test_mean_hamming_of_one_item_is_refused() -> None:
    with pytest.raises(ValueError, match="needs at least 2 items, got 1"):
        mean_hamming(rows("01"))


@pytest.mark.parametrize("bits", [torch.zeros(3, 2), torch.zeros(3, dtype=torch.bool)])
def test_bits_that_are_not_bool_rows_are_refused(bits: Tensor) -> None:
    with pytest.raises(ValueError, match=r"sign patterns are bool \(N, U\), got torch"):
        count_distinct(bits)


def test_mean_hamming_of_two_items_is_the_fraction_of_units_in_which_they_differ() -> None:
    assert mean_hamming(rows("0110", "0111")) == pytest.approx(0.25)
