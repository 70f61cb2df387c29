"""Images that `datasets` reads from local files, and copies of datasets of the hub; nothing asks the network."""

import io
import socket
import sys
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import numpy as np
import numpy.typing as npt
import pyarrow
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from bench_core import ConfigError, DataMissingError, Dataset, Split, run
from bench_core.data import ImageFiles, encoded_images
from bench_core.data.checked import load_split
from bench_core.errors import RequestError
from bench_datasets.huggingface.dataset import HuggingFaceDataset, HuggingFaceDatasetConfig

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Refuse the network, and keep all caches in the test's folder."""

    def refuse(*arguments: Any, **named: Any) -> None:
        raise AssertionError("a test asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "library")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def picture(number: int) -> Pixels:
    return np.random.RandomState(number).randint(0, 256, (8, 10, 3), np.uint8)


def png(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(number)).save(file, "PNG")
    return file.getvalue()


def image_tree(folder: Path) -> Path:
    for split, numbers in (("train", range(6)), ("test", range(6, 9))):
        for number in numbers:
            place = folder / split / "ab"[number % 2] / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(png(number))
    return folder


def table(folder: Path, features: Any = None, *, column: str = "image", **columns: list[Any]) -> Path:
    """Write train and test, each with the same columns, as parquet."""
    folder.mkdir(exist_ok=True)
    count = len(next(iter(columns.values()))) if columns else 4
    known = datasets.Features({column: datasets.Image(), **(features or {})}) if features is not None else None
    for split, first in (("train", 0), ("test", 10)):
        images = [{"bytes": png(first + number), "path": None} for number in range(count)]
        made = datasets.Dataset.from_dict({column: images, **columns}, features=known)
        if known is None:
            made = made.cast_column(column, datasets.Image())
        datasets.disable_progress_bars()
        made.to_parquet(str(folder / f"{split}.parquet"))
    return folder


def dataset(place: Path, **values: Any) -> HuggingFaceDataset:
    return HuggingFaceDataset(place.parent, HuggingFaceDatasetConfig(name=str(place), **{"size": 6, **values}))


def labels(split: Split) -> Any:
    return None if split.labels is None else split.labels.tolist()


def loaded(made: Dataset, split: str = "train") -> Split:
    return load_split(made, made.spec(), split)


def pixels(split: Split) -> torch.Tensor:
    assert isinstance(split.inputs, torch.Tensor)
    return split.inputs


@pytest.mark.parametrize("grey", [False, True])
def test_images_of_a_tree_are_those_of_image_folder(tmp_path: Path, grey: bool) -> None:
    tree = image_tree(tmp_path / "tree")
    made = dataset(tree, grey=grey)
    spec = made.spec()
    assert (dict(spec.splits), spec.num_classes) == ({"train": 6, "test": 3}, 2)
    files = [f"train/a/{number}.png" for number in (0, 2, 4)] + [f"train/b/{number}.png" for number in (1, 3, 5)]
    split = loaded(made)
    assert labels(split) == [0, 0, 0, 1, 1, 1]
    expected = ImageFiles("x", tree, "train", files, 6, grey=grey).load()
    assert isinstance(expected, torch.Tensor)
    assert torch.equal(pixels(split), expected)


def test_parquet_with_named_classes(tmp_path: Path) -> None:
    place = table(tmp_path / "p", {"label": datasets.ClassLabel(names=["x", "y", "z"])}, label=[0, 1, 1, 0])
    made = dataset(place)
    assert made.spec().num_classes == 3
    assert labels(loaded(made)) == [0, 1, 1, 0]
    assert pixels(loaded(made, "test")).shape == (4, 3, 6, 6)


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        ([7, 3, 7, 9], [1, 0, 1, 2]),
        (["dog", "cat", "cat", "ant"], [2, 1, 1, 0]),
        ([True, False, True, True], [1, 0, 1, 1]),
    ],
)
def test_classes_are_numbered_in_sorted_order(tmp_path: Path, cells: list[Any], numbers: list[int]) -> None:
    made = dataset(table(tmp_path / "p", label=cells))
    assert made.spec().num_classes == len(set(cells))
    assert labels(loaded(made)) == numbers


def test_lists_are_several_labels_an_image(tmp_path: Path) -> None:
    made = dataset(table(tmp_path / "p", label=[["b"], ["a", "b"], ["c"]]))
    assert made.spec().num_labels == 3
    assert labels(loaded(made)) == [[False, True, False], [True, True, False], [False, False, True]]


def test_images_without_labels(tmp_path: Path) -> None:
    assert dataset(table(tmp_path / "p")).spec().num_classes is None
    place = table(tmp_path / "q", label=[1, 2])
    assert labels(loaded(dataset(place, label=None))) is None
    named = {"label": datasets.ClassLabel(names=["x", "y"])}
    assert labels(loaded(dataset(table(tmp_path / "r", named, label=[-1, -1])))) is None


def test_one_parquet_file_with_plain_bytes(tmp_path: Path) -> None:
    file = tmp_path / "one.parquet"
    parquet.write_table(pyarrow.table({"photo": [png(0), png(1)], "label": ["u", "v"]}), file)
    made = dataset(file, image="photo", test=None)
    assert dict(made.spec().splits) == {"train": 2}
    assert labels(loaded(made)) == [0, 1]
    with pytest.raises(RequestError, match="there are: train"):
        made.load("test")


def test_the_digest_is_of_images_and_labels_wherever_they_lie(tmp_path: Path) -> None:
    first = dataset(table(tmp_path / "p", label=[0, 1])).digest()
    other = table(tmp_path / "q", column="img", target=[0, 1])
    assert dataset(other, label="target").digest() == first
    assert dataset(table(tmp_path / "r", label=[1, 0])).digest() != first
    tree = image_tree(tmp_path / "tree")
    before = dataset(tree).digest()
    saved = tmp_path / "saved"
    datasets.load_dataset(str(tree)).save_to_disk(str(saved))
    assert dataset(saved).digest() == before
    (tree / "train" / "a" / "0.png").write_bytes(png(50))
    assert dataset(tree).digest() != before


def test_images_are_hashed_again_only_when_a_file_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = table(tmp_path / "p", label=[0, 1])
    monkeypatch.setattr(encoded_images, "is_settled", lambda stats, now: True)
    calls: list[int] = []
    hashed = encoded_images._hash

    def counted(blobs: encoded_images.Blobs) -> str:
        calls.append(len(blobs))
        return hashed(blobs)

    first = dataset(place).digest()
    monkeypatch.setattr(encoded_images, "_hash", counted)
    assert dataset(place).digest() == first
    assert not calls
    again = dataset(place)
    again.check_files()
    assert again.digest() == first
    assert calls == [2, 2]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"image": "imag"}, "no column 'imag'; did you mean 'image'"),
        ({"image": "label"}, "holds no images"),
        ({"label": "lable"}, "did you mean 'label'"),
        ({"label": "image"}, "labels are whole numbers or text"),
        ({"train": "trian"}, "did you mean 'train'"),
        ({"test": "validation"}, "or to none"),
    ],
)
def test_wrong_columns_and_splits_are_refused(tmp_path: Path, values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        dataset(table(tmp_path / "p", label=[0, 1]), **values).spec()


def test_rows_without_image_or_label_are_refused(tmp_path: Path) -> None:
    place = table(tmp_path / "p", label=["a", None])
    with pytest.raises(DataMissingError, match="1 of 2 rows of train have nothing in 'label', the first is row 1"):
        dataset(place).spec()
    file = tmp_path / "one.parquet"
    parquet.write_table(pyarrow.table({"image": [png(0), None]}), file)
    with pytest.raises(DataMissingError, match="row 1 of train has no image"):
        dataset(file, image="image", test=None).digest()
    parquet.write_table(pyarrow.table({"image": [png(0), b"no image"]}), file)
    with pytest.raises(DataMissingError, match="1 of 2 images cannot be read, the first is row 1 of train"):
        dataset(file, image="image", test=None).load("train")


def test_files_that_are_no_dataset_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no table")
    (tmp_path / "empty").mkdir()
    for name in ("text.parquet", "empty"):
        with pytest.raises(DataMissingError, match="cannot be read by `datasets`"):
            dataset(tmp_path / name).spec()
    with pytest.raises(DataMissingError, match="to a name on the hub"):
        HuggingFaceDataset(tmp_path, HuggingFaceDatasetConfig()).spec()


def test_a_dataset_of_the_hub_is_copied_once_and_read_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, asked = image_tree(tmp_path / "tree"), []
    real = datasets.load_dataset

    def of_hub(name: str, config: str | None, revision: str) -> Any:
        asked.append((name, config, revision))
        return real(str(tree))

    info = type("Info", (), {"sha": "c0ffee"})
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda self, name, revision: info)
    made = HuggingFaceDataset(tmp_path, HuggingFaceDatasetConfig(name="someone/things", size=6))
    with pytest.raises(DataMissingError, match="--download"):
        made.spec()
    with monkeypatch.context() as patch:
        patch.setattr(datasets, "load_dataset", of_hub)
        made.download()
        made.download()
    assert asked == [("someone/things", None, "c0ffee")]
    assert made.digest() == dataset(tree).digest()
    assert "c0ffee" in (tmp_path / "huggingface/someone--things/default/main/bench-source.json").read_text()


def test_a_hub_that_cannot_be_reached_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*arguments: Any, **named: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
    with pytest.raises(DataMissingError, match="no route"):
        HuggingFaceDataset(tmp_path, HuggingFaceDatasetConfig(name="someone/things")).download()


def test_without_the_library_it_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = table(tmp_path / "p")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(RequestError, match=r"pip install 'bench-core\[huggingface\]'"):
        dataset(place).spec()


def test_a_run_on_a_tree_of_images(tmp_path: Path) -> None:
    place = image_tree(tmp_path / "tree")
    settings = {"huggingface_dataset.name": str(place), "huggingface_dataset.size": 8}
    frame = run(
        "random", "knn", datasets=["huggingface_dataset"], encoders=["mlp"], settings=settings, device="cpu",
        store=tmp_path / "store", progress=False,
    )  # fmt: skip
    assert len(frame)
