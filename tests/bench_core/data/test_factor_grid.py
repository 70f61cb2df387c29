"""Draws of combinations of known factors."""

import itertools
from typing import Any

import numpy as np
import pytest

from bench_core.data import FactorDraws, draw_combinations, factor_values
from bench_core.errors import ConfigError, RequestError


def test_train_and_test_share_no_combination() -> None:
    config = FactorDraws(train_size=60, test_size=40)
    train, test = draw_combinations(config, "train", 100), draw_combinations(config, "test", 100)
    assert sorted([*train, *test]) == list(range(100))
    assert list(train) == sorted(train)


def test_smaller_split_is_part_of_a_larger_one() -> None:
    small, large = FactorDraws(train_size=50, test_size=30), FactorDraws(train_size=200, test_size=60)
    for split in ("train", "test"):
        assert set(draw_combinations(small, split, 1000)) < set(draw_combinations(large, split, 1000))


def test_test_split_does_not_depend_on_train_size() -> None:
    few, many = FactorDraws(train_size=9, test_size=30), FactorDraws(train_size=50, test_size=30)
    assert np.array_equal(draw_combinations(few, "test", 1000), draw_combinations(many, "test", 1000))


def test_draws_never_change() -> None:
    config = FactorDraws(train_size=5, test_size=3)
    train = [125674, 224410, 227828, 436028, 625170]
    assert draw_combinations(config, "train", 737_280).tolist() == train
    assert draw_combinations(config, "test", 737_280).tolist() == [117952, 305711, 435829]


def test_the_last_factor_varies_fastest() -> None:
    values = factor_values(np.arange(24), (2, 3, 4))
    assert values.tolist() == [list(v) for v in itertools.product(range(2), range(3), range(4))]


def test_a_number_that_is_no_combination_has_no_factor_values() -> None:
    assert factor_values(np.array([23]), (2, 3, 4)).tolist() == [[1, 2, 3]]
    with pytest.raises(ValueError, match="24 is out of bounds"):
        factor_values(np.array([24]), (2, 3, 4))


def test_more_combinations_than_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"must be at most 100, the number of combinations, got 60 \+ 41"):
        draw_combinations(FactorDraws(train_size=60, test_size=41), "train", 100)


def test_unknown_split_is_refused() -> None:
    with pytest.raises(RequestError, match="no split named 'query'; there are: train, test"):
        draw_combinations(FactorDraws(train_size=60, test_size=40), "query", 100)


@pytest.mark.parametrize("changes", [{"train_size": 0}, {"test_size": 0}])
def test_empty_splits_are_refused(changes: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(changes))} must be >= 1, got 0"):
        FactorDraws(**changes)
