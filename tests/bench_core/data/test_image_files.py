"""Groups of image files: decoding, caching, digests, and when the cache is believed."""

import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bench_core.data import ImageFiles, ImageFolder, digest_of, image_cache, image_files, open_split
from bench_core.data.image_files import decode
from bench_core.errors import DataMissingError

FILES = ("train/cat/10.png", "train/cat/9.PNG", "train/dog/b.png")


def write(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.RandomState(seed).randint(0, 256, (6, 6, 3), np.uint8)).save(path)


def load(folder: Path, split: str = "train", size: int = 6, **options: int) -> Tensor:
    inputs = ImageFolder("mine", folder, size, **options).load(split).inputs  # type: ignore[arg-type]  # options of any kind
    assert isinstance(inputs, Tensor)
    return inputs.clone()  # not a map of a file that a test damages


def images(folder: Path, files: tuple[str, ...] = FILES, **options: Any) -> ImageFiles:
    return ImageFiles("mine", folder, "train", files, 6, **options)


@pytest.fixture
def stamped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat every group of files as a large one, and every file as one that was written long ago."""
    monkeypatch.setattr(image_files, "ALWAYS_READ_BYTES", -1)
    monkeypatch.setattr(image_cache, "SETTLED_NS", -(10**12))


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which each file that is hashed is added."""
    read: list[str] = []
    hash_file = image_files._file_digest

    def note(path: str) -> str:
        read.append(path)
        return hash_file(path)

    monkeypatch.setattr(image_files, "_file_digest", note)
    return read


def test_second_load_decodes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(folder)
    monkeypatch.setattr(Image, "open", None)
    assert torch.equal(load(folder), first)


def test_changed_file_is_decoded_again(folder: Path) -> None:
    first, digest = load(folder), ImageFolder("mine", folder, 6).digest()
    write(folder / "train" / "cat" / "10.png", seed=99)
    os.utime(folder / "train" / "cat" / "10.png", ns=(1, 1))  # a second write may fall into one tick of the clock
    assert not torch.equal(load(folder)[0], first[0])
    assert torch.equal(load(folder)[1:], first[1:])
    assert ImageFolder("mine", folder, 6).digest() != digest


def test_file_with_a_new_time_but_the_same_content_is_not_decoded_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, digest = load(folder), ImageFolder("mine", folder, 6).digest()
    os.utime(folder / "train" / "cat" / "10.png", ns=(1, 1))
    monkeypatch.setattr(Image, "open", None)
    assert torch.equal(load(folder), first)
    assert ImageFolder("mine", folder, 6).digest() == digest


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damaged_cached_array_is_replaced(folder: Path, damage: str) -> None:
    first = load(folder)
    array = folder / ".bench-cache" / "train-6.npy"
    data = bytearray(array.read_bytes())
    data[-1] ^= 1
    if damage == "remove":
        array.unlink()
    else:
        array.write_bytes(data if damage == "flip" else data[:-7])
    assert torch.equal(load(folder), first)
    assert np.array_equal(np.load(array), first.numpy())


@pytest.mark.parametrize("field", ["content", "decoder", "depth"])
def test_whole_array_of_other_contents_decoder_or_depth_is_replaced(folder: Path, field: str) -> None:
    first = load(folder)
    path, other = folder / ".bench-cache" / "train-6.json", np.zeros(first.shape, np.uint8)
    np.save(path.with_suffix(".npy"), other)
    entry = {**image_cache.read_entry(path), "array": digest_of(other)}
    image_cache.write_entry(path, entry)
    assert int(load(folder).max()) == 0  # believed
    image_cache.write_entry(path, {**entry, field: "another"})
    assert torch.equal(load(folder), first)


def test_each_size_has_its_own_cache(folder: Path) -> None:
    assert load(folder, size=6).shape == (3, 3, 6, 6)
    assert load(folder, size=3).shape == (3, 3, 3, 3)
    assert load(folder, size=6).shape == (3, 3, 6, 6)


def test_no_temporary_file_stays_in_the_cache(folder: Path) -> None:
    load(folder)
    assert sorted(p.name for p in (folder / ".bench-cache").iterdir()) == [
        "train-6.json",
        "train-6.npy",
    ]


def test_images_load_with_a_warning_if_the_cache_cannot_be_written(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / ".bench-cache").write_text("a file where a folder should be")
    with caplog.at_level(logging.WARNING, "bench"):
        assert load(folder).shape == (3, 3, 6, 6)
    assert "cannot be written" in caplog.text


def test_images_of_a_read_only_folder_are_cached_in_the_cache_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    load(folder)
    assert not (folder / ".bench-cache").exists()
    assert len(list((tmp_path / "cache" / "bench" / "folders").glob("*/train-6.npy"))) == 1


def test_split_larger_than_max_cached_bytes_is_decoded_when_it_is_read(folder: Path) -> None:
    expected = torch.from_numpy(decode([str(folder / f) for f in FILES], 6))
    split = ImageFolder("mine", folder, 6, max_cached_bytes=3 * 3 * 36 - 1).load("train")
    assert not isinstance(split.inputs, Tensor)
    assert len(split) == 3
    assert torch.equal(split.read(torch.tensor([2, 0])), expected[[2, 0]])
    (batch,) = open_split(split, torch.device("cpu")).batches(3)
    assert torch.equal(batch.inputs, expected.float() / 255)
    assert not (folder / ".bench-cache").exists()
    assert isinstance(ImageFolder("mine", folder, 6, max_cached_bytes=3 * 3 * 36).load("train").inputs, Tensor)


def test_error_counts_undecodable_images_and_names_the_first(folder: Path) -> None:
    for name in ("10.png", "9.PNG"):
        (folder / "train" / "cat" / name).write_bytes(b"not an image")
    with pytest.raises(DataMissingError, match=r"2 of 3 images cannot be read, the first is .*cat/10\.png"):
        load(folder)


def test_truncated_image_is_refused(folder: Path) -> None:
    victim = folder / "train" / "dog" / "b.png"
    victim.write_bytes(victim.read_bytes()[:80])
    with pytest.raises(DataMissingError, match="1 of 3 images cannot be read"):
        load(folder)


def bmp(path: Path, shade: int) -> None:
    """Write an image of one shade, of the same size and date whatever the shade."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 6), (shade,) * 3).save(path, "BMP")
    os.utime(path, ns=(10**18, 10**18))


@pytest.mark.parametrize("large", [False, True])
def test_two_images_of_equal_size_and_date_that_are_swapped_have_another_digest_and_their_own_pixels(
    tmp_path: Path, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(image_files, "ALWAYS_READ_BYTES", -1)
        monkeypatch.setattr(image_cache, "SETTLED_NS", -(10**12))
    files = ("cat/a.bmp", "dog/a.bmp")
    for shade, file in zip((10, 200), files, strict=True):
        bmp(tmp_path / file, shade)
    digest = images(tmp_path, files).content
    assert images(tmp_path, files).load()[:, 0, 0, 0].tolist() == [10, 200]  # type: ignore[index]  # in memory
    (tmp_path / "cat").rename(tmp_path / "other")
    (tmp_path / "dog").rename(tmp_path / "cat")
    (tmp_path / "other").rename(tmp_path / "dog")
    assert images(tmp_path, files).content != digest
    assert images(tmp_path, files).load()[:, 0, 0, 0].tolist() == [200, 10]  # type: ignore[index]  # in memory


def test_small_group_is_hashed_every_time_and_has_no_stamps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = count_reads(monkeypatch)
    assert images(folder).content == images(folder).content
    assert len(read) == 6
    assert not (folder / ".bench-cache").exists()


def test_size_up_to_which_a_group_is_hashed_every_time_counts_all_its_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch, stamped: None
) -> None:
    size = sum((folder / file).stat().st_size for file in FILES)
    monkeypatch.setattr(image_files, "ALWAYS_READ_BYTES", size)
    _ = images(folder).content
    assert not (folder / ".bench-cache").exists()
    monkeypatch.setattr(image_files, "ALWAYS_READ_BYTES", size - 1)
    _ = images(folder).content
    assert (folder / ".bench-cache" / "train.json").exists()
    assert images(folder).content == images(folder, trust_stamps=False).content


def test_large_group_is_hashed_again_when_a_stamp_changes_and_only_then(
    folder: Path, monkeypatch: pytest.MonkeyPatch, stamped: None
) -> None:
    read = count_reads(monkeypatch)
    content = images(folder).content
    assert images(folder).content == content
    assert len(read) == 3
    os.utime(folder / FILES[0], ns=(10**18, 10**18))
    assert images(folder).content == content
    assert len(read) == 6
    assert images(folder).content == content
    assert len(read) == 6


def test_large_group_that_was_just_written_is_hashed_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, stamped: None
) -> None:
    monkeypatch.setattr(image_cache, "SETTLED_NS", 10**15)
    read = count_reads(monkeypatch)
    assert images(folder).content == images(folder).content
    assert len(read) == 6


def test_check_files_reads_all_files_again_and_says_if_the_stamps_have_lied(
    folder: Path, monkeypatch: pytest.MonkeyPatch, stamped: None, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(image_cache, "stamp", lambda stat: "the same")
    first = images(folder)
    content = first.content
    write(folder / FILES[0], seed=99)
    assert images(folder).content == content  # believed
    assert caplog.text == ""
    first.check_files()
    assert first.content != content
    assert "images of train changed, but not their sizes, times and inodes" in caplog.text
    assert images(folder).content == first.content  # the cache holds the new digest


def test_damaged_cached_digest_is_replaced(folder: Path, stamped: None) -> None:
    expected = images(folder).content
    path = folder / ".bench-cache" / "train.json"
    path.write_text(path.read_text().replace(expected, expected[:-1] + "x"))
    assert images(folder).content == expected


def test_digest_does_not_depend_on_stamps_or_on_the_cache(folder: Path, stamped: None) -> None:
    content = images(folder).content
    os.utime(folder / FILES[0], ns=(10**18, 10**18))
    assert images(folder).content == content
    assert images(folder, trust_stamps=False).content == content


def test_array_of_another_depth_is_replaced(tmp_path: Path) -> None:
    Image.fromarray(np.full((6, 6), 1000, np.uint16)).save(tmp_path / "a.png")
    shades = [int(images(tmp_path, ("a.png",), grey=True).load(depth).max()) for depth in (10, 16, 10)]  # type: ignore[union-attr]  # in memory
    assert shades == [250, 3, 250]


def test_images_that_are_decoded_when_they_are_read_have_their_depth(tmp_path: Path) -> None:
    Image.fromarray(np.full((6, 6), 1000, np.uint16)).save(tmp_path / "a.png")
    reader = images(tmp_path, ("a.png",), max_cached_bytes=0).load(10)
    assert not isinstance(reader, Tensor)
    assert int(reader.read(torch.tensor([0])).max()) == 250


def test_floats_and_bytes_of_one_group_are_cached_apart(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1], [300, 65535]], np.uint16)).save(tmp_path / "a.png")

    def values(**options: Any) -> Any:
        loaded = ImageFiles("mine", tmp_path, "train", ["a.png"], 2, grey=True, **options).load()
        return loaded if isinstance(loaded, Tensor) else loaded.read(torch.tensor([0]))

    for _ in range(2):  # decoded, and from the cache
        assert values().flatten().tolist() == [0, 0, 1, 255]
        floats = values(floats=True)
        assert floats.dtype == torch.float32
        assert torch.equal(floats, torch.tensor([0, 1, 300, 65535]).view(1, 1, 2, 2) / 65535)
    assert torch.equal(values(floats=True, max_cached_bytes=15), floats)  # 4 values of 4 bytes: read one by one


def test_brightest_value_is_that_of_all_images_of_16_bits_and_is_looked_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (6, 6), 255).save(tmp_path / "8.png")
    assert images(tmp_path, ("8.png",)).brightest() is None
    for value in (300, 1000, 0):
        Image.fromarray(np.full((6, 6), value, np.uint16)).save(tmp_path / f"{value}.png")
    files = ("0.png", "1000.png", "300.png", "8.png")
    assert images(tmp_path, files).brightest() == 1000
    monkeypatch.setattr(image_files, "brightest", None)
    assert images(tmp_path, files).brightest() == 1000
    path = tmp_path / ".bench-cache" / "train-brightest.json"
    path.write_text(path.read_text().replace("1000", "1001"))
    with pytest.raises(TypeError):  # the damaged value is not believed: it would be looked for again
        images(tmp_path, files).brightest()


def test_reasons_for_undecodable_images_are_cached_and_are_of_these_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / FILES[1]).write_bytes(b"not an image")
    (reason,) = images(folder).undecodable().items()
    assert reason[0] == FILES[1]
    assert reason[1].startswith("cannot identify image file")
    monkeypatch.setattr(Image, "open", None)
    assert images(folder).undecodable() == dict([reason])


@pytest.mark.parametrize("make", ["missing", "folder"])
def test_file_that_cannot_be_read_is_named(folder: Path, make: str) -> None:
    (folder / FILES[0]).unlink()
    if make == "folder":
        (folder / FILES[0]).mkdir()
    with pytest.raises(DataMissingError, match=r"mine: .*cat/10\.png: cannot be read \(\w.*\)"):
        _ = images(folder).content


@pytest.mark.parametrize(("readers", "threads"), [(None, 8), (2, 4), (3, 2), (20, 1)])
def test_readers_share_the_cores_that_their_process_may_use(
    readers: int | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    worker = None if readers is None else SimpleNamespace(num_workers=readers)
    monkeypatch.setattr(image_files, "get_worker_info", lambda: worker)
    assert image_files._num_threads() == threads
    assert image_files._in_threads(lambda item: item + 1, range(100)) == list(range(1, 101))
