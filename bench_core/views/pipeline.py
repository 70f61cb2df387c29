"""Views: batched augmentation on the device, drawn for each image by itself.

    view = augment(images, rng, preset("simclr", data))

What happens to each image is drawn first (`bench_core.views.augmentation`), then done to all (`apply`, which draws
nothing) by the
operations of `bench_core.views.image_ops`. Here are the papers' presets, too.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial

import torch
from torch import Tensor

from bench_core.views.augmentation import Augmentation as Augmentation
from bench_core.views.augmentation import Draws, draw
from bench_core.views.augmentation import draw_boxes as draw_boxes
from bench_core.views.image_ops import (
    affine,
    color_jitter,
    gaussian_blur,
    may_wait,
    resized_crop,
    solarize,
    to_grayscale,
)


@torch.no_grad()
def augment(images: Tensor, rng: torch.Generator, augmentation: Augmentation, size: int | None = None) -> Tensor:
    """One view of each image, each with its own draws.

    In the papers' order: affine, crop and flip, jitter, grey, blur, solarize, noise. What has probability 0
    costs nothing. Float32 also under autocast; nothing waits for the device.

    Args:
        images: (N, C, H, W) float32 in [0, 1]; any C, though jitter needs 1 or 3.
        rng: On the device of the images.
        augmentation: What may happen.
        size: Side of the square views, over that of the augmentation (multi-crop).

    Returns:
        (N, C, H, W) or (N, C, size, size), in [0, 1]; the images themselves, unchanged, if nothing is to happen.

    Raises:
        ValueError: The images are not a float32 batch.
    """
    if images.ndim != 4 or images.dtype != torch.float32:
        raise ValueError(
            f"augment needs float32 images (N, C, H, W) in [0, 1], got {images.dtype} of shape {tuple(images.shape)}"
        )
    side = size or augmentation.size
    target = (side, side) if side else (images.shape[2], images.shape[3])
    with torch.autocast(images.device.type, enabled=False):
        return _APPLY.get()(images, draw(images.shape, rng, augmentation, target), target)


def apply(images: Tensor, draws: Draws, size: tuple[int, int]) -> Tensor:
    """Do what was drawn: a pure function of its arguments, of shapes that do not depend on values.

    Args:
        images: (N, C, H, W) float32 in [0, 1].
        draws: For these images and this size.
        size: (h, w) of the views.

    Returns:
        (N, C, h, w) in [0, 1].
    """
    if draws.affine is not None:
        *how, chosen = draws.affine
        images = _sometimes(images, chosen, affine, *how)
    images = _cut(images, draws, size)
    if draws.jitter is not None:
        images = color_jitter(images, *draws.jitter)
    if draws.gray is not None:
        images = _sometimes(images, draws.gray, to_grayscale)
    if draws.blur is not None:
        sigma, chosen = draws.blur
        images = _sometimes(images, chosen, partial(gaussian_blur, kernel_size=blur_kernel_size(min(size))), sigma)
    if draws.solarize is not None:
        images = _sometimes(images, draws.solarize, partial(solarize, threshold=0.5))
    return images if draws.noise is None else (images + draws.noise).clamp_(0.0, 1.0)


_APPLY = ContextVar[Callable[[Tensor, Draws, tuple[int, int]], Tensor]]("apply", default=apply)


@contextmanager
def compiled() -> Iterator[None]:
    """Inside, `augment` draws as ever and applies its draws in one compiled graph for each shape and kind of view.

    Values agree to 1e-5 with those outside; the last bits do not. Compiling takes seconds to a minute of a CPU once,
    kept by torch in its cache, and on a CPU it takes a C++ compiler.
    """
    token = _APPLY.set(_compiled())
    try:
        yield
    finally:
        _APPLY.reset(token)


@cache
def _compiled() -> Callable[[Tensor, Draws, tuple[int, int]], Tensor]:
    return torch.compile(apply, dynamic=False)


def _cut(images: Tensor, draws: Draws, size: tuple[int, int]) -> Tensor:
    """Crop, resize and flip."""
    N, _, H, W = images.shape
    if draws.box is not None:
        return resized_crop(images, *draws.box, size, flip=draws.flip)
    if size != (H, W):
        zero = torch.zeros(N, dtype=torch.long, device=images.device)
        return resized_crop(images, zero, zero, zero + H, zero + W, size, flip=draws.flip)
    return images if draws.flip is None else torch.where(draws.flip[:, None, None, None], images.flip(-1), images)


def blur_kernel_size(side: int) -> int:
    """A tenth of the side, made odd, at least 3 (SimCLR's data_util.py: 23 for 224 pixels, 3 for 32)."""
    return 2 * max(1, side // 20) + 1


def _sometimes(images: Tensor, chosen: Tensor, change: Callable[..., Tensor], *parameters: Tensor) -> Tensor:
    """The changed image where it is chosen, else the image; only the chosen are changed where that does not wait."""
    if not may_wait(images):
        return torch.where(chosen[:, None, None, None], change(images, *parameters), images)
    rows = chosen.nonzero()[:, 0]
    some = images.index_select(0, rows)
    changed = change(some, *(values.index_select(0, rows) for values in parameters))
    return images.index_copy(0, rows, changed.expand_as(some))
