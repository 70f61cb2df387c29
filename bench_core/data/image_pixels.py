"""Turns an image file into the pixels that an encoder sees.

- An animation or a file of several pages gives its first frame.
- The orientation that a camera wrote into the file (EXIF) is applied: people see the image upright, too.
- Transparent pixels are composed on white, as browsers and printers do. What colour lies under a transparent pixel is
  an accident of the program that wrote the file, and must not reach an encoder.
- The largest centred square is resized with PIL's bilinear filter, which antialiases.
- Values of 16 bits become 8 bits, see `image_depth`; 32 bits have no known range and are refused.
- Colour profiles are not applied.
"""

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, features

from bench_core.data.image_depth import eight_bits, has_sixteen_bits
from bench_core.data.image_formats import FORMATS

MAX_PIXELS = 178_956_970  # twice Pillow's limit for a warning, 512 MiB as RGB; guards against decompression bombs
_RULES = 2  # raised when this file or image_depth.py gives other pixels
_ORIENTATION = 0x0112  # the tag of EXIF
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


def decode_square(path: str, size: int, grey: bool, depth: int) -> npt.NDArray[np.uint8]:
    """Decode the largest centred square of one image to (C, size, size).

    Args:
        path: The image file.
        size: Side of the result, in pixels.
        grey: Decode to one grey channel instead of three.
        depth: Number of bits of the values of images whose header says 16 bits, 8 to 16.
    """
    with Image.open(path, formats=FORMATS) as file:
        if file.width * file.height > MAX_PIXELS:
            raise OSError(f"{file.width} x {file.height} pixels are more than {MAX_PIXELS:,}")
        deep = has_sixteen_bits(file)  # asked first: loading forgets it
        file.load()
        image = eight_bits(file, path, depth) if deep else file
        if image.mode in ("I", "F"):
            raise OSError(
                f"pixels of mode {image.mode} (32 bits, or 16 with a sign) have no known range; "
                "save it with 8 or 16 bits without a sign"
            )
        image = _on_white(image).convert("L" if grey else "RGB")
        turn = _turn(file)
        if turn is not None:
            image = image.transpose(turn)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    pixels = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box))
    return pixels[None] if grey else pixels.transpose(2, 0, 1)


def _on_white(image: Image.Image) -> Image.Image:
    """Compose an image on white if it has an alpha channel or a transparent colour; others are returned unchanged."""
    if image.mode not in ("RGBA", "LA", "PA", "RGBa") and "transparency" not in image.info:
        return image
    page = Image.new("RGBA", image.size, "white")
    page.alpha_composite(image.convert("RGBA"))
    return page


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return the turn that makes a loaded image upright, by its EXIF orientation; None if there is nothing to do."""
    if image.format == "TIFF":  # Pillow has done it
        return None
    try:
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF may make Pillow raise anything; the pixels are whole
        return None
