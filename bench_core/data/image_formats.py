"""Tells which files are images: by their suffix, or by their first bytes where the suffix says nothing."""

import io
import re
from pathlib import Path
from typing import IO

# Formats by a file's content, whatever its suffix. Pillow knows more; its EPS reader would start another program.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
SUFFIXES = (
    ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
_NETPBM = re.compile(rb"P[1-6][ \t\r\n]+(#|[0-9])")
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # sizes of its second header; "BM" alone also begins texts


def first_bytes(path: str | Path) -> bytes:
    """Return the first 32 bytes of a file, fewer if it is shorter; enough for `format_of`."""
    with open(path, "rb", buffering=0) as file:
        return file.read(32)


def for_pillow(image: str | bytes) -> str | IO[bytes]:
    """Return what Pillow opens for an image: the path of its file, or an open file of its bytes."""
    return io.BytesIO(image) if isinstance(image, bytes) else image


def format_of(head: bytes) -> str | None:
    """Return the image format that a file begins like, one of `FORMATS`; None if it begins like none."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    return "PPM" if _NETPBM.match(head) else None
