import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench_core import DataMissingError, Dataset
from bench_core.data import FactorDraws, draw_combinations
from bench_datasets import factor_files
from bench_datasets.factor_files import DSPRITES, SHAPES3D, DSprites, Shapes3D, bench_datasets

COUNT, CONFIG = 50, FactorDraws(train_size=30, test_size=12)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factor_files, "_BLOCK", 7)


def random_images(rng: Any, channels: tuple[int, ...]) -> Any:
    return rng.randint(0, 2, (COUNT, 64, 64, *channels)).astype(np.uint8)


@pytest.fixture
def dsprites(tmp_path: Path, small_blocks: None) -> tuple[Path, Any, Any]:
    rng = np.random.RandomState(0)
    images = random_images(rng, ())
    classes = np.stack([np.zeros(COUNT, int), *(rng.randint(0, n, COUNT) for n in (3, 6, 40, 32, 32))], 1)
    (tmp_path / "dsprites").mkdir()
    metadata = np.array({"what": "a pickle that nobody opens"}, dtype=object)
    np.savez_compressed(tmp_path / "dsprites" / DSPRITES, imgs=images, latents_classes=classes, metadata=metadata)
    return tmp_path, images, classes


@pytest.mark.parametrize("name", ["train", "test"])
def test_dsprites_reads_its_draw_without_the_constant_colour(dsprites: tuple[Path, Any, Any], name: str) -> None:
    root, images, classes = dsprites
    split, chosen = DSprites(root, CONFIG).load(name), draw_combinations(CONFIG, name, COUNT)
    assert isinstance(split.inputs, torch.Tensor)
    assert np.array_equal(split.inputs.numpy(), images[chosen][:, None] * 255)
    assert split.factors is not None
    assert np.array_equal(split.factors.numpy(), classes[chosen, 1:])
    assert split.labels is not None
    assert np.array_equal(split.labels.numpy(), classes[chosen, 1])


def test_dsprites_of_another_shape_are_refused(tmp_path: Path) -> None:
    (tmp_path / "dsprites").mkdir()
    file = tmp_path / "dsprites" / DSPRITES
    np.savez(file, imgs=np.zeros((50, 32, 32), np.uint8), latents_classes=np.zeros((50, 6), int))
    with pytest.raises(DataMissingError, match=r"its images are uint8 \(\d+, 32, 32\), expected uint8 \(\d+, 64, 64\)"):
        DSprites(tmp_path, CONFIG).load("train")


@pytest.mark.parametrize("images", [np.zeros((50, 64, 64)), np.asfortranarray(np.zeros((50, 64, 64), np.uint8))])
def test_dsprites_of_another_type_or_order_are_refused(images: Any, tmp_path: Path) -> None:
    (tmp_path / "dsprites").mkdir()
    np.savez(tmp_path / "dsprites" / DSPRITES, imgs=images, latents_classes=np.zeros((50, 6), int))
    with pytest.raises(DataMissingError, match=r"its images are .* expected uint8 \(50, 64, 64\)"):
        DSprites(tmp_path, CONFIG).load("train")


def test_dsprites_of_other_factors_are_refused(tmp_path: Path) -> None:
    (tmp_path / "dsprites").mkdir()
    images = np.zeros((50, 64, 64), np.uint8)
    np.savez(tmp_path / "dsprites" / DSPRITES, imgs=images, latents_classes=np.zeros((50, 5), int))
    with pytest.raises(DataMissingError, match=r"its factors are \(4,\), expected \(5,\)"):
        DSprites(tmp_path, CONFIG).load("train")


def test_the_digest_is_of_the_file(dsprites: tuple[Path, Any, Any]) -> None:
    root, *_ = dsprites
    data = (root / "dsprites" / DSPRITES).read_bytes()
    assert DSprites(root, CONFIG).digest() == f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_shapes3d_reads_its_draw_and_ranks_its_factors(tmp_path: Path, small_blocks: None) -> None:
    h5py = pytest.importorskip("h5py")
    rng = np.random.RandomState(1)
    images, classes = (
        random_images(rng, (3,)),
        np.stack([rng.permutation(COUNT) % n for n in (10, 10, 10, 8, 4, 15)], 1),
    )
    (tmp_path / "3dshapes").mkdir()
    with h5py.File(tmp_path / "3dshapes" / SHAPES3D, "w") as file:
        file["images"], file["labels"] = images, classes * 0.1 - 0.3
    split, chosen = Shapes3D(tmp_path, CONFIG).load("test"), draw_combinations(CONFIG, "test", COUNT)
    assert isinstance(split.inputs, torch.Tensor)
    assert np.array_equal(split.inputs.numpy(), images[chosen].transpose(0, 3, 1, 2))
    assert split.factors is not None
    assert np.array_equal(split.factors.numpy(), classes[chosen])
    assert split.labels is not None
    assert np.array_equal(split.labels.numpy(), classes[chosen, 4])


def test_without_h5py_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "3dshapes").mkdir()
    (tmp_path / "3dshapes" / SHAPES3D).write_bytes(b"something")
    with pytest.raises(DataMissingError, match=r"pip install 'bench-core\[shapes3d\]'"):
        Shapes3D(tmp_path, CONFIG).load("train")


@pytest.mark.parametrize(("cls", "file"), [(DSprites, DSPRITES), (Shapes3D, SHAPES3D)])
def test_the_message_for_a_missing_file_has_its_source(tmp_path: Path, cls: Any, file: str) -> None:
    dataset: Dataset = cls(tmp_path, CONFIG)
    for ask in (dataset.digest, lambda: dataset.load("train")):
        with pytest.raises(DataMissingError, match=rf"{file}: does not exist; the file is at https://.* put the data"):
            ask()


def test_the_specs_are_those_of_the_published_data(tmp_path: Path) -> None:
    dsprites, shapes = DSprites(tmp_path, FactorDraws()).spec(), Shapes3D(tmp_path, FactorDraws()).spec()
    assert dsprites.factors is not None
    assert shapes.factors is not None
    assert np.prod(list(dsprites.factors.values())) == 737_280
    assert np.prod(list(shapes.factors.values())) == 480_000
    assert dsprites.splits == shapes.splits == {"train": 10_000, "test": 5_000}
    assert (dsprites.shape, shapes.shape) == ((1, 64, 64), (3, 64, 64))
    assert (dsprites.num_classes, shapes.num_classes) == (3, 4)


def test_they_are_registered() -> None:
    assert bench_datasets() == {"dsprites": DSprites, "shapes3d": Shapes3D}
