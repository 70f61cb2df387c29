"""Apply an augmentation to a batch of images on their device, with separate random draws for each image.

    view = augment(images, rng, preset("simclr", data))

`augment` first draws what happens to each image (`bench_core.views.augmentation`), then applies the draws to the whole
batch with the operations of `bench_core.views.image_ops`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial

import torch
from torch import Tensor

from bench_core.views.augmentation import Augmentation, AugmentationDraws, draw
from bench_core.views.image_ops import (
    affine,
    band_jitter,
    color_jitter,
    drop_bands,
    gaussian_blur,
    may_wait,
    mean_of_bands,
    resized_crop,
    solarize,
    to_grayscale,
)


@torch.no_grad()
def augment(images: Tensor, rng: torch.Generator, augmentation: Augmentation, size: int | None = None) -> Tensor:
    """Return one view of each image, with separate random draws for each.

    Changes come in the order of the papers: affine, crop and flip, jitter, grey, blur, solarize, noise, and last the
    drop of bands. A change of probability 0 costs no time. Computed in float32 even under autocast, and without
    waiting for the device.

    Args:
        images: Images (N, C, H, W), float32 in [0, 1], with any number of channels. Colour changes are left out unless
            there are three, or the augmentation says that they are bands; one channel has brightness and contrast, but
            neither grey nor hue.
        rng: Generator on the device of the images.
        augmentation: Probabilities and ranges of the changes.
        size: Side of the square views, in pixels, for multi-crop; None takes the augmentation's `size`.

    Returns:
        Views (N, C, H, W) or (N, C, size, size) in [0, 1]; the same tensor `images` if the augmentation changes
        nothing.

    Raises:
        ValueError: `images` is not a float32 batch.
    """
    if images.ndim != 4 or images.dtype != torch.float32:
        raise ValueError(
            f"augment needs float32 images (N, C, H, W) in [0, 1], got {images.dtype} of shape {tuple(images.shape)}"
        )
    side = size or augmentation.size
    target = (side, side) if side else (images.shape[2], images.shape[3])
    with torch.autocast(images.device.type, enabled=False):
        return _APPLY.get()(images, draw(images.shape, rng, augmentation, target), target)


def apply(images: Tensor, draws: AugmentationDraws, size: tuple[int, int]) -> Tensor:
    """Apply draws to images: a pure function, whose shapes do not depend on the values of the draws.

    Args:
        images: Images (N, C, H, W), float32 in [0, 1].
        draws: Draws for these images and this size.
        size: Size (h, w) of the views.

    Returns:
        Views (N, C, h, w) in [0, 1].
    """
    if draws.affine is not None:
        *parameters, chosen = draws.affine
        images = _change_chosen(images, chosen, affine, *parameters)
    images = _cut(images, draws, size)
    if draws.jitter is not None:
        images = color_jitter(images, *draws.jitter)
    if draws.band_jitter is not None:
        *parameters, chosen = draws.band_jitter
        images = _change_chosen(images, chosen, band_jitter, *parameters)
    if draws.gray is not None:
        images = _change_chosen(images, draws.gray, to_grayscale)
    if draws.band_gray is not None:
        images = _change_chosen(images, draws.band_gray, mean_of_bands)
    if draws.blur is not None:
        sigma, chosen = draws.blur
        images = _change_chosen(images, chosen, partial(gaussian_blur, kernel_size=blur_kernel_size(min(size))), sigma)
    if draws.solarize is not None:
        images = _change_chosen(images, draws.solarize, partial(solarize, threshold=0.5))
    if draws.noise is not None:
        images = (images + draws.noise).clamp_(0.0, 1.0)
    return images if draws.band_drop is None else drop_bands(images, draws.band_drop)


_APPLY = ContextVar[Callable[[Tensor, AugmentationDraws, tuple[int, int]], Tensor]]("apply", default=apply)


@contextmanager
def compiled() -> Iterator[None]:
    """Make `augment` apply its draws in a compiled graph, one for each shape and kind of view.

        with compiled():
            view = augment(images, rng, augmentation)

    The draws are the same as without. Values agree to 1e-5, but not in their last bits. The first call compiles, which
    takes a CPU from seconds to a minute; torch caches the result. Compiling for a CPU needs a C++ compiler.
    """
    with applied_by(_compiled()):
        yield


@contextmanager
def applied_by(function: Callable[[Tensor, AugmentationDraws, tuple[int, int]], Tensor]) -> Iterator[None]:
    """Make `augment` apply its draws by another function that does what `apply` does, in this block."""
    token = _APPLY.set(function)
    try:
        yield
    finally:
        _APPLY.reset(token)


@cache
def _compiled() -> Callable[[Tensor, AugmentationDraws, tuple[int, int]], Tensor]:
    return torch.compile(apply, dynamic=False)


def _cut(images: Tensor, draws: AugmentationDraws, size: tuple[int, int]) -> Tensor:
    """Crop, resize and flip."""
    N, _, H, W = images.shape
    if draws.box is not None:
        return resized_crop(images, *draws.box, size, flip=draws.flip)
    if size != (H, W):
        zero = torch.zeros(N, dtype=torch.long, device=images.device)
        return resized_crop(images, zero, zero, zero + H, zero + W, size, flip=draws.flip)
    return images if draws.flip is None else torch.where(draws.flip[:, None, None, None], images.flip(-1), images)


def blur_kernel_size(side: int) -> int:
    """Return about a tenth of the side, odd and at least 3 (SimCLR's data_util.py: 23 for 224 pixels, 3 for 32).

    One pixel has a kernel of 1, which leaves it as it is.
    """
    return min(2 * max(1, side // 20) + 1, 2 * side - 1)


def _change_chosen(images: Tensor, chosen: Tensor, change: Callable[..., Tensor], *parameters: Tensor) -> Tensor:
    """Apply a change to the chosen images. On an accelerator all images are changed, so that nothing waits."""
    if not may_wait(images):
        return torch.where(chosen[:, None, None, None], change(images, *parameters), images)
    rows = chosen.nonzero()[:, 0]
    selected = images.index_select(0, rows)
    changed = change(selected, *(values.index_select(0, rows) for values in parameters))
    return images.index_copy(0, rows, changed.expand_as(selected))
