"""Two views of each image, as AMDIM's code makes them: mirrored together, then moved and coloured independently.

Code:  https://github.com/Philip-Bachman/amdim-public/blob/8754ae1/datasets.py (TransformsC10, TransformsSTL10)
Note:  The code crops with hue changes of .2 for images of 64 pixels and of .1 for 128; here hue changes by .2 for all.

Shapes: N images, C channels, H x W pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core.views import Augmentation, augment

MIRROR = Augmentation(flip_prob=0.5)
COLOURS = Augmentation(jitter_prob=0.8, jitter=(0.4, 0.4, 0.4, 0.2), gray_prob=0.25)
CROP_AND_COLOURS = Augmentation(
    crop_scale=(0.3, 1.0), crop_ratio=(0.7, 1.4), jitter_prob=0.8, jitter=(0.4, 0.4, 0.4, 0.2), gray_prob=0.25
)
LARGEST_MOVED = 32  # pixels of the longer side: the code moves images of CIFAR and crops larger ones
LARGEST_MOVE, MOVE_PROB = 4, 0.8


def view_pair(images: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return two views (N, C, H, W) of images (N, C, H, W) in [0, 1]; both are mirrored or neither is."""
    images = augment(images, rng, MIRROR)
    if max(images.shape[2:]) > LARGEST_MOVED:
        return augment(images, rng, CROP_AND_COLOURS), augment(images, rng, CROP_AND_COLOURS)
    return augment(move(images, rng), rng, COLOURS), augment(move(images, rng), rng, COLOURS)


def move(images: Tensor, rng: torch.Generator) -> Tensor:
    """Move each image by whole pixels, at most 4 along each axis, with probability .8; borders are mirrored.

    Args:
        images: (N, C, H, W).
        rng: Generator on their device.
    """
    N, _, H, W = images.shape
    top, left = (min(LARGEST_MOVE, side - 1) for side in (H, W))
    moved = torch.rand(N, generator=rng, device=images.device) < MOVE_PROB
    y, x = (
        torch.where(moved, torch.randint(2 * most + 1, (N,), generator=rng, device=images.device), most)
        for most in (top, left)
    )
    windows = F.pad(images, (left, left, top, top), mode="reflect").unfold(2, H, 1).unfold(3, W, 1)
    return windows[torch.arange(N, device=images.device), :, y, x]
