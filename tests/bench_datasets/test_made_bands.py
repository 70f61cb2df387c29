import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench_core.errors import RequestError
from bench_datasets import made_bands
from bench_datasets.made_bands import BANDS, LAND, MadeBands, MadeBandsConfig, bench_datasets, draw_land

LAKE, MARSH, FOREST, ORCHARD, MEADOW, CROPS, SOIL, TOWN = range(8)


def bands(**config: Any) -> MadeBands:
    return MadeBands(Path("nowhere"), MadeBandsConfig(**config))


def images_of(data: MadeBands, split: str = "train") -> torch.Tensor:
    inputs = data.load(split).inputs
    assert isinstance(inputs, torch.Tensor)
    return inputs


@pytest.mark.parametrize(
    ("size", "most", "expected"),
    [
        (16, 3, "3d64ab09c76c95e4ef3932ebe26c90e47adf641e5a2ab7d250ae68a9e71c39d8"),
        (16, 1, "c85be46599168e37b8f7671922981946da26b14b3a02fd4e4332ed089270d899"),
        (32, 3, "d2fbc599d9b96ebf99cf48dd87408a988f760a85fda14e239dd4a501e0c69d01"),
    ],
)
def test_the_images_have_the_known_digest(size: int, most: int, expected: str) -> None:
    images, labels = draw_land(np.random.RandomState([0, 7]), 50, size, most)
    digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    assert digest == expected, "images changed; if that is intended, raise VERSION and replace this digest"


def test_a_value_is_the_spectrum_in_this_light_with_haze_and_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every draw replaced by its lowest value: one field of a lake, light 88/128 * 112/128, no haze, noise -6."""
    monkeypatch.setattr(made_bands, "_draw", lambda rng, low, high, *shape: np.full(shape, low, np.int64))
    images, labels = draw_land(np.random.RandomState(0), 1, 8, 3)
    lake = [34, 32, 28, 22, 20, 20, 20, 18, 16, 12, 8, 6]
    expected = [max(0, v * 16 * 88 * 112 // (16 * 128 * 128) - 6) for v in lake]
    assert images[0, :, 3, 5].tolist() == expected
    assert labels[0].tolist() == [True] + [False] * 7


def test_kinds_of_land_of_one_spectrum_differ_in_texture_only() -> None:
    data = bands(labels="one", train_size=2000)
    split = data.load("train")
    images, labels = images_of(data).double(), split.labels
    assert labels is not None
    for smooth, patterned in ((LAKE, MARSH), (MEADOW, CROPS), (SOIL, TOWN)):
        means = [images[labels == kind].mean((0, 2, 3)) for kind in (smooth, patterned)]
        assert (means[0] - means[1]).abs().max() < 0.05 * means[0].max()
        spread = [images[labels == kind].mean(1).std((1, 2)).mean() for kind in (smooth, patterned)]
        assert spread[1] > 1.5 * spread[0]
    vegetation = images[labels == MEADOW].mean((0, 2, 3))
    assert vegetation[7] > 2 * vegetation[3]  # near infrared beside red


def test_splits_have_the_shapes_of_the_spec_and_other_images() -> None:
    for labels, shape in (("many", (130, 8)), ("one", (130,))):
        data = bands(train_size=130, test_size=130, size=8, labels=labels)
        spec, train, test = data.spec(), data.load("train"), data.load("test")
        assert (spec.shape, spec.kind, spec.views) == ((BANDS, 8, 8), "image", "bands")
        assert (spec.num_labels, spec.num_classes) == ((8, None) if labels == "many" else (None, 8))
        for split in (train, test):
            assert split.labels is not None
            assert tuple(split.labels.shape) == shape
            assert split.inputs.shape == (130, BANDS, 8, 8)  # type: ignore[union-attr]  # in memory
        assert not torch.equal(images_of(data), images_of(data, "test"))


def test_each_image_has_one_to_three_labels_and_every_kind_of_land_is_as_frequent() -> None:
    labels = bands(train_size=3000).load("train").labels
    assert labels is not None
    assert labels.dtype == torch.bool
    assert set(labels.sum(1).tolist()) == {1, 2, 3}
    share = labels.float().mean(0)
    assert float(share.max() - share.min()) < 0.06
    assert len(LAND) == len(share)


def test_a_smaller_split_is_the_beginning_of_a_larger_one() -> None:
    small, large = bands(train_size=30), bands(train_size=250)
    assert torch.equal(images_of(small), images_of(large)[:30])


def test_mean_and_std_are_those_of_the_training_images() -> None:
    data = bands()
    pixels = images_of(data).double().transpose(0, 1).flatten(1) / 255
    assert data.spec().mean == pytest.approx(pixels.mean(1).tolist(), abs=5e-4)
    assert data.spec().std == pytest.approx(pixels.std(1).tolist(), abs=5e-4)


def test_the_digest_depends_on_the_images_and_not_on_their_number() -> None:
    digest = bands().digest()
    assert bands(train_size=10).digest() == digest
    assert bands(size=32).digest() != digest
    assert bands(labels="one").digest() != digest


def test_parameters_out_of_range_and_unknown_splits_are_refused() -> None:
    with pytest.raises(ValueError, match=r"size must be in \[8, 64\], got 7"):
        MadeBandsConfig(size=7)
    with pytest.raises(RequestError, match="no split named 'query'; there are: train, test"):
        bands().load("query")


def test_it_is_registered() -> None:
    assert bench_datasets() == {"made_bands": MadeBands}
