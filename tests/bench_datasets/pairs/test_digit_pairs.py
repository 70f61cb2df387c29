from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.datasets import load_digits
from torch import Tensor

from bench_core import ConfigError
from bench_core.data import Pair
from bench_datasets.pairs.digit_pairs import DigitPairs, DigitPairsConfig, edges, noisy


def load(split: str, **config: Any) -> tuple[Pair, Tensor]:
    loaded = DigitPairs(Path("nowhere"), DigitPairsConfig(**config)).load(split)
    assert isinstance(loaded.inputs, Pair)
    assert loaded.labels is not None
    return loaded.inputs, loaded.labels


def test_first_images_are_the_1797_digits_once_each_with_their_labels() -> None:
    parts = [load("train"), load("test")]
    both = [pair for pairs, labels in parts for pair in zip(pairs.first.numpy(), labels.tolist(), strict=True)]
    ours = Counter((bytes(image), label) for image, label in both)
    bunch = load_digits()
    images = np.rint(bunch.data * 15.9375).astype(np.uint8)
    assert ours == Counter((bytes(x), int(y)) for x, y in zip(images, bunch.target, strict=True))
    assert [len(labels) for _, labels in parts] == [1257, 540]


def test_the_test_split_has_54_of_each_class() -> None:
    assert load("test")[1].bincount().tolist() == [54] * 10


def test_noise_stays_with_its_image_in_smaller_splits_and_has_the_deviation() -> None:
    whole, _ = load("train")
    part, _ = load("train", train_size=50)
    known = {bytes(x): bytes(y) for x, y in zip(whole.first.numpy(), whole.second.numpy(), strict=True)}
    assert [known[bytes(x)] for x in part.first.numpy()] == [bytes(y) for y in part.second.numpy()]
    grey = np.full((200, 1, 8, 8), 128, np.uint8)
    assert noisy(grey, 0.1).std() == pytest.approx(25.5, rel=0.03)
    assert np.array_equal(noisy(grey, 0.0), grey)


def test_edges_are_a_quarter_of_sobels_gradient() -> None:
    images = load("test", second="edges")[0]
    for image, edge in zip(images.first[:5, 0].numpy(), images.second[:5, 0].numpy(), strict=True):
        gradient = [ndimage.sobel(image.astype(float), axis=axis, mode="constant") for axis in (0, 1)]
        assert np.array_equal(edge, np.rint(np.minimum(np.hypot(*gradient) / 4, 255)))


def test_an_image_of_one_grey_level_has_edges_at_its_border_only() -> None:
    edge = edges(np.full((1, 1, 8, 8), 100, np.uint8))[0, 0]
    assert (edge[1:-1, 1:-1] == 0).all()
    assert edge[3, 0] == 100  # 4 * 100 / 4
    assert edge[0, 0] == round(100 * 3 * 2**0.5 / 4)


@pytest.mark.parametrize(
    "config", [{}, {"train_size": 100, "test_size": 50}, {"num_queries": 100}, {"left_out": (3, 7)}]
)
def test_splits_have_the_sizes_of_the_spec(config: dict[str, Any]) -> None:
    spec = DigitPairs(Path("nowhere"), DigitPairsConfig(**config)).spec()
    assert {name: len(load(name, **config)[0]) for name in spec.splits} == spec.splits
    assert (spec.kind, spec.shape, spec.num_classes) == ("pairs", (), 10)
    assert spec.modalities is not None
    assert [(name, part.shape) for name, part in spec.modalities.items()] == [
        ("digit", (1, 8, 8)),
        ("noisy", (1, 8, 8)),
    ]


def test_classes_that_are_left_out_are_in_test_only() -> None:
    assert set(load("train", left_out=(3, 7))[1].tolist()) == set(range(10)) - {3, 7}
    assert set(load("test", left_out=(3, 7))[1].tolist()) == set(range(10))


def test_all_classes_cannot_be_left_out() -> None:
    with pytest.raises(ConfigError, match="left_out names all 10 classes"):
        DigitPairs(Path("nowhere"), DigitPairsConfig(left_out=tuple(range(10)))).spec()


def test_classes_are_not_left_out_of_a_pool_with_test() -> None:
    with pytest.raises(ValueError, match="num_queries draws train from a pool with test"):
        DigitPairsConfig(left_out=(1,), num_queries=10)


def test_the_digest_depends_on_the_second_images() -> None:
    digests = {
        DigitPairs(Path("nowhere"), DigitPairsConfig(**config)).digest()
        for config in ({}, {"train_size": 5}, {"noise": 0.1}, {"second": "edges"})
    }
    assert len(digests) == 3


def test_changing_a_loaded_split_does_not_change_the_next_one() -> None:
    first, _ = load("train")
    kept = first.first.clone()
    first.first.zero_()
    assert torch.equal(load("train")[0].first, kept)
