"""Makes the images of a dataset into those that a model was trained on: channels, size, mean and deviation.

Images are resized as a whole and never cropped, so that nothing at their border is lost. Shapes: N images, C channels
of the model, H x W pixels of the model.
"""

import hashlib
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import DataSpec, param
from bench_core.errors import RequestError
from bench_core.nn.layers import Standardize, image_skip_reason

RGB = 3
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
MODES = ("bilinear", "bicubic")


def size_param() -> Any:
    """Return the parameter `size` of a model that has a size of its own."""
    return param(0, "side of the images in pixels; 0 is the model's own", "ours: as trained", ge=0)


def mean_param() -> Any:
    """Return the parameter `mean` of a model that has one of its own."""
    return param((), "mean that is subtracted; empty is the model's own", "ours: as trained")


def deviation_param() -> Any:
    """Return the parameter `deviation` of a model that has one of its own."""
    return param((), "deviation divided by; empty is the model's own", "ours: as trained", gt=0)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Channels, size and standardising of the images that a model wants.

    Attributes:
        size: Height and width in pixels; None leaves images at their own size.
        channels: Colour channels; gray images are repeated to as many.
        mean: Mean of each channel that is subtracted; empty where nothing is.
        deviation: Deviation of each channel that is divided by.
        interpolation: How images are resized: "bilinear" or "bicubic".
    """

    size: tuple[int, int] | None
    channels: int = RGB
    mean: tuple[float, ...] = IMAGENET_MEAN
    deviation: tuple[float, ...] = IMAGENET_DEVIATION
    interpolation: str = "bicubic"

    def changed(self, encoder: str, config: Any) -> "Wanted":
        """Return the same with what a Config sets: `size`, `mean`, `deviation`.

        Raises:
            RequestError: Mean or deviation have another number of values than the model has channels.
        """
        mean, deviation = tuple(config.mean) or self.mean, tuple(config.deviation) or self.deviation
        for name, values in (("mean", mean), ("deviation", deviation)):
            if len(values) not in (0, 1, self.channels):
                raise RequestError(
                    f"{encoder}.{name} = {values} has {len(values)} values, and the model reads {self.channels} "
                    f"channels; give one value, or {self.channels} with commas between"
                )
        if bool(mean) != bool(deviation):
            raise RequestError(f"{encoder}.mean and {encoder}.deviation go together; set both")
        size = (config.size, config.size) if config.size else self.size
        mean, deviation = (v * self.channels if len(v) == 1 else v for v in (mean, deviation))
        return replace(self, size=size, mean=mean, deviation=deviation)

    def in_digest(self, digest: str) -> str:
        """Return the SHA-256 of weights' digest and of all that is wanted here, so that keys know both."""
        return hashlib.sha256(f"{digest} {sorted(asdict(self).items())}".encode()).hexdigest()


class Reading(nn.Module):
    """First layer of a model from elsewhere: images (N, 1 or C, h, w) in [0, 1] -> (N, C, H, W), standardised."""

    def __init__(self, wanted: Wanted) -> None:
        """Keep what the model wants."""
        super().__init__()
        self.wanted = wanted
        self.standardize = Standardize(
            DataSpec(
                shape=(wanted.channels, *(wanted.size or (1, 1))),
                splits={"train": 1},
                mean=wanted.mean or None,
                std=wanted.deviation or None,
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        """Repeat gray, resize, standardise."""
        if images.shape[1] == 1:
            images = images.expand(-1, self.wanted.channels, -1, -1)
        size = self.wanted.size
        if size and tuple(images.shape[2:]) != size:
            images = F.interpolate(images, size, mode=self.wanted.interpolation, antialias=True, align_corners=False)
        standardized: Tensor = self.standardize(images)
        return standardized


def unreadable(data: DataSpec, channels: int = RGB) -> str | None:
    """Return the reason why a model of so many channels cannot read this data, or None."""
    if reason := image_skip_reason(data):
        return reason
    if data.shape[0] not in (1, channels):
        return f"the model reads images of {channels} channels, and these have {data.shape[0]}"
    return None


def as_features(output: Tensor) -> Tensor:
    """Return features (N, D) in float32: maps (N, D, h, w) are averaged over their positions."""
    return (output.flatten(2).mean(2) if output.ndim > 2 else output).float()


def as_map(output: Tensor) -> Tensor:
    """Return maps (N, D, h, w) as they are, and features (N, D) as a map of one location (N, D, 1)."""
    return output if output.ndim > 2 else output[:, :, None]
