from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from bench_core.data import image_cache, image_files
from bench_core.errors import DataMissingError, RequestError
from bench_datasets import flickr25k
from bench_datasets.flickr25k import LABELS, Flickr25k, Flickr25kConfig, bench_datasets

COUNT, LABELLED = 30, 27


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of 30 images: image n has grey level n; its labels follow from remainders of n, and 28 to 30 have none."""
    monkeypatch.setattr(flickr25k, "COUNT", COUNT)
    monkeypatch.setattr(flickr25k, "LABELLED", LABELLED)
    images, annotations = tmp_path / "mirflickr", tmp_path / "mirflickr25k_annotations_v080"
    images.mkdir()
    annotations.mkdir()
    for number in range(1, COUNT + 1):
        Image.new("RGB", (20, 12), (number,) * 3).save(images / f"im{number}.jpg", quality=100)
    for column, name in enumerate(LABELS):
        numbers = [n for n in range(1, LABELLED + 1) if n % (column + 1) == 0]
        (annotations / f"{name}.txt").write_text("".join(f"{n}\n" for n in numbers))
        (annotations / f"{name}_r1.txt").write_text("30\n")  # left out
    (annotations / "README.txt").write_text("no numbers")
    (images / "meta").mkdir()
    return tmp_path


def dataset(root: Path, **config: Any) -> Flickr25k:
    return Flickr25k(root, Flickr25kConfig(**{"num_queries": 6, "train_size": 10, "size": 4, **config}))


def shades(data: Flickr25k, split: str) -> list[int]:
    inputs = data.load(split).inputs
    assert isinstance(inputs, Tensor)
    assert inputs.dtype == torch.uint8
    return [int(v) for v in inputs[:, 0, 0, 0].tolist()]


def test_each_annotation_file_is_a_column_but_those_of_prominent_topics(root: Path) -> None:
    data = dataset(root)
    labels, numbers = data.load("database").labels, shades(data, "database")
    assert labels is not None
    assert labels.dtype == torch.bool
    assert tuple(sorted(LABELS)) == LABELS
    assert labels.tolist() == [
        [n <= LABELLED and n % (column + 1) == 0 for column in range(len(LABELS))] for n in numbers
    ]


def test_queries_are_not_in_the_database_and_the_train_split_is(root: Path) -> None:
    data = dataset(root)
    query, database, train = (shades(data, split) for split in ("query", "database", "train"))
    assert data.spec().splits == {"train": 10, "query": 6, "database": 24}
    assert (len(train), len(query), len(database)) == (10, 6, 24)
    assert sorted(query + database) == list(range(1, COUNT + 1))
    assert set(train) < set(database)
    assert shades(dataset(root, train_size=None), "train") == database


def test_the_split_depends_only_on_its_seed(root: Path) -> None:
    assert shades(dataset(root), "query") == shades(dataset(root, size=2), "query")
    assert shades(dataset(root), "query") != shades(dataset(root, split_seed=1), "query")


def test_unlabelled_images_are_kept_or_dropped(root: Path) -> None:
    data = dataset(root, unlabelled="drop")
    assert data.spec().splits == {"train": 10, "query": 6, "database": 21}
    assert sorted(shades(data, "query") + shades(data, "database")) == list(range(1, LABELLED + 1))
    labels = [data.load(split).labels for split in ("query", "database")]
    assert all(bool(part.any(1).all()) for part in labels if part is not None)


def test_the_published_counts_need_no_data(tmp_path: Path) -> None:
    spec = Flickr25k(tmp_path, Flickr25kConfig()).spec()
    assert spec.splits == {"train": 5000, "query": 2000, "database": 23_000}
    assert (spec.num_labels, spec.num_classes, spec.shape) == (24, None, (3, 64, 64))
    dropped = Flickr25k(tmp_path, Flickr25kConfig(unlabelled="drop")).spec()
    assert dropped.splits["database"] == 22_581  # as Dreamupers/DeepHashing has it


def test_the_digest_is_of_images_and_labels_and_not_of_the_split(root: Path) -> None:
    digest = dataset(root).digest()
    assert dataset(root, size=8, num_queries=3, unlabelled="drop").digest() == digest
    with (root / "mirflickr25k_annotations_v080" / "water.txt").open("a") as file:
        file.write("1\n")
    changed = dataset(root).digest()
    assert changed != digest
    Image.new("RGB", (20, 12)).save(root / "mirflickr" / "im3.jpg")
    assert dataset(root).digest() not in (digest, changed)


def test_the_message_for_missing_data_has_its_source(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match=r"mirflickr: does not exist; the images .*press\.liacs\.nl"):
        Flickr25k(tmp_path, Flickr25kConfig()).load("train")


def test_the_message_for_missing_files_has_their_number_and_the_first(root: Path) -> None:
    for number in (7, 12):
        (root / "mirflickr" / f"im{number}.jpg").unlink()
    with pytest.raises(DataMissingError, match=r"2 of 30 images are missing, the first is im7\.jpg"):
        dataset(root).load("query")
    with pytest.raises(DataMissingError, match="2 of 30 images"):
        dataset(root).digest()


def test_a_missing_file_of_annotations_is_named(root: Path) -> None:
    (root / "mirflickr25k_annotations_v080" / "tree.txt").unlink()
    with pytest.raises(DataMissingError, match=r"tree\.txt: does not exist"):
        dataset(root).load("query")


def test_images_are_turned_upright(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    half = Image.new("RGB", (16, 16), (0, 0, 0))
    half.paste((200, 200, 200), (0, 0, 16, 8))
    for number in range(1, COUNT + 1):
        half.save(root / "mirflickr" / f"im{number}.jpg", quality=100, exif=exif)
    inputs = dataset(root).load("query").inputs
    assert isinstance(inputs, Tensor)
    assert (inputs[:, :, 0].int() < 20).all()
    assert (inputs[:, :, 3].int() > 180).all()
    assert Flickr25k.revision == 2


def test_check_files_reads_the_images_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "ALWAYS_READ_BYTES", -1)
    monkeypatch.setattr(image_cache, "SETTLED_NS", -(10**12))
    monkeypatch.setattr(image_cache, "stamp", lambda stat: "the same")
    digest = dataset(root).digest()
    Image.new("RGB", (20, 12)).save(root / "mirflickr" / "im3.jpg")
    data = dataset(root)
    assert data.digest() == digest
    data.check_files()
    assert data.digest() != digest


@pytest.mark.parametrize("line", ["im3", "0", "31", "-2", ""])
def test_a_damaged_line_of_annotations_is_named(root: Path, line: str) -> None:
    (root / "mirflickr25k_annotations_v080" / "sky.txt").write_text(f"19\n{line}\n")
    with pytest.raises(DataMissingError, match=r"sky\.txt, line 2: .* is no image's number, 1 to 30"):
        dataset(root).load("query")


def test_annotations_of_another_version_are_refused(root: Path) -> None:
    with (root / "mirflickr25k_annotations_v080" / "sky.txt").open("a") as file:
        file.write("30\n")
    with pytest.raises(DataMissingError, match=r"they label 28 images, but those of version 0\.80 label 27"):
        dataset(root).load("query")


def test_a_corrupt_image_is_named(root: Path) -> None:
    (root / "mirflickr" / "im5.jpg").write_bytes(b"not an image")
    with pytest.raises(DataMissingError, match=r"1 of 30 images cannot be read, the first is .*im5\.jpg"):
        dataset(root).load("train")


def test_an_unknown_split_and_too_large_counts_are_refused(root: Path) -> None:
    with pytest.raises(RequestError, match="no split named 'test'"):
        dataset(root).load("test")
    with pytest.raises(ValueError, match="may take 30 images, got 20 and 11"):
        dataset(root, num_queries=20, train_size=11)
    with pytest.raises(ValueError, match="size must be >= 1, got 0"):
        dataset(root, size=0)
    with pytest.raises(ValueError, match="split_seed must be in"):
        dataset(root, split_seed=-1)


def test_it_is_registered() -> None:
    assert bench_datasets() == {"flickr25k": Flickr25k}
