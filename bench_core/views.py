"""Views: batched augmentation on the device, drawn for each image by itself.

    view = augment(images, rng, preset("simclr", data))

The operations are in `bench_core.image_ops`; here are their parameters, how these are drawn, and the papers'
presets.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench_core.contracts import DataSpec
from bench_core.errors import ConfigError
from bench_core.image_ops import affine, color_jitter, gaussian_blur, resized_crop, solarize, to_grayscale


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What may happen to an image on its way to a view; the default changes nothing.

    Attributes:
        affine_prob: Chance of the affine change, whose four parameters are drawn uniformly.
        rotation: Largest angle either way, degrees.
        translation: Largest shift either way along each axis, as a part of the side; not rounded to pixels.
        scaling: Smallest and largest magnification.
        shear: Largest shear either way along each axis, degrees.
        crop_scale: Smallest and largest part of the area that a random resized crop keeps; None for no crop.
        crop_ratio: Smallest and largest width / height of the crop's box, drawn uniformly in the logarithm.
        flip_prob: Chance of being mirrored left to right.
        jitter_prob: Chance of the colour jitter, its four operations in random order.
        jitter: Strengths of brightness, contrast and saturation (factors in [max(0, 1 - s), 1 + s]) and of
            hue (turns in [-s, s]). One channel has no saturation and no hue.
        gray_prob: Chance of losing the colours; of no effect unless there are three channels.
        blur_prob: Chance of Gaussian blur, with a kernel of a tenth of the side (`blur_kernel_size`).
        blur_sigma: Smallest and largest sigma, pixels.
        solarize_prob: Chance of inverting all values >= 1/2.
        noise: Standard deviation of the normal noise that is added to every value of every image.
        size: Side of the square views, pixels; None for the size of the images.

    Raises:
        ValueError: A value that cannot be, by name.
    """

    affine_prob: float = 0.0
    rotation: float = 0.0
    translation: float = 0.0
    scaling: tuple[float, float] = (1.0, 1.0)
    shear: float = 0.0
    crop_scale: tuple[float, float] | None = None
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_prob: float = 0.0
    jitter_prob: float = 0.0
    jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    gray_prob: float = 0.0
    blur_prob: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarize_prob: float = 0.0
    noise: float = 0.0
    size: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for name in ("affine_prob", "flip_prob", "jitter_prob", "gray_prob", "blur_prob", "solarize_prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        for name in ("scaling", "crop_scale", "crop_ratio", "blur_sigma"):
            low, high = getattr(self, name) or (1.0, 1.0)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be (low, high) with 0 < low <= high, got {getattr(self, name)}")
        if self.crop_scale is not None and self.crop_scale[1] > 1:
            raise ValueError(f"crop_scale must not exceed 1, got {self.crop_scale}")
        if min(self.jitter) < 0 or self.jitter[3] > 0.5:
            raise ValueError(f"jitter must be >= 0, and at most 0.5 for hue, got {self.jitter}")
        if self.noise < 0:
            raise ValueError(f"noise must be >= 0, got {self.noise}")


_SIMCLR = Augmentation(
    crop_scale=(0.08, 1.0), flip_prob=0.5, jitter_prob=0.8, jitter=(0.4, 0.4, 0.4, 0.1), gray_prob=0.2
)
_BYOL = replace(_SIMCLR, jitter=(0.4, 0.4, 0.2, 0.1))

PRESETS: dict[str, Augmentation] = {
    # Chen et al. 2020 (arXiv 2002.05709), appendix B.9: CIFAR-10, colour strength 0.5, no blur.
    "simclr": _SIMCLR,
    # The same, appendix A: ImageNet, colour strength 1, blur half the time.
    "simclr_imagenet": replace(_SIMCLR, jitter=(0.8, 0.8, 0.8, 0.2), blur_prob=0.5),
    # Park et al. 2021 (arXiv 2112.04014), the authors' code for CIFAR-10: SimCLR's.
    "nac": _SIMCLR,
    # Asano et al. 2020 (arXiv 1911.05371), the authors' code for CIFAR: always jitter, hue .4 too.
    "sela": Augmentation(
        crop_scale=(0.2, 1.0), flip_prob=0.5, jitter_prob=1.0, jitter=(0.4, 0.4, 0.4, 0.4), gray_prob=0.2
    ),
    # The same, main.py's augmentation level 3 for ImageNet: smaller crops.
    "sela_imagenet": Augmentation(
        crop_scale=(0.08, 1.0), flip_prob=0.5, jitter_prob=1.0, jitter=(0.4, 0.4, 0.4, 0.4), gray_prob=0.2
    ),
    # Chen and He 2021 (arXiv 2011.10566), appendix A, without its blur as appendix D says for CIFAR-10.
    "simsiam": replace(_SIMCLR, crop_scale=(0.2, 1.0)),
    # Grill et al. 2020 (arXiv 2006.07733), appendix B, table 6: T, and T' which solarizes; without their blur, as
    # solo-learn (9187ea3, scripts/pretrain/cifar/augmentations/asymmetric.yaml) trains BYOL on CIFAR.
    "byol": _BYOL,
    "byol_prime": replace(_BYOL, solarize_prob=0.2),
    # Ours, for digits and characters from 8x8 up: small changes of pose and noise; a mirrored 5 is not a 5.
    "glyph": Augmentation(
        affine_prob=1.0, rotation=15.0, translation=1 / 8, scaling=(0.85, 1.15), shear=10.0, noise=0.1
    ),
    # Butakov et al. 2025 (arXiv 2410.06993), MNIST, as a later paper of theirs reports it; cut to [0, 1] here.
    "noise": Augmentation(noise=0.2),
    # What fine-tuning on labels does in SimCLR's code (data.py at 711541f) and SwAV's (eval_semisup.py at 57eac59).
    "crop_flip": Augmentation(crop_scale=(0.08, 1.0), flip_prob=0.5),
    "none": Augmentation(),
}
_ANY_DATA = ("noise", "none")  # what they do keeps the meaning of glyphs, too


def check_preset(name: str) -> None:
    """ConfigError where there is no preset of this name; for a Config's own checks."""
    if name not in PRESETS:
        raise ConfigError(f"no augmentation preset named {name!r}. Known: {', '.join(sorted(PRESETS))}.")


def preset(name: str, data: DataSpec) -> Augmentation:
    """A preset by name, as far as it keeps the meaning of this data.

    Where `data.views` is "glyph", crops, mirroring and colour do not, and "glyph" stands in for every preset
    but "noise" and "none".

    Raises:
        ConfigError: No such preset; lists those that exist.
    """
    check_preset(name)
    return PRESETS["glyph" if data.views == "glyph" and name not in _ANY_DATA else name]


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
    with torch.autocast(images.device.type, enabled=False):
        images = _place(images, rng, augmentation, size or augmentation.size)
        images = _color(images, rng, augmentation)
        if augmentation.noise > 0:
            images = add_noise(images, augmentation.noise, rng)
    return images


def _place(images: Tensor, rng: torch.Generator, a: Augmentation, size: int | None) -> Tensor:
    """Affine, crop and flip: where each pixel comes from."""
    if a.affine_prob > 0:
        images = _sometimes(images, _affine(images, rng, a), a.affine_prob, rng)
    N, _, H, W = images.shape
    flip = _chance(N, a.flip_prob, rng) if a.flip_prob > 0 else None
    target = (size, size) if size else (H, W)
    if a.crop_scale is not None:
        box = draw_boxes(N, H, W, a.crop_scale, a.crop_ratio, rng)
        return resized_crop(images, *box, target, flip=flip)
    if target != (H, W):
        zero = torch.zeros(N, dtype=torch.long, device=rng.device)
        return resized_crop(images, zero, zero, zero + H, zero + W, target, flip=flip)
    return images if flip is None else torch.where(flip[:, None, None, None], images.flip(-1), images)


def _color(images: Tensor, rng: torch.Generator, a: Augmentation) -> Tensor:
    """Jitter, grey, blur and solarize: what each pixel becomes."""
    N, C, H, W = images.shape
    if a.jitter_prob > 0 and C in (1, 3):
        images = _sometimes(images, _jitter(images, rng, a), a.jitter_prob, rng)
    if a.gray_prob > 0 and C == 3:
        images = _sometimes(images, to_grayscale(images), a.gray_prob, rng)
    if a.blur_prob > 0:
        sigma = _uniform((N,), *a.blur_sigma, rng)
        blurred = gaussian_blur(images, sigma, blur_kernel_size(min(H, W)))
        images = _sometimes(images, blurred, a.blur_prob, rng)
    if a.solarize_prob > 0:
        images = _sometimes(images, solarize(images, 0.5), a.solarize_prob, rng)
    return images


def _affine(images: Tensor, rng: torch.Generator, a: Augmentation) -> Tensor:
    N, _, H, W = images.shape
    angle = _uniform((N,), -a.rotation, a.rotation, rng)
    x, y = (_uniform((N,), -a.translation * side, a.translation * side, rng) for side in (W, H))
    scale = _uniform((N,), *a.scaling, rng)
    return affine(images, angle, torch.stack((x, y), 1), scale, _uniform((N, 2), -a.shear, a.shear, rng))


def _jitter(images: Tensor, rng: torch.Generator, a: Augmentation) -> Tensor:
    N, *_, hue = len(images), *a.jitter
    factors = [_uniform((N,), max(0.0, 1.0 - s), 1.0 + s, rng) for s in a.jitter[:3]]
    factors.append(_uniform((N,), -hue, hue, rng))
    return color_jitter(images, torch.stack(factors, 1), _uniform((N, 4), 0.0, 1.0, rng).argsort(1))


def draw_boxes(
    n: int,
    height: int,
    width: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    rng: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes of random resized crops, distributed as torchvision's `RandomResizedCrop` draws them.

    The part of the area is uniform in `scale`, width / height log-uniform in `ratio`, sides are rounded. The first
    of ten tries that fits gets a uniform place; if none does, the largest allowed box in the middle is taken.

    Returns:
        top, left, height, width, each (n,) int64.
    """
    area = height * width * _uniform((n, 10), *scale, rng)
    aspect = _uniform((n, 10), math.log(ratio[0]), math.log(ratio[1]), rng).exp()
    h, w = (area / aspect).sqrt().round(), (area * aspect).sqrt().round()
    fits = (h > 0) & (h <= height) & (w > 0) & (w <= width)
    first = fits.int().argmax(1, keepdim=True)
    some = fits.any(1)
    h = torch.where(some, h.gather(1, first)[:, 0], min(height, round(width / ratio[0])))
    w = torch.where(some, w.gather(1, first)[:, 0], min(width, round(height * ratio[1])))
    top, left = ((side + 1) * _uniform((n,), 0.0, 1.0, rng) for side in (height - h, width - w))
    middle = (height - h) // 2, (width - w) // 2
    top, left = (torch.where(some, t.floor(), m) for t, m in zip((top, left), middle, strict=True))
    return top.long(), left.long(), h.long(), w.long()


def blur_kernel_size(side: int) -> int:
    """A tenth of the side, made odd, at least 3 (SimCLR's data_util.py: 23 for 224 pixels, 3 for 32)."""
    return 2 * max(1, side // 20) + 1


def add_noise(images: Tensor, std: float, rng: torch.Generator) -> Tensor:
    """Normal noise on every value, the result cut to [0, 1]."""
    noise = torch.randn(images.shape, generator=rng, device=images.device)
    return noise.mul_(std).add_(images).clamp_(0.0, 1.0)


def _sometimes(images: Tensor, changed: Tensor, probability: float, rng: torch.Generator) -> Tensor:
    """The changed image with this probability, else the image; drawn for each."""
    return torch.where(_chance(len(images), probability, rng)[:, None, None, None], changed, images)


def _chance(n: int, probability: float, rng: torch.Generator) -> Tensor:
    return _uniform((n,), 0.0, 1.0, rng) < probability


def _uniform(shape: tuple[int, ...], low: float, high: float, rng: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=rng, device=rng.device)
