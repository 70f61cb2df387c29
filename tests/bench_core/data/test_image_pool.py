"""Images as one pool: layouts, how a test part is drawn, labels of tables, and what is refused."""

import logging
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bench_core.data import DrawnTest, ImagePool, ImageTable, is_one_pool
from bench_core.errors import ConfigError, DataMissingError


def write(root: Path, *files: str) -> Path:
    """Write small images, the first of shade 0, the next of shade 1, and so on."""
    for shade, file in enumerate(files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 3), (shade,) * 3).save(root / file)
    return root


def flat(root: Path, count: int = 10) -> Path:
    return write(root, *(f"{k:02}.png" for k in range(count)))


def pool(root: Path, **options: Any) -> ImagePool:
    return ImagePool("mine", root, 2, **options)


def shades(images: ImagePool, split: str) -> list[int]:
    inputs = images.load(split).inputs
    assert isinstance(inputs, Tensor)
    return [int(value) for value in inputs[:, 0, 0, 0]]


def of_table(root: Path, text: str, **columns: Any) -> ImagePool:
    (root / "t.csv").write_text(text)
    options = {key: columns.pop(key) for key in ("test_part", "skip_undecodable", "labels_kind") if key in columns}
    kind = options.pop("labels_kind", "auto")
    return pool(root, labels=kind, table=ImageTable(root / "t.csv", **{"labels": ("label",), **columns}), **options)


def test_flat_folder_has_no_classes_and_a_fifth_is_tested(tmp_path: Path) -> None:
    images = pool(flat(tmp_path))
    assert images.counts == {"train": 8, "test": 2}
    assert (images.num_classes, images.num_labels, images.factors) == (None, None, (None, None))
    assert images.load("train").labels is None
    assert sorted(shades(images, "train") + shades(images, "test")) == list(range(10))


def test_draw_is_the_same_each_time_and_another_with_another_seed(tmp_path: Path) -> None:
    root = flat(tmp_path)
    halves = [shades(pool(root, test_part=DrawnTest(0.5, seed=seed)), "test") for seed in (0, 0, 1)]
    assert halves[0] == halves[1] != halves[2]
    assert [len(half) for half in halves] == [5, 5, 5]


def test_train_size_leaves_all_others_to_test_on(tmp_path: Path) -> None:
    root = flat(tmp_path)
    assert pool(root, test_part=DrawnTest(None, 3)).counts == {"train": 3, "test": 7}
    assert pool(root, test_part=DrawnTest(0.5, 3)).counts == {"train": 5, "test": 5}
    with pytest.raises(ConfigError, match="train_size must be at most 9, so that one of 10 images is left"):
        _ = pool(root, test_part=DrawnTest(None, 10)).counts


def test_share_is_that_of_each_class() -> None:
    labels = torch.tensor([0] * 80 + [1] * 15 + [2] * 5)
    test = DrawnTest(0.2).draw(labels, 100)
    assert labels[test].bincount().tolist() == [16, 3, 1]
    assert not torch.equal(test, DrawnTest(0.2, seed=1).draw(labels, 100))


def test_class_of_one_image_is_trained_on() -> None:
    labels = torch.tensor([0] * 9 + [1])
    assert not any(DrawnTest(0.3, seed=seed).draw(labels, 10)[9] for seed in range(20))


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.99, 2)])
def test_no_part_is_empty(share: float, count: int) -> None:
    assert int(DrawnTest(share).draw(None, 3).sum()) == count


def test_one_image_cannot_be_split(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="1 image cannot be split"):
        _ = pool(flat(tmp_path, 1)).counts


def test_folders_without_splits_are_classes(tmp_path: Path) -> None:
    root = write(tmp_path, "cat/a.png", "cat/deep/b.png", "dog/c.png", "dog/d.png")
    images = pool(root, test_part=DrawnTest(0.5))
    assert (images.num_classes, images.labels[0]) == (2, ["cat", "dog"])
    for split in ("train", "test"):
        labels = images.load(split).labels
        assert labels is not None
        assert labels.tolist() == [0, 1]
    assert pool(root, labels="none").load("test").labels is None


def test_two_spellings_of_a_name_are_one_class(tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD")]
    root = write(tmp_path, *(f"{name}/{k}.png" for k, name in enumerate(names)), "dog/a.png")
    assert pool(root).labels[0] == [names[0], "dog"]


def test_image_beside_folders_of_classes_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path, "cat/a.png", "b.png")
    with pytest.raises(DataMissingError, match=r"b\.png lies in no folder of a class, but others do; .*labels=none"):
        _ = pool(root).counts
    assert pool(root, labels="none").counts == {"train": 1, "test": 1}


def test_folders_train_and_test_split_images_without_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write(tmp_path, "train/a.png", "train/deep/b.png", "test/c.png", "other/d.png")
    images = pool(root, labels="none")
    with caplog.at_level(logging.WARNING, "bench"):
        assert images.counts == {"train": 2, "test": 1}
    assert "in no split: 1; the first is 'other/d.png'" in caplog.text
    assert (shades(images, "train"), shades(images, "test")) == ([0, 1], [2])
    with pytest.raises(ConfigError, match="the folders train and test already split the images; leave test_share out"):
        _ = pool(root, labels="none", test_part=DrawnTest(0.5)).counts


def test_train_without_test_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataMissingError, match=r"has a folder train, but no test; add it, or set image_folder\.path to"
    ):
        _ = pool(write(tmp_path, "train/a.png"), labels="none").counts


def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match="has no images; expected train/<class>/"):
        _ = pool(tmp_path).counts


def test_digest_is_of_names_and_contents_and_not_of_the_cache(tmp_path: Path) -> None:
    root = flat(tmp_path)
    digest = pool(root).digest()
    _ = pool(root).load("train")
    assert (root / ".bench-cache").is_dir()
    assert pool(root, test_part=DrawnTest(0.5)).digest() == digest
    (root / "00.png").rename(root / "0.png")
    renamed = pool(root).digest()
    Image.new("RGB", (3, 3), (99,) * 3).save(root / "0.png")
    assert len({digest, renamed, pool(root).digest()}) == 3


def test_table_gives_classes_and_splits(tmp_path: Path) -> None:
    root = flat(tmp_path, 5)
    images = of_table(root, "path,label,split\n03.png,dog,train\n01.png,cat,test\n00.png,cat,train\n")
    assert images.counts == {"train": 2, "test": 1}
    assert images.num_classes == 2
    assert (shades(images, "train"), shades(images, "test")) == ([0, 3], [1])
    labels = images.load("train").labels
    assert labels is not None
    assert labels.tolist() == [0, 1]


def test_cells_with_a_separator_are_several_labels_unless_labels_are_single(tmp_path: Path) -> None:
    root, text = flat(tmp_path, 3), "path,label,split\n00.png,a;b,train\n01.png,,train\n02.png,b,test\n"
    images = of_table(root, text)
    assert (images.num_classes, images.num_labels) == (None, 2)
    labels = images.load("train").labels
    assert labels is not None
    assert labels.int().tolist() == [[1, 1], [0, 0]]
    text = "path,label\n00.png,a;b\n01.png,a\n"
    assert of_table(root, text, labels_kind="single").num_classes == 2
    assert of_table(root, "path,label\n00.png,b\n01.png,a\n", labels_kind="multi").num_labels == 2


def test_several_label_columns_hold_a_bit_each(tmp_path: Path) -> None:
    root = flat(tmp_path, 2)
    images = of_table(root, "path,x,y\n00.png,1,0\n01.png,1,1\n", labels=("x", "y"))
    assert images.labels[0] == ["x", "y"]
    assert images.num_labels == 2
    images = of_table(root, "path,x,y\n01.png,1,1\n00.png,1,cat\n", labels=("x", "y"))
    with pytest.raises(DataMissingError, match=r"row 3: 'cat' in column 'y' of several label columns; write 1 or 0"):
        _ = images.counts


def test_factors_are_columns_and_empty_cells_are_unknown(tmp_path: Path) -> None:
    root = flat(tmp_path, 3)
    text = "path,angle,hue,split\n00.png,90,red,train\n01.png,,blue,train\n02.png,10,red,test\n"
    images = of_table(root, text, labels=(), factors=("angle", "hue"))
    assert images.factors[0] == {"angle": 2, "hue": 2}
    assert images.num_classes is None
    factors = images.load("train").factors
    assert factors is not None
    assert factors.tolist() == [[1, 1], [-1, 0]]


def test_digest_changes_with_a_label_and_not_with_the_order_of_rows(tmp_path: Path) -> None:
    root = flat(tmp_path, 2)
    rows = ["00.png,a\n", "01.png,b\n"]
    digests = [of_table(root, "path,label\n" + "".join(each)).digest() for each in (rows, rows[::-1])]
    assert digests[0] == digests[1]
    assert of_table(root, "path,label\n00.png,a\n01.png,a\n").digest() != digests[0]


def test_row_without_a_class_is_refused(tmp_path: Path) -> None:
    images = of_table(flat(tmp_path, 3), "path,label\n00.png,a\n02.png,\n01.png,\n")
    with pytest.raises(DataMissingError, match=r"row 4: has no label; .*labels=none \(further rows like this: 1\)"):
        _ = images.counts


def test_class_that_is_only_in_test_is_refused(tmp_path: Path) -> None:
    images = of_table(flat(tmp_path, 2), "path,label,split\n00.png,a,train\n01.png,b,test\n")
    with pytest.raises(DataMissingError, match="class 'b' is in test, but not in train, by the column 'split'"):
        _ = images.counts


def test_split_without_images_is_refused(tmp_path: Path) -> None:
    images = of_table(flat(tmp_path, 2), "path,label,split\n00.png,a,train\n01.png,b,train\n")
    with pytest.raises(DataMissingError, match="no image is in test, by the column 'split'"):
        _ = images.counts


def test_damaged_images_are_left_out_of_table_and_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = flat(tmp_path, 5)
    (root / "01.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    assert pool(root, skip_undecodable=True).counts == {"train": 3, "test": 1}
    images = of_table(root, "path,label\n00.png,a\n01.png,b\n02.png,a\n", skip_undecodable=True)
    assert images.counts == {"train": 1, "test": 1}
    assert images.labels[0] == ["a"]
    assert "01.png is left out" in caplog.text


def test_large_pools_are_decoded_when_they_are_read(tmp_path: Path) -> None:
    root = flat(tmp_path)
    split = pool(root, max_cached_bytes=0).load("test")
    assert not isinstance(split.inputs, Tensor)
    assert split.read(torch.tensor([1]))[0, 0, 0, 0] == shades(pool(root), "test")[1]


def test_depth_is_that_of_train_and_the_log_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path
    for file, value in (("train/a.png", 1000), ("test/b.png", 4000)):
        (root / file).parent.mkdir()
        Image.fromarray(np.full((2, 2), value, np.uint16)).save(root / file)
    images = pool(root, labels="none", depth=None)
    assert (shades(images, "train"), shades(images, "test")) == ([250], [255])
    assert "mine: the brightest value of the 16-bit images of train is 1,000" in caplog.text


def test_check_files_lists_the_folder_again(tmp_path: Path) -> None:
    images = pool(flat(tmp_path))
    digest = images.digest()
    (tmp_path / "00.png").unlink()
    assert images.digest() == digest
    images.check_files()
    assert images.digest() != digest
    assert sum(images.counts.values()) == 9


def test_layouts_that_are_one_pool(tmp_path: Path) -> None:
    assert is_one_pool(flat(tmp_path / "flat", 2))
    assert is_one_pool(write(tmp_path / "classes", "cat/a.png"))
    assert is_one_pool(write(tmp_path / "no_classes", "train/a.png", "test/b.png"))
    assert not is_one_pool(write(tmp_path / "usual", "train/cat/a.png", "test/cat/b.png"))
    assert not is_one_pool(write(tmp_path / "half", "test/cat/b.png"))
    assert not is_one_pool(tmp_path / "missing")
