"""Arrays of one's own, from npz and parquet files."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet

from bench_core import Split, run
from bench_core.data.checked import load_split
from bench_core.errors import DataMissingError, RequestError
from bench_core.planning.plan import make_plan
from bench_core.planning.request import Request
from bench_core.plugins import load_plugins
from bench_datasets.arrays import Arrays, ArraysConfig

RNG = np.random.RandomState(0)
FEATURES = RNG.standard_normal((12, 3))
LABELS = np.arange(12) % 3


def dataset(file: Path) -> Arrays:
    return Arrays(file.parent, ArraysConfig(path=file.name))


def saved(folder: Path, **arrays: Any) -> Arrays:
    np.savez(folder / "a.npz", **arrays)
    return dataset(folder / "a.npz")


def table(folder: Path, **columns: Any) -> Arrays:
    parquet.write_table(pyarrow.table(columns), folder / "a.parquet")
    return dataset(folder / "a.parquet")


def inputs(split: Split) -> torch.Tensor:
    assert isinstance(split.inputs, torch.Tensor)
    return split.inputs


def labels(split: Split) -> list[Any]:
    assert split.labels is not None
    return split.labels.tolist()


def test_features_are_vectors_with_the_moments_of_train(tmp_path: Path) -> None:
    made = saved(tmp_path, train=FEATURES, train_labels=LABELS, test=FEATURES[:4], test_labels=LABELS[:4])
    spec = made.spec()
    assert (spec.kind, spec.shape, dict(spec.splits), spec.num_classes) == ("vector", (3,), {"test": 4, "train": 12}, 3)
    for column in range(3):
        assert spec.mean is not None
        assert spec.std is not None
        values = [float(value) for value in FEATURES[:, column]]
        mean = sum(values) / 12
        assert spec.mean[column] == pytest.approx(mean, rel=1e-5)
        assert spec.std[column] == pytest.approx((sum((v - mean) ** 2 for v in values) / 12) ** 0.5, rel=1e-5)
    assert torch.equal(inputs(load_split(made, spec, "train")), torch.from_numpy(FEATURES).float())
    assert labels(made.load("test")) == [0, 1, 2, 0]


def test_bytes_are_images_whose_moments_are_of_values_up_to_1(tmp_path: Path) -> None:
    images = np.zeros((2, 1, 2, 2), np.uint8)
    images[1] = 255
    made = saved(tmp_path, train=images)
    spec = made.spec()
    assert (spec.kind, spec.shape, spec.mean, spec.std) == ("image", (1, 2, 2), (0.5,), (0.5,))
    assert spec.num_classes is None
    assert inputs(load_split(made, spec, "train")).dtype == torch.uint8


def test_classes_are_numbered_in_sorted_order_over_all_splits(tmp_path: Path) -> None:
    made = saved(
        tmp_path, train=FEATURES[:3], train_labels=["dog", "cat", "dog"], other=FEATURES[:1], other_labels=["ant"]
    )
    assert made.spec().num_classes == 3
    assert labels(made.load("train")) == [2, 1, 2]
    assert labels(made.load("other")) == [0]
    assert labels(saved(tmp_path, train=FEATURES[:3], train_labels=[70, 5, 70]).load("train")) == [1, 0, 1]


def test_several_labels_an_item_are_bits(tmp_path: Path) -> None:
    made = saved(tmp_path, train=FEATURES[:2], train_labels=[[1, 0], [1, 1]])
    assert made.spec().num_labels == 2
    assert labels(load_split(made, made.spec(), "train")) == [[True, False], [True, True]]


@pytest.mark.parametrize("form", ["list", "columns"])
def test_parquet_holds_the_same_as_npz(tmp_path: Path, form: str) -> None:
    columns: dict[str, Any] = {"split": ["train"] * 8 + ["test"] * 4, "label": LABELS}
    if form == "list":
        columns["feature"] = FEATURES.tolist()
    else:
        columns.update({f"f{place}": FEATURES[:, place] for place in reversed(range(3))})
    splits = {"train": FEATURES[:8], "train_labels": LABELS[:8], "test": FEATURES[8:], "test_labels": LABELS[8:]}
    assert table(tmp_path, **columns).digest() == saved(tmp_path, **splits).digest()


def test_ten_columns_of_features_are_ordered_by_number(tmp_path: Path) -> None:
    made = table(tmp_path, split=["train"], **{f"f{place}": [float(place)] for place in range(12)})
    assert inputs(made.load("train")).tolist() == [[float(place) for place in range(12)]]


def test_a_split_of_parquet_without_labels_has_none(tmp_path: Path) -> None:
    made = table(tmp_path, split=["train", "test"], label=["a", None], f0=[1.0, 2.0])
    assert made.load("test").labels is None
    assert labels(made.load("train")) == [0]


def test_the_digest_is_of_the_content_and_not_of_the_file(tmp_path: Path) -> None:
    first = saved(tmp_path, train=FEATURES, train_labels=LABELS).digest()
    np.savez_compressed(tmp_path / "b.npz", train_labels=LABELS.astype(np.int8), train=FEATURES.astype(np.float32))
    assert dataset(tmp_path / "b.npz").digest() == first
    assert saved(tmp_path, train=FEATURES, train_labels=LABELS[::-1]).digest() != first
    assert saved(tmp_path, train=FEATURES + 1, train_labels=LABELS).digest() != first


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"test": FEATURES}, "no split 'train'"),
        ({"train": FEATURES, "tests": FEATURES[:, :2]}, "but of tests"),
        ({"train": FEATURES, "train_labels": LABELS[:5]}, "12 items, but 5 labels"),
        ({"train": FEATURES, "trian_labels": LABELS}, "did you mean 'train'"),
        ({"train": np.array([[1.0, np.nan]])}, "item 0, with nan"),
        ({"train": np.array([[1e300]])}, "no finite float32"),
        ({"train": FEATURES[:, 0]}, r"features are \(N, D\)"),
        ({"train": np.zeros((2, 4, 4), np.uint8)}, r"write train\[:, None\]"),
        ({"train": np.zeros((2, 8, 8, 3), np.uint8)}, "transpose"),
        ({"train": np.zeros((2, 3, 8, 8), np.int32)}, "write uint8"),
        ({"train": np.array(["a"])}, "must be numbers"),
        ({"train": FEATURES, "train_labels": np.array([{}] * 12)}, "it cannot be read"),
        ({"train": FEATURES, "train_labels": LABELS + 0.5}, "no whole numbers"),
        ({"train": FEATURES[:2], "train_labels": [[1, 2], [0, 1]]}, "other values than 0 and 1"),
        ({"train": FEATURES[:1], "train_labels": [0], "a": FEATURES[:1], "a_labels": ["x"]}, "of another numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_what_would_be_right(
    tmp_path: Path, arrays: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataMissingError, match=words):
        saved(tmp_path, **arrays).spec()


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"f0": [1.0]}, "no column 'split'"),
        ({"split": ["train"], "x": [1.0]}, "neither a column 'feature'"),
        ({"split": ["train"] * 2, "feature": [[1.0], [1.0, 2.0]]}, "lists of one length"),
        ({"split": ["train"] * 2, "label": ["a", None], "f0": [1.0, 2.0]}, "1 of 2 items of train have no label"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path: Path, columns: dict[str, Any], words: str) -> None:
    with pytest.raises(DataMissingError, match=words):
        table(tmp_path, **columns).spec()


def test_missing_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match="set arrays"):
        dataset(tmp_path / "no.npz").spec()
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "text.parquet").write_text("no table")
    with zipfile.ZipFile(tmp_path / "cut.npz", "w") as archive:
        archive.writestr("train.npy", b"\x93NUMPY")
    for name in ("text.npz", "text.parquet", "cut.npz"):
        with pytest.raises(DataMissingError, match=name):
            dataset(tmp_path / name).spec()
    np.save(tmp_path / "one.npy", FEATURES)
    with pytest.raises(DataMissingError, match="write it with numpy"):
        dataset(tmp_path / "one.npy").spec()


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="there are: train"):
        saved(tmp_path, train=FEATURES).load("test")


def test_features_are_judged_as_they_are_and_methods_of_images_are_skipped(tmp_path: Path) -> None:
    labels = np.arange(60) % 3
    features = np.eye(3)[labels] + RNG.uniform(-0.1, 0.1, (60, 3))
    file = tmp_path / "a.npz"
    np.savez(file, train=features[:40], train_labels=labels[:40], test=features[40:], test_labels=labels[40:])
    frame = run(
        "frozen", "knn", datasets=["arrays"], encoders=["identity"], settings={"arrays.path": str(file)}, device="cpu",
        store=tmp_path / "store", progress=False,
    )  # fmt: skip
    assert frame["value"].max() == 1
    request = Request(
        datasets=["arrays"], encoders=["mlp"], methods=["simclr"], tasks=["knn"], data_root=tmp_path,
        settings={"arrays.path": str(file)},
    )  # fmt: skip
    (cell,) = make_plan(request, load_plugins()).chains[0].cells
    assert cell.skip is not None


def test_a_task_that_needs_test_is_skipped_where_there_is_none(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", train=FEATURES, train_labels=LABELS)
    request = Request(
        datasets=["arrays"], encoders=["identity"], methods=["frozen"], tasks=["knn"], data_root=tmp_path
    )  # fmt: skip
    (chain,) = make_plan(request, load_plugins()).chains
    assert "test" in str(chain.cells[0].skip)
