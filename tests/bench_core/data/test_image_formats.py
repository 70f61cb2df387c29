"""Which files are images, by their suffix or by their first bytes."""

import io
from pathlib import Path

import pytest
from PIL import Image

from bench_core.data.image_formats import FORMATS, SUFFIXES, first_bytes, format_of


def saved(kind: str, mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, (3, 2)).save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_files_that_pillow_writes_are_known_by_their_first_bytes(tmp_path: Path, kind: str, mode: str) -> None:
    content = saved(kind, "RGB" if kind in ("WEBP", "JPEG") else mode)
    (tmp_path / "x").write_bytes(content)
    assert format_of(first_bytes(tmp_path / "x")) == kind


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"GIF87a" + b"\0" * 26, "GIF"), (b"GIF89a", "GIF"), (b"GIF88a", None),
        (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"II+\0", "TIFF"), (b"MM\0+", "TIFF"), (b"II**", None),
        (b"\xff\xd8\xff\xe1", "JPEG"), (b"\xff\xd8", None),
        (b"P1\n2 2", "PPM"), (b"P3 # text", "PPM"), (b"P6\r\n10 10", "PPM"), (b"P7\n2", None), (b"P5 or not", None),
        (b"P62 is a road", None), (b"BM" + b"\0" * 12 + b"\x28\0\0\0", "BMP"), (b"BMW is a car, and no image", None),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WEBP"), (b"RIFF\0\0\0\0WAVEfmt ", None),
        (b"", None), (b"\0" * 32, None), (b"not an image", None), (b"<svg/>", None), (b"%!PS-Adobe-3.0 EPSF", None),
        (b"\x89PNG\r\n\x1a\n", "PNG"), (b"\x89PNG\n\n\x1a\n", None),
    ],
)  # fmt: skip
def test_format_by_first_bytes(head: bytes, kind: str | None) -> None:
    assert format_of(head) == kind


def test_first_bytes_of_a_short_file_are_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert first_bytes(tmp_path / "x") == b"abc"


def test_suffixes_are_those_of_torchvision_and_those_of_the_same_formats() -> None:
    from torchvision.datasets.folder import IMG_EXTENSIONS

    assert set(IMG_EXTENSIONS) < set(SUFFIXES)
    assert {".jfif", ".jpe", ".gif", ".pnm"} < set(SUFFIXES)
