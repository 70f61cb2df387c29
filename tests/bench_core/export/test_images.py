"""`embed`: files become features in the order of their names, decoded as image_folder decodes them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from bench_core.data.image_pixels import decode_square
from bench_core.errors import DataMissingError, RequestError
from bench_core.export.images import check_ending, embed_images, find_images, names_file, write_features
from bench_core.export.load import Trained, load_trained
from bench_core.plugins import Registry
from bench_core.store import Store
from bench_core.store.chain_names import find_chain


@pytest.fixture
def trained(trained_store: Path, registry: Registry) -> Trained:
    return load_trained(find_chain(Store(trained_store), "nac/seed-0"), registry)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "images" / "sub").mkdir(parents=True)
    for name, shape in (("b.png", (20, 30, 3)), ("a.jpg", (9, 9)), ("sub/c.png", (8, 12, 4))):
        Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(tmp_path / "images" / name)
    (tmp_path / "images" / "notes.txt").write_text("no image")
    (tmp_path / "images" / ".hidden.png").write_bytes(b"")
    return tmp_path / "images"


def test_features_are_those_of_the_decoded_images_one_by_one(trained: Trained, folder: Path) -> None:
    files = find_images([folder])
    assert [file.relative_to(folder).as_posix() for file in files] == ["a.jpg", "b.png", "sub/c.png"]
    features = embed_images(trained, files)
    for file, row in zip(files, features, strict=True):
        pixels = torch.from_numpy(decode_square(str(file), 8, True, 16).copy()).float() / 255
        torch.testing.assert_close(torch.from_numpy(row), trained.encoder(pixels[None])[0])


def test_npy_and_parquet_hold_names_and_features(tmp_path: Path) -> None:
    features, names = np.arange(6, dtype=np.float32).reshape(2, 3), ["b.png", "a.png"]
    assert write_features(tmp_path / "f.npy", names, features) == names_file(tmp_path / "f.npy")
    assert np.array_equal(np.load(tmp_path / "f.npy"), features)
    assert (tmp_path / "f.txt").read_text().splitlines() == names
    pytest.importorskip("pyarrow")
    assert write_features(tmp_path / "f.parquet", names, features) is None
    table = pd.read_parquet(tmp_path / "f.parquet")
    assert list(table["file"]) == names
    assert np.array_equal(np.stack(table["feature"].tolist()), features)


def test_what_cannot_be_embedded_is_refused(trained: Trained, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="there is no file or folder"):
        find_images([tmp_path / "none.png"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="holds no images"):
        find_images([tmp_path / "empty"])
    with pytest.raises(RequestError, match=r"must end in \.parquet or \.npy"):
        check_ending(Path("features.csv"))
    (folder / "torn.png").write_bytes(b"torn")
    with pytest.raises(DataMissingError, match=r"torn\.png"):
        embed_images(trained, find_images([folder]))
