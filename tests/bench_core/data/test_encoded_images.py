"""Images that a table holds as the bytes of their files."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench_core.data import EncodedImages, ImageFiles, content_digest
from bench_core.errors import DataMissingError


class InMemory:
    """Contents of images in a list; counts how often they are read."""

    def __init__(self, contents: list[bytes]) -> None:
        self.contents, self.reads = contents, 0

    def __len__(self) -> int:
        return len(self.contents)

    def read(self, places: Iterable[int]) -> list[bytes]:
        self.reads += 1
        return [self.contents[place] for place in places]

    def names(self, places: Iterable[int]) -> list[str]:
        return [f"row {place}" for place in places]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def encoded(number: int, form: str = "PNG", mode: str = "RGB") -> bytes:
    values = np.random.RandomState(number).randint(0, 256, (8, 10, 4), np.uint8)
    image, file = Image.fromarray(values).convert(mode), io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def deep(number: int) -> bytes:
    values, file = np.random.RandomState(number).randint(0, 4096, (8, 10)).astype(np.uint16), io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def images(blobs: InMemory, max_cached_bytes: int = 1 << 20) -> EncodedImages:
    return EncodedImages("x", blobs, 6, content=content_digest(blobs), depth=12, max_cached_bytes=max_cached_bytes)


CONTENTS = [
    encoded(0),
    encoded(1, "JPEG"),
    encoded(2, mode="RGBA"),
    encoded(3, "GIF", "P"),
    encoded(4, mode="L"),
    deep(5),
]


def test_bytes_give_the_pixels_of_their_files(tmp_path: Path) -> None:
    for number, content in enumerate(CONTENTS):
        (tmp_path / f"{number}.png").write_bytes(content)
    files = ImageFiles("x", tmp_path, "all", [f"{number}.png" for number in range(len(CONTENTS))], 6)
    expected, found = files.load(depth=12), images(InMemory(CONTENTS)).load()
    assert isinstance(expected, torch.Tensor)
    assert isinstance(found, torch.Tensor)
    assert torch.equal(found, expected)


def test_decoded_images_come_from_the_cache_unless_it_is_damaged(tmp_path: Path) -> None:
    first = images(InMemory(CONTENTS)).load()
    assert isinstance(first, torch.Tensor)
    first = first.clone()  # not a map of the file that is damaged
    again = InMemory(CONTENTS)
    group = images(again)
    reads = again.reads
    assert torch.equal(torch.as_tensor(group.load()), first)
    assert again.reads == reads
    (file,) = (tmp_path / "cache").rglob("*.npy")
    np.save(file, np.zeros_like(first.numpy()))
    assert torch.equal(torch.as_tensor(group.load()), first)
    assert again.reads > reads


def test_many_images_are_decoded_when_they_are_read() -> None:
    whole, reader = images(InMemory(CONTENTS)).load(), images(InMemory(CONTENTS), max_cached_bytes=1).load()
    assert isinstance(whole, torch.Tensor)
    assert not isinstance(reader, torch.Tensor)
    assert len(reader) == len(CONTENTS)
    assert torch.equal(reader.read(torch.tensor([5, 0, 5])), whole[[5, 0, 5]])


def test_the_digest_depends_on_content_and_order() -> None:
    digests = {content_digest(InMemory(contents)) for contents in (CONTENTS, CONTENTS[::-1], CONTENTS[1:], [])}
    assert len(digests) == 4
    assert content_digest(InMemory(list(CONTENTS))) in digests


def test_an_image_that_is_damaged_is_named() -> None:
    with pytest.raises(DataMissingError, match="1 of 2 images cannot be read, the first is row 1"):
        images(InMemory([CONTENTS[0], b"nothing"])).load()
