import hashlib
from pathlib import Path

import pytest
import torch

from bench_core.data import MNISTFiles, idx_images, idx_labels, read_checked
from bench_core.data.files import digest_of
from bench_core.data.mnist_files import MNIST_FILES, MNIST_MD5
from bench_core.errors import DataMissingError


def test_pixels_follow_a_header_of_16_bytes_row_by_row_and_labels_one_of_8() -> None:
    pixels = bytes(number % 251 for number in range(2 * 784))
    images = idx_images(bytes(16) + pixels)
    assert images.shape == (2, 1, 28, 28)
    assert images[1, 0, 2, 3].item() == (784 + 2 * 28 + 3) % 251
    assert idx_labels(bytes(8) + bytes([7, 0, 9])).tolist() == [7, 0, 9]
    assert idx_labels(bytes(8) + bytes([7])).dtype == torch.int64


def test_a_file_is_read_if_its_sum_is_the_published_one(tmp_path: Path) -> None:
    file = tmp_path / "images"
    with pytest.raises(DataMissingError, match=r"mine: .*images: does not exist"):
        read_checked("mine", file, None)
    file.write_bytes(b"pixels")
    assert (
        read_checked("mine", file, None) == read_checked("mine", file, hashlib.md5(b"pixels").hexdigest()) == b"pixels"
    )
    with pytest.raises(DataMissingError, match=r"mine: .*its md5 differs from the published one, delete it"):
        read_checked("mine", file, "0" * 32)


def test_the_digest_is_of_the_published_sums_of_all_four_files_and_needs_no_data(tmp_path: Path) -> None:
    assert {file for files in MNIST_FILES.values() for file in files} == set(MNIST_MD5)
    assert MNISTFiles("mine", tmp_path).digest() == digest_of(*MNIST_MD5.values())


def test_missing_files_are_named_with_the_dataset_that_needs_them(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match=r"mine: .*MNIST/raw/t10k-images-idx3-ubyte: does not exist"):
        MNISTFiles("mine", tmp_path).load("test")
