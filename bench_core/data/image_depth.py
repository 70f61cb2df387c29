"""Images whose header says 16 bits: their values, and how they become 8 bits or fractions.

Cameras and microscopes of 10, 12 or 14 bits store their values as they are in files of 16 bits, where the brightest
possible value of 12 bits is 4,095 of 65,535. The depth is the number of bits that the values have: value >> (depth - 8)
is the pixel, or value / (2^depth - 1) where pixels are fractions, and larger values than the depth allows become white.

Pillow reads grey images of 16 bits, but of coloured ones only the upper byte of each value. So these are read twice,
the second time with the order of bytes reversed, which gives the lower byte.
"""

import logging
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench_core.data.image_formats import FORMATS, first_bytes, for_pillow, format_of

_log = logging.getLogger("bench")
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def has_sixteen_bits(image: Image.Image) -> bool:
    """Say whether the header of an opened image, which is not loaded yet, gives 16 bits to each value."""
    if image.mode.startswith("I;16"):
        return True
    if image.mode == "I":  # PGM, and PNG until Pillow 10; TIFF of this mode has 32 bits, or a sign
        return image.format in ("PNG", "PPM")
    return image.mode in ("RGB", "RGBA") and any(_is_sixteen_bits(tile) for tile in _tiles(image))


def brightest(path: str) -> int | None:
    """Return the largest colour value of an image whose header says 16 bits; None if it says less, or is damaged."""
    try:
        head = first_bytes(path)
        kind = format_of(head)
        if kind not in ("TIFF", "PPM") and not (kind == "PNG" and head[24:25] == b"\x10"):
            return None  # most images end here, without Pillow
        with Image.open(for_pillow(path), formats=FORMATS) as image:
            return int(_values(image, path)[0].max()) if has_sixteen_bits(image) else None
    except Exception:  # a damaged file may make Pillow raise anything; it is reported when it is decoded
        return None


def bits_of(value: int) -> int:
    """Return the smallest number of bits from 8 to 16 that holds a value."""
    return min(max(value.bit_length(), 8), 16)


def depth_of_train(name: str, value: int | None) -> int:
    """Return the depth of a dataset's images of 16 bits, and say in the log how it was found.

    Args:
        name: Name of the dataset.
        value: The largest value of the images of `train` whose header says 16 bits, or None if there are none: an image
            of `test` that says so is then taken at its word.
    """
    if value is None:
        return 16
    depth = bits_of(value)
    _log.warning(
        "%s: the brightest value of the 16-bit images of train is %s, so their depth is taken as %d bits",
        name, f"{value:,}", depth,
    )  # fmt: skip
    return depth


def eight_bits(image: Image.Image, path: str | bytes, depth: int) -> Image.Image:
    """Return an opened image of 16 bits as one of 8 bits; a transparent colour becomes an alpha channel.

    Args:
        image: An image for which `has_sixteen_bits` is true.
        path: Its file or content, which is opened again for the second byte of coloured images.
        depth: Number of bits of its values, 8 to 16.
    """
    if depth == 16 and image.info.get("transparency") is None and image.mode in ("RGB", "RGBA"):
        return image  # Pillow reads the upper bytes, which are the pixels
    values, alpha = _values_and_alpha(image, path)
    pixels = np.minimum(values >> (depth - 8), 255).astype(np.uint8)
    return Image.fromarray(pixels if alpha is None else np.dstack([pixels, alpha]))


def fractions(
    image: Image.Image, path: str | bytes, depth: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8] | None]:
    """Return the colours of an opened image of 16 bits as fractions of white, and its alpha channel (H, W) or None.

    Args:
        image: An image for which `has_sixteen_bits` is true.
        path: Its file or content, which is opened again for the second byte of coloured images.
        depth: Number of bits of its values, 8 to 16.

    Returns:
        Colours (H, W) or (H, W, 3) in [0, 1]; a transparent colour becomes an alpha channel.
    """
    values, alpha = _values_and_alpha(image, path)
    return np.minimum(values.astype(np.float32) / np.float32(2**depth - 1), np.float32(1)), alpha


def _values_and_alpha(
    image: Image.Image, path: str | bytes
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8] | None]:
    """Return what `_values` returns, with an alpha channel also where one colour is transparent."""
    transparent = image.info.get("transparency")
    values, alpha = _values(image, path)
    if transparent is not None:
        differs = values != np.asarray(transparent)
        alpha = (differs if values.ndim == 2 else differs.any(2)) * np.uint8(255)
    return values, alpha


def _values(image: Image.Image, path: str | bytes) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8] | None]:
    """Return the colour values (H, W) or (H, W, 3) of an image of 16 bits, and its alpha channel (H, W) or None."""
    if image.mode not in ("RGB", "RGBA"):
        image.load()
        return np.asarray(image).astype(np.uint16), None
    upper = _bytes(path, upper=True)
    try:
        lower = _bytes(path, upper=False)
    except (OSError, ValueError):  # Pillow has no reversed order for grey with alpha
        lower = np.zeros_like(upper)
    values = upper[..., :3].astype(np.uint16) << 8 | lower[..., :3]
    return values.astype(np.uint16, copy=False), upper[..., 3] if upper.shape[2] == 4 else None


def _bytes(path: str | bytes, *, upper: bool) -> npt.NDArray[np.uint8]:
    """Read the upper or lower byte of each value of a coloured image: (H, W, 3 or 4)."""
    with Image.open(for_pillow(path), formats=FORMATS) as image:
        image.tile = [_tile_of_byte(tile, upper=upper) for tile in _tiles(image)]
        image.load()
        return np.asarray(image)


def _tiles(image: Image.Image) -> list[Any]:
    """Return how Pillow would read an image that is not loaded yet: (decoder, box, offset, arguments) for each part."""
    return getattr(image, "tile", [])


def _is_sixteen_bits(tile: Any) -> bool:
    arguments = tile[3]
    raw_mode = arguments if isinstance(arguments, str) else arguments[0]
    return ";16" in raw_mode or (tile[0] == "ppm" and arguments == ("RGB", 65535))


def _tile_of_byte(tile: Any, *, upper: bool) -> Any:
    """Return a tile that reads the upper or the lower bytes of 16-bit values as values of 8 bits."""
    decoder, box, offset, arguments = tile
    if decoder == "ppm":  # a PPM holds nothing but the values, the upper byte first
        decoder, arguments = "raw", ("RGB;16B", 0, 1)
    raw_mode = arguments if isinstance(arguments, str) else arguments[0]
    if not upper:
        raw_mode = raw_mode[:-1] + _OTHER_ORDER[raw_mode[-1]]
    arguments = raw_mode if isinstance(arguments, str) else (raw_mode, *arguments[1:])
    changed = (decoder, box, offset, arguments)
    return tile._make(changed) if hasattr(tile, "_make") else changed  # a named tuple since Pillow 11
