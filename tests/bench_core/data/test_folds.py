import pytest
import torch
from torch import Tensor

from bench_core.data import stratified_folds


def labels() -> Tensor:
    """47 items of three classes: 25, 15 and 7 of them, mixed."""
    classes = torch.tensor([0] * 25 + [1] * 15 + [2] * 7)
    return classes[torch.randperm(47, generator=torch.Generator().manual_seed(0))]


def test_folds_differ_by_one_item_at_most_in_all_and_in_each_class() -> None:
    classes = labels()
    folds = stratified_folds(classes)
    assert sorted(folds.bincount().tolist()) == [4] * 3 + [5] * 7
    for number in range(3):
        sizes = folds[classes == number].bincount(minlength=10)
        assert int(sizes.max() - sizes.min()) <= 1


def test_sizes_follow_from_the_numbers_of_items_and_folds() -> None:
    folds = stratified_folds(labels(), folds=6)
    assert folds.bincount().tolist() == [len(range(fold, 47, 6)) for fold in range(6)]


def test_folds_of_eight_items_by_hand() -> None:
    # RandomState(0) draws the order 6 2 1 7 3 0 5 4: class 0 in the order 6 2 0 4, then class 1 in the order 1 7 3 5.
    classes = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1])
    assert stratified_folds(classes, folds=2).tolist() == [0, 0, 1, 0, 1, 1, 0, 1]


def test_another_seed_deals_other_items() -> None:
    assert not torch.equal(stratified_folds(labels()), stratified_folds(labels(), seed=1))


def test_names_of_classes_do_not_matter_but_their_order() -> None:
    assert torch.equal(stratified_folds(labels() * 5 + 3), stratified_folds(labels()))


@pytest.mark.parametrize("folds", [1, 48])
def test_fewer_than_two_folds_or_more_than_items_are_refused(folds: int) -> None:
    with pytest.raises(ValueError, match=f"folds must be from 2 to 47, the number of items, got {folds}"):
        stratified_folds(labels(), folds=folds)
