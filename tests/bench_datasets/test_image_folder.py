import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import Tensor

from bench_core.cli.group import main
from bench_core.config import build, plain
from bench_core.data import image_cache, image_files
from bench_core.errors import ConfigError, DataMissingError
from bench_datasets.image_folder import ImageFolderConfig, ImageFolderDataset, bench_datasets


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Folder of images of one grey level each: cats are dark, dogs are light."""
    for split, count in (("train", 4), ("test", 2)):
        for label, name in enumerate(("cat", "dog")):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for k in range(count):
                Image.new("RGB", (10, 6), (100 * label + k,) * 3).save(folder / f"{k}.png")
    return tmp_path


def dataset(root: Path, **config: Any) -> ImageFolderDataset:
    return ImageFolderDataset(root, ImageFolderConfig(**{"path": "pets", "size": 4, **config}))


def shades(data: ImageFolderDataset, split: str) -> list[int]:
    inputs = data.load(split).inputs
    assert isinstance(inputs, Tensor)
    return [int(v) for v in inputs[:, 0, 0, 0].tolist()]


def test_images_of_a_folder_become_a_dataset(root: Path) -> None:
    data = dataset(root)
    spec, train = data.spec(), data.load("train")
    assert spec.shape == (3, 4, 4)
    assert spec.splits == {"train": 8, "test": 4}
    assert spec.num_classes == 2
    assert spec.views == "natural"
    assert shades(data, "train") == [0, 1, 2, 3, 100, 101, 102, 103]
    assert train.labels is not None
    assert train.labels.tolist() == [0] * 4 + [1] * 4


def test_the_spec_opens_no_image(root: Path) -> None:
    (root / "pets" / "train" / "cat" / "0.png").write_bytes(b"not an image")
    assert dataset(root).spec().splits["train"] == 8


def test_grey_is_one_channel_without_the_colours_of_imagenet(root: Path) -> None:
    data = dataset(root, grey=True, views="glyph")
    assert data.spec().shape == (1, 4, 4)
    assert data.spec().mean is None
    assert data.spec().views == "glyph"
    assert data.load("test").inputs.shape == (4, 1, 4, 4)  # type: ignore[union-attr]  # in memory


def test_depth_is_auto_or_from_8_to_16() -> None:
    assert [ImageFolderConfig(depth=depth).depth for depth in (8, 16, "auto")] == [8, 16, "auto"]
    for depth in (7, 17, 0, "12", "Auto", None):
        with pytest.raises(ValueError, match="depth must be 'auto' or a whole number from 8 to 16, got"):
            ImageFolderConfig(depth=depth)  # type: ignore[arg-type]  # what must be refused


@pytest.mark.parametrize("depth", [12.0, True, "12", 17])
def test_depth_of_another_type_is_refused_in_a_request(depth: object) -> None:
    with pytest.raises(ConfigError, match="depth must be "):
        build(ImageFolderConfig, {"depth": depth}, "image_folder")


def test_depth_is_in_the_key_unless_it_is_auto() -> None:
    assert "depth" not in plain(ImageFolderConfig())
    assert plain(build(ImageFolderConfig, {"depth": 12}, "image_folder"))["depth"] == 12


def test_depth_is_that_of_the_whole_train_folder_whatever_the_subset_and_the_split(root: Path) -> None:
    values = {"train/cat": (4, 1000), "train/dog": (8, 12), "test/cat": (4000, 16), "test/dog": (20, 24)}
    shutil.rmtree(root / "pets")
    for place, each in values.items():
        (root / "pets" / place).mkdir(parents=True)
        for value in each:
            pixels = np.full((4, 4), value, np.uint16)
            Image.fromarray(pixels).save(root / "pets" / place / f"{value:04}.png")
    expected = {"train": [1, 250, 2, 3], "test": [4, 255, 5, 6]}  # 10 bits hold 1000; brighter is white
    for split, shade in expected.items():
        assert sorted(shades(dataset(root), split)) == sorted(shade)
    assert set(shades(dataset(root, train_size=2), "train")) <= set(expected["train"])
    pool = dataset(root, num_queries=4, train_size=2)
    assert sorted(shades(pool, "query") + shades(pool, "database")) == sorted(expected["train"] + expected["test"])
    assert sorted(shades(dataset(root, depth=12), "test")) == [1, 1, 1, 250]


def test_float_values_keep_what_16_bits_tell_apart(root: Path) -> None:
    for k, value in enumerate((1000, 1001, 1002, 1023)):
        Image.fromarray(np.full((4, 4), value, np.uint16)).save(root / "pets" / "train" / "cat" / f"{k}.png")
    inputs = dataset(root, values="float").load("train").inputs
    assert isinstance(inputs, Tensor)
    assert inputs.dtype == torch.float32
    cats = inputs[:4, :, 0, 0]
    assert torch.allclose(cats, torch.tensor([1000, 1001, 1002, 1023])[:, None].expand(-1, 3) / 1023)  # 10 bits
    assert torch.allclose(inputs[4:, 0, 0, 0], torch.tensor([100, 101, 102, 103]) / 255)  # files of 8 bits
    assert shades(dataset(root), "train")[:4] == [250, 250, 250, 255]


def test_values_are_in_the_key_unless_they_are_bytes() -> None:
    assert "values" not in plain(ImageFolderConfig())
    assert plain(ImageFolderConfig(values="float"))["values"] == "float"


def test_orientation_and_transparency_are_those_that_people_see(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    half = Image.new("RGB", (4, 4), (0, 0, 0))
    half.paste((200, 200, 200), (0, 0, 4, 2))
    half.save(root / "pets" / "test" / "cat" / "0.png", exif=exif)
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(root / "pets" / "test" / "cat" / "1.png")
    inputs = dataset(root).load("test").inputs
    assert isinstance(inputs, Tensor)
    assert inputs[0, 0, :, 0].tolist() == [0, 0, 200, 200]
    assert inputs[1].min() == 255


def test_check_files_reads_the_images_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "ALWAYS_READ_BYTES", -1)
    monkeypatch.setattr(image_cache, "SETTLED_NS", -(10**12))
    monkeypatch.setattr(image_cache, "stamp", lambda stat: "the same")
    digest = dataset(root).digest()
    Image.new("RGB", (10, 6), (77,) * 3).save(root / "pets" / "train" / "cat" / "0.png")
    assert dataset(root).digest() == digest
    data = dataset(root)
    data.check_files()
    assert data.digest() != digest
    assert dataset(root).digest() == data.digest()


def test_subsets_are_balanced(root: Path) -> None:
    data = dataset(root, train_size=4, test_size=2)
    assert data.spec().splits == {"train": 4, "test": 2}
    for split, each in (("train", 2), ("test", 1)):
        labels = data.load(split).labels
        assert labels is not None
        assert labels.bincount().tolist() == [each, each]


def test_queries_are_drawn_from_both_folders(root: Path) -> None:
    data = dataset(root, num_queries=4, train_size=4)
    assert data.spec().splits == {"train": 4, "query": 4, "database": 8}
    pool = sorted(shades(data, "query") + shades(data, "database"))
    assert pool == sorted(shades(dataset(root), "train") + shades(dataset(root), "test"))
    assert set(shades(data, "train")) <= set(shades(data, "database"))


def test_a_folder_may_have_any_path(root: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "elsewhere", path=str(root / "pets"))
    assert torch.equal(data.load("train").inputs, dataset(root).load("train").inputs)  # type: ignore[arg-type]  # in memory
    assert data.digest() == dataset(root, size=8).digest()


def test_the_message_for_a_missing_folder_has_its_path(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match=r"image_folder: .*image_folder/train: has no images"):
        ImageFolderDataset(tmp_path, ImageFolderConfig()).spec()


def test_size_must_be_positive() -> None:
    with pytest.raises(ValueError, match="size must be >= 1, got 0"):
        ImageFolderConfig(size=0)
    with pytest.raises(ValueError, match="train_size must be >= 1"):
        ImageFolderConfig(train_size=0)


def test_it_is_registered() -> None:
    assert bench_datasets() == {"image_folder": ImageFolderDataset}


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Folder of 40 images without classes and splits."""
    folder = tmp_path / "flat"
    folder.mkdir()
    for k in range(40):
        Image.fromarray(np.random.RandomState(k).randint(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{k:02}.png")
    return folder


def test_flat_folder_has_no_classes(flat: Path) -> None:
    spec = dataset(flat, path=".").spec()
    assert spec.splits == {"train": 32, "test": 8}
    assert (spec.num_classes, spec.num_labels, spec.factors) == (None, None, None)
    assert dataset(flat, path=".", train_size=30).spec().splits == {"train": 30, "test": 10}
    assert dataset(flat, path=".", train_size=30, test_share=0.1).spec().splits == {"train": 30, "test": 4}
    split = dataset(flat, path=".", num_queries=5, train_size=35).spec().splits
    assert split == {"train": 35, "query": 5, "database": 35}


def test_labels_may_be_left_out(root: Path) -> None:
    data = dataset(root, labels="none")
    assert data.spec().splits == {"train": 8, "test": 4}
    assert data.spec().num_classes is None
    assert data.load("train").labels is None
    assert sorted(shades(data, "train")) == shades(dataset(root), "train")


def test_table_says_labels_factors_and_splits(flat: Path) -> None:
    rows = "\n".join(
        f"{k:02}.png,{'cat' if k % 2 else 'dog'},{k % 3},{'train' if k < 30 else 'test'}" for k in range(40)
    )
    (flat / "t.csv").write_text(f"path,label,angle,split\n{rows}\n")
    data = dataset(flat, path=".", table="t.csv", factor_columns=("angle",))
    spec, test = data.spec(), data.load("test")
    assert spec.splits == {"train": 30, "test": 10}
    assert (spec.num_classes, spec.factors) == (2, {"angle": 3})
    assert test.labels is not None
    assert test.labels.tolist() == [1, 0] * 5
    assert test.factors is not None
    assert test.factors[:, 0].tolist() == [k % 3 for k in range(30, 40)]
    assert dataset(flat, path=".", table="t.csv", labels="none").spec().num_classes is None
    assert dataset(flat, path=".", table="t.csv", split_column=None).spec().splits == {"train": 32, "test": 8}


def test_what_only_a_table_can_say_needs_a_table() -> None:
    for values in ({"labels": "multi"}, {"factor_columns": ("angle",)}):
        with pytest.raises(ValueError, match=r"needs a table: set image_folder\.table to a CSV or parquet file"):
            ImageFolderConfig(**values)


def test_share_is_refused_where_folders_split_the_images(root: Path) -> None:
    with pytest.raises(ConfigError, match="has folders train and test; leave test_share out"):
        dataset(root, test_share=0.5).spec()


def test_new_parameters_are_in_no_key_while_they_have_their_defaults() -> None:
    old = {"train_size", "test_size", "num_queries", "size", "grey", "views"}
    assert plain(ImageFolderConfig()).keys() == old
    assert plain(ImageFolderConfig(labels="none", table="t.csv")).items() >= {"labels": "none"}.items()
    assert "table" not in plain(ImageFolderConfig(table="t.csv"))


def test_unlabelled_folder_from_images_to_projection(flat: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    settings = [f"image_folder.path={flat}", "image_folder.size=8", "image_folder.test_share=0.5"]
    words = ["run", "--datasets", "image_folder", "--methods", "random", "--encoders", "convnet", "--store", str(store)]
    words += [word for setting in settings for word in ("--set", setting)]
    result = CliRunner().invoke(main, [*words, "--tasks", "projection,geometry,knn"])
    assert result.exit_code == 0, result.output
    assert "[1] needs labels" in result.output
    records = [json.loads(path.read_text()) for path in (store / "cells").rglob("*.json")]
    (projection,) = (record for record in records if record["names"]["task"] == "projection")
    assert projection["scores"][0]["n"] == 20
    result = CliRunner().invoke(main, ["plot", "--store", str(store), "--kind", "projection"])
    assert result.exit_code == 0, result.output
    assert (store / "pictures" / "image_folder_convnet_projection.svg").stat().st_size > 0


def test_scaled_images_have_a_key_and_a_file_of_their_own(root: Path) -> None:
    path = root / "pets" / "train" / "cat" / "0.jpg"
    Image.fromarray(np.random.RandomState(0).randint(0, 256, (40, 40, 3), np.uint8)).save(path)
    exact, scaled = (dataset(root, decode=decode) for decode in ("exact", "scaled"))
    first, second = (torch.as_tensor(data.load("train").inputs) for data in (exact, scaled))
    assert torch.equal(torch.as_tensor(exact.load("train").inputs), first)
    assert not torch.equal(first[0], second[0])
    assert torch.equal(first[1:], second[1:])
    assert exact.digest() == scaled.digest()
    assert "decode" not in plain(exact.config)
    assert plain(scaled.config)["decode"] == "scaled"


def test_scaling_is_refused_where_pixels_must_not_be_rounded() -> None:
    for decode in ("scaled", "gpu"):
        with pytest.raises(ConfigError, match=rf"decode = '{decode}' rounds to 256 levels"):
            build(ImageFolderConfig, {"decode": decode, "values": "float"}, "image_folder")


@pytest.mark.parametrize("layout", ["folders", "drawn"])
def test_resized_copy_of_any_size_is_a_file_with_the_same_pixels(
    layout: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"path": "pets/train", "test_share": 0.5} if layout == "drawn" else {}
    monkeypatch.setattr("bench_datasets.image_folder.KEPT_BYTES", 1)
    monkeypatch.setattr("bench_core.data.subsets.LARGEST_IN_MEMORY", 1)
    read, kept = dataset(root, **options), dataset(root, **options, resized_copy=True)
    assert plain(kept.config) == plain(read.config)
    for split in ("train", "test"):
        reader, copy = read.load(split), kept.load(split)
        assert hasattr(reader.inputs, "read")
        assert hasattr(copy.inputs, "read") == (layout == "drawn")  # a part of a large file stays in the file
        index = torch.arange(len(reader))
        assert torch.equal(copy.read(index), reader.read(index))
    monkeypatch.setattr(Image, "open", None)
    assert len(kept.load("train").read(torch.tensor([0, 1]))) == 2
