"""Layers and checks that encoders share."""

import torch
from torch import Tensor, nn

from bench_core.contracts import DataSpec


class Standardize(nn.Module):
    """First layer of an encoder: (inputs - mean) / std by channel; the identity where the data has no mean and std."""

    mean: Tensor
    std: Tensor

    def __init__(self, data: DataSpec) -> None:
        """Take mean and std from the data.

        Args:
            data: Its `mean` and `std` are those of inputs in [0, 1].

        Raises:
            ValueError: One of the two is given without the other, or a std is not above 0.
        """
        super().__init__()
        if (data.mean is None) != (data.std is None):
            raise ValueError(f"mean and std go together, got mean={data.mean} and std={data.std}")
        if data.std is not None and min(data.std) <= 0:
            raise ValueError(f"std must be > 0, got {data.std}")
        self.register_buffer("mean", torch.tensor(data.mean or (0.0,)).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(data.std or (1.0,)).view(-1, 1, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Standardise images: (N, C, H, W) in [0, 1] -> (N, C, H, W)."""
        return (inputs - self.mean).div_(self.std)


def image_skip_reason(data: DataSpec, smallest: int = 1) -> str | None:
    """Return why an encoder of images cannot read this data, or None.

    Args:
        data: The data that the encoder would be built for.
        smallest: Pixels that the shorter side must have at least.
    """
    if not data.is_image:
        return f"reads images (C, H, W); one input here has shape {data.shape}"
    if min(data.shape[1:]) < smallest:
        height, width = data.shape[1:]
        return f"needs images of at least {smallest} x {smallest} pixels, these have {height} x {width}"
    return None
