"""JPEG files decoded on a GPU, by nvJPEG through torchvision; all other images by Pillow.

Orientation, crop and size are as in `image_pixels.py`, computed on the GPU. Values differ a little from Pillow's, and
may differ between kinds of GPUs. A JPEG that nvJPEG refuses, or of four channels, is decoded by Pillow, too.
"""

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import get_worker_info

from bench_core.data.image_formats import for_pillow
from bench_core.data.image_pixels import MAX_PIXELS, turn_of
from bench_core.errors import RequestError

_TURNS: dict[Image.Transpose, Callable[[Tensor], Tensor]] = {  # of a tensor (C, H, W), as Pillow's of an image
    Image.Transpose.FLIP_LEFT_RIGHT: lambda image: image.flip(2),
    Image.Transpose.FLIP_TOP_BOTTOM: lambda image: image.flip(1),
    Image.Transpose.ROTATE_90: lambda image: image.rot90(1, (1, 2)),
    Image.Transpose.ROTATE_180: lambda image: image.flip(1, 2),
    Image.Transpose.ROTATE_270: lambda image: image.rot90(-1, (1, 2)),
    Image.Transpose.TRANSPOSE: lambda image: image.transpose(1, 2),
    Image.Transpose.TRANSVERSE: lambda image: image.transpose(1, 2).flip(1, 2),
}


def decoding_device() -> torch.device:
    """Return the GPU that decodes.

    Raises:
        RequestError: There is none, or this is a process that reads ahead, which cannot use it.
    """
    if not torch.cuda.is_available():
        raise RequestError("decode = 'gpu' needs a CUDA GPU, and torch finds none here; set it to scaled or exact.")
    if get_worker_info() is not None:
        raise RequestError("decode = 'gpu' decodes in the process that trains; leave --workers out.")
    return torch.device("cuda", torch.cuda.current_device())


def decode_jpegs(images: Sequence[str | bytes], size: int, grey: bool) -> list[Tensor | None]:
    """Decode the largest centred square of JPEG files on the GPU.

    Args:
        images: Path of each image, or the content of its file.
        size: Side of the results, in pixels.
        grey: Decode to one grey channel instead of three.

    Returns:
        uint8 (C, size, size) in main memory for each image, None for one that Pillow must decode.
    """
    device = decoding_device()
    contents, turns = [_content(image) for image in images], dict[int, Image.Transpose | None]()
    for place, content in enumerate(contents):
        with suppress(OSError), Image.open(for_pillow(content), formats=["JPEG"]) as file:  # reads the header alone
            if file.mode in ("RGB", "L") and file.width * file.height <= MAX_PIXELS:
                turns[place] = turn_of(file)
    squares = {
        place: _square(pixels, turn, size)
        for (place, turn), pixels in zip(
            turns.items(), _decoded([contents[place] for place in turns], grey, device), strict=True
        )
        if pixels is not None
    }
    together = iter(torch.stack(list(squares.values())).cpu() if squares else ())  # one copy to main memory
    return [next(together) if place in squares else None for place in range(len(contents))]


def _content(image: str | bytes) -> bytes:
    """Return the content of an image file; none of one that cannot be read, which Pillow will say."""
    if isinstance(image, bytes):
        return image
    try:
        return Path(image).read_bytes()
    except OSError:
        return b""


def _decoded(contents: Sequence[bytes], grey: bool, device: torch.device) -> list[Tensor | None]:
    """Decode whole images at once; where one of them is refused, one by one, and None for those refused."""
    from torchvision.io import ImageReadMode, decode_jpeg  # here, because importing it takes seconds

    mode = ImageReadMode.GRAY if grey else ImageReadMode.RGB

    def decode(part: Sequence[bytes]) -> list[Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchvision's word about its successor
            buffers = [torch.frombuffer(bytearray(content), dtype=torch.uint8) for content in part]
            return list(decode_jpeg(buffers, mode, device=device)) if buffers else []

    try:
        return decode(contents)
    except RuntimeError:
        if len(contents) == 1:
            return [None]
        return [pixels for content in contents for pixels in _decoded([content], grey, device)]


def _square(pixels: Tensor, turn: Image.Transpose | None, size: int) -> Tensor:
    """Turn an image upright, and resize its largest centred square."""
    if turn is not None:
        pixels = _TURNS[turn](pixels)
    height, width = pixels.shape[1:]
    side = min(height, width)
    rows, columns = (_weights(length, (length - side) // 2, side, size).to(pixels.device) for length in (height, width))
    return (rows @ pixels.float() @ columns.T).round().clamp(0, 255).to(torch.uint8)


def _weights(length: int, start: int, side: int, size: int) -> Tensor:
    """Return the weights (size, length) by which Pillow's bilinear filter makes pixels of those of a row or column.

    Args:
        length: Number of pixels in the row.
        start: First pixel of the part that is resized; the filter reaches beyond it, as Pillow's does.
        side: Number of pixels in that part.
        size: Number of pixels that are made.
    """
    scale = side / size
    centres = start + (torch.arange(size, dtype=torch.float64) + 0.5) * scale
    distances = (torch.arange(length) + 0.5 - centres[:, None]).abs() / max(scale, 1.0)
    weights = (1 - distances).clamp(min=0)
    return (weights / weights.sum(1, keepdim=True)).float()
