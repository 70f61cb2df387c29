"""Labels of a column, as classes or as several labels for each image."""

from pathlib import Path
from typing import Any

import pytest
import torch

from bench_core.errors import ConfigError
from bench_datasets.huggingface.labels import number_labels

PLACE = Path("somewhere")


def test_classes_are_numbered_over_all_splits() -> None:
    classes, labels = number_labels(PLACE, "label", {"train": ["b", "c"], "test": ["a"], "more": [None]}, None)
    assert classes == ["a", "b", "c"]
    assert [None if part is None else part.tolist() for part in labels.values()] == [[1, 2], [0], None]


def test_declared_classes_are_their_own_numbers() -> None:
    classes, labels = number_labels(PLACE, "label", {"train": [4, 2], "test": [-1, -1]}, 5)
    assert (len(classes), labels["test"]) == (5, None)
    assert torch.equal(torch.as_tensor(labels["train"]), torch.tensor([4, 2]))


@pytest.mark.parametrize(
    ("cells", "declared", "words"),
    [
        ([0.5, 1.0], None, r"holds 0\.5, but labels are whole numbers or text"),
        (["a", 1], None, "holds 'text and numbers'"),
        ([0, 3], 3, "holds 3, but labels are numbers of 3 classes"),
        ([{"x": 1}], None, "whole numbers or text"),
    ],
)
def test_other_values_are_refused(cells: list[Any], declared: int | None, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        number_labels(PLACE, "label", {"train": cells}, declared)
