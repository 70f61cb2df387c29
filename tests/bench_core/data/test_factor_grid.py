import itertools
from typing import Any

import numpy as np
import pytest

from bench_core.data import drawn, values_of
from bench_core.data.factor_grid import FactorDraws
from bench_core.errors import ConfigError, RequestError


def test_train_and_test_share_no_combination() -> None:
    config = FactorDraws(train_size=60, test_size=40)
    train, test = drawn(config, "train", 100), drawn(config, "test", 100)
    assert sorted([*train, *test]) == list(range(100))
    assert list(train) == sorted(train)


def test_a_smaller_draw_lies_within_a_larger_one_and_the_test_split_stays() -> None:
    small, large = FactorDraws(train_size=50, test_size=30), FactorDraws(train_size=200, test_size=60)
    assert set(drawn(small, "train", 1000)) < set(drawn(large, "train", 1000))
    assert set(drawn(small, "test", 1000)) < set(drawn(large, "test", 1000))
    assert np.array_equal(drawn(FactorDraws(train_size=9, test_size=30), "test", 1000), drawn(small, "test", 1000))


def test_a_draw_is_what_it_has_always_been() -> None:
    assert drawn(FactorDraws(train_size=5, test_size=3), "train", 737_280).tolist() == [
        125674,
        224410,
        227828,
        436028,
        625170,
    ]
    assert drawn(FactorDraws(train_size=5, test_size=3), "test", 737_280).tolist() == [117952, 305711, 435829]


def test_the_last_factor_varies_fastest() -> None:
    values = values_of(np.arange(24), (2, 3, 4))
    assert values.tolist() == [list(v) for v in itertools.product(range(2), range(3), range(4))]


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigError, match="ask for 60 and 41 combinations, there are 100"):
        drawn(FactorDraws(train_size=60, test_size=41), "train", 100)
    with pytest.raises(RequestError, match="no split named 'query'; there are: train, test"):
        drawn(FactorDraws(train_size=60, test_size=40), "query", 100)


@pytest.mark.parametrize("changes", [{"train_size": 0}, {"test_size": 0}])
def test_empty_splits_are_refused(changes: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(changes))} must be >= 1, got 0"):
        FactorDraws(**changes)
