"""Cells of a table as classes, multi-hot labels and factors."""

import pytest

from bench_core.data.label_cells import bits, numbered, split_cells


def test_values_are_numbered_in_sorted_order_and_empty_cells_are_unknown() -> None:
    values, numbers = numbered(["dog", "", "cat", "dog"])
    assert values == ["cat", "dog"]
    assert numbers.tolist() == [1, -1, 0, 1]


def test_numbers_are_sorted_as_numbers_unless_a_value_is_text() -> None:
    assert numbered(["10", "9", "-1.5"])[0] == ["-1.5", "9", "10"]
    assert numbered(["10", "9", "nan"])[0] == ["10", "9", "nan"]


def test_labels_of_one_cell_are_separated() -> None:
    names, labels = split_cells(["b; a", "", "a;", "c"])
    assert names == ["a", "b", "c"]
    assert labels.int().tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 1]]


def test_several_columns_hold_a_bit_each() -> None:
    assert bits([["1", "False"], ["", "TRUE"]]).int().tolist() == [[1, 0], [0, 1]]


def test_cell_that_is_no_bit_has_its_place_in_the_error() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # its arguments are compared
        bits([["1", "0"], ["1", "cat"]])
    assert caught.value.args == (1, 1)
