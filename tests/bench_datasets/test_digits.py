from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from bench_core.data import Subsets
from bench_datasets.digits import Digits, bench_datasets


def load(split: str, **config: int) -> tuple[Tensor, Tensor]:
    loaded = Digits(Path("nowhere"), Subsets(**config)).load(split)
    assert isinstance(loaded.inputs, Tensor)
    assert loaded.labels is not None
    return loaded.inputs, loaded.labels


def test_the_split_is_1257_and_540_of_1797() -> None:
    (train, _), (test, _) = load("train"), load("test")
    assert train.shape == (1257, 1, 8, 8)
    assert test.shape == (540, 1, 8, 8)
    ours = Counter(bytes(x) for x in torch.cat([train, test]).numpy())
    theirs = Counter(bytes(x) for x in np.rint(load_digits().data * 15.9375).astype(np.uint8))
    assert ours == theirs  # nothing is lost, nothing is on both sides


def test_grey_levels_0_to_16_become_0_to_255() -> None:
    train, _ = load("train")
    assert train.dtype == torch.uint8
    expected = {round(level * 255 / 16) for level in range(17)}
    assert set(train.flatten().tolist()) == expected


def test_images_keep_their_labels() -> None:
    bunch = load_digits()
    known = {bytes(x): int(y) for x, y in zip(bunch.data.astype("uint8"), bunch.target, strict=True)}
    for split in ("train", "test"):
        inputs, labels = load(split)
        levels = (inputs.flatten(1).float() * 16 / 255).round().byte().numpy()
        assert [known[bytes(x)] for x in levels] == labels.tolist()
        assert labels.dtype == torch.int64


def test_each_class_is_divided_in_the_same_proportion() -> None:
    (_, train), (_, test) = load("train"), load("test")
    share = test.bincount() / (train.bincount() + test.bincount())
    assert bool((share - 540 / 1797).abs().max() < 1 / 174)  # within one image


def test_the_test_split_has_the_known_labels_and_sum_of_pixels() -> None:
    _, labels = load("test")
    assert labels[:12].tolist() == [1, 2, 4, 5, 6, 9, 4, 7, 8, 9, 2, 7]
    assert load("test")[0].sum().item() == 2_684_539


def test_mean_and_std_are_those_of_the_training_images() -> None:
    spec = Digits(Path("nowhere"), Subsets()).spec()
    pixels = load("train")[0].double() / 255
    assert spec.mean == pytest.approx((pixels.mean().item(),), abs=5e-5)
    assert spec.std == pytest.approx((pixels.std().item(),), abs=5e-5)


def test_splits_have_the_shapes_of_the_spec() -> None:
    for config in ({}, {"train_size": 100, "test_size": 50}, {"num_queries": 100, "train_size": 200}):
        spec = Digits(Path("nowhere"), Subsets(**config)).spec()
        assert {name: len(load(name, **config)[0]) for name in spec.splits} == spec.splits
    assert spec.shape == (1, 8, 8)
    assert spec.num_classes == 10
    assert spec.views == "glyph"


def test_the_digest_does_not_depend_on_the_config() -> None:
    digest = Digits(Path("nowhere"), Subsets()).digest()
    assert digest == "sha256:4c4d0f5ff7eea6038694bfdf947b56ed67003e4ef30e59e020396a174aeb2420"
    assert Digits(Path("elsewhere"), Subsets(train_size=10)).digest() == digest


def test_changing_a_loaded_split_does_not_change_the_next_one() -> None:
    first, _ = load("train")
    kept = first.clone()
    first.zero_()
    assert torch.equal(load("train")[0], kept)


def test_it_is_registered() -> None:
    assert bench_datasets() == {"digits": Digits}
