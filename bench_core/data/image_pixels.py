"""Turns an image file into the pixels that an encoder sees.

- An animation or a file of several pages gives its first frame.
- The orientation that a camera wrote into the file (EXIF) is applied: people see the image upright, too.
- Transparent pixels are composed on white, as browsers and printers do. What colour lies under a transparent pixel is
  an accident of the program that wrote the file, and must not reach an encoder.
- The largest centred square is resized with PIL's bilinear filter, which antialiases.
- Values of 16 bits become 8 bits, or fractions if they are asked for, see `image_depth`; 32 bits have no known range
  and are refused.
- Colour profiles are not applied.

A JPEG file is decoded in one of three ways: `exact`, `scaled` (large ones at a part of their size, see
`decode_square`), or `gpu` (see `gpu_jpeg.py`). Other formats are always decoded exactly.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, features

from bench_core.data.image_depth import eight_bits, fractions, has_sixteen_bits
from bench_core.data.image_formats import FORMATS, for_pillow

Way = Literal["exact", "scaled", "gpu"]
MAX_PIXELS = 178_956_970  # twice Pillow's limit for a warning, 512 MiB as RGB; guards against decompression bombs
_RULES = 2  # raised when this file or image_depth.py gives other pixels
_ORIENTATION = 0x0112  # the tag of EXIF
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's "L"
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decoder_version() -> str:
    """Return the versions of all that decides about pixels: our rules, Pillow, and the libraries that it reads with."""
    libraries = {
        "libjpeg-turbo": features.version_feature("libjpeg_turbo"),
        "jpeg": features.version_codec("jpg"),
        "tiff": features.version_codec("libtiff"),
        "webp": features.version("webp"),
    }
    return ", ".join([f"rules {_RULES}", f"pillow {PIL.__version__}", *(f"{k} {v}" for k, v in libraries.items())])


def decode_square(
    path: str | bytes, size: int, grey: bool, depth: int, *, scaled: bool = False
) -> npt.NDArray[np.uint8]:
    """Decode the largest centred square of one image to (C, size, size).

    Args:
        path: The image file, or its content.
        size: Side of the result, in pixels.
        grey: Decode to one grey channel instead of three.
        depth: Number of bits of the values of images whose header says 16 bits, 8 to 16.
        scaled: Whether a large JPEG is decoded at a half, a quarter or an eighth of its size, as long as that is at
            least twice the size of the result. It takes a fraction of the time, and values differ a little.
    """
    with _opened(path) as file:
        deep = has_sixteen_bits(file)  # asked first: loading forgets it
        if scaled:
            file.draft(file.mode, (2 * size, 2 * size))  # does nothing to other formats
        file.load()
        image = _with_known_range(eight_bits(file, path, depth) if deep else file)
        image = _on_white(image).convert("L" if grey else "RGB")
        turn = turn_of(file)
    pixels = np.asarray(_square(image, turn, size))
    return pixels[None] if grey else pixels.transpose(2, 0, 1)


def decode_fractions(path: str | bytes, size: int, grey: bool, depth: int) -> npt.NDArray[np.float32]:
    """Decode the largest centred square of one image to float32 (C, size, size) in [0, 1], never rounded to 8 bits.

    Values of 8 bits are divided by 255, those of 16 bits by the largest value of their depth. All else is as in
    `decode_square`, whose arguments these are.
    """
    with _opened(path) as file:
        deep = has_sixteen_bits(file)
        file.load()
        if deep:
            colours, alpha = fractions(file, path, depth)
        else:
            image = _on_white(_with_known_range(file)).convert("RGB")
            colours, alpha = np.asarray(image).astype(np.float32) / np.float32(255), None
        turn = turn_of(file)
    channels = colours[None] if colours.ndim == 2 else colours.transpose(2, 0, 1)
    if alpha is not None:
        opaque = alpha.astype(np.float32) / np.float32(255)
        channels = channels * opaque + (1 - opaque)
    if len(channels) == 3 and grey:
        channels = np.tensordot(_LUMA, channels, 1)[None]
    squares = [np.asarray(_square(Image.fromarray(channel), turn, size)) for channel in channels]
    pixels: npt.NDArray[np.float32] = np.stack(squares if len(squares) > 1 or grey else squares * 3)
    return pixels.clip(0, 1)


@contextmanager
def _opened(path: str | bytes) -> Iterator[Image.Image]:
    """Open an image; OSError if it has too many pixels."""
    with Image.open(for_pillow(path), formats=FORMATS) as file:
        if file.width * file.height > MAX_PIXELS:
            raise OSError(f"{file.width} x {file.height} pixels are more than {MAX_PIXELS:,}")
        yield file


def _with_known_range(image: Image.Image) -> Image.Image:
    """Return a loaded image; OSError if its values have no known range."""
    if image.mode in ("I", "F"):
        raise OSError(
            f"pixels of mode {image.mode} (32 bits, or 16 with a sign) have no known range; "
            "save it with 8 or 16 bits without a sign"
        )
    return image


def _square(image: Image.Image, turn: Image.Transpose | None, size: int) -> Image.Image:
    """Turn an image upright, and resize its largest centred square."""
    if turn is not None:
        image = image.transpose(turn)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    return image.resize((size, size), Image.Resampling.BILINEAR, box=box)


def _on_white(image: Image.Image) -> Image.Image:
    """Compose an image on white if it has an alpha channel or a transparent colour; others are returned unchanged."""
    if image.mode not in ("RGBA", "LA", "PA", "RGBa") and "transparency" not in image.info:
        return image
    page = Image.new("RGBA", image.size, "white")
    page.alpha_composite(image.convert("RGBA"))
    return page


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """Return the turn that makes an opened image upright, by its EXIF orientation; None if there is nothing to do."""
    if image.format == "TIFF":  # Pillow has done it
        return None
    try:
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF may make Pillow raise anything; the pixels are whole
        return None
