"""Augmentations of published methods, by name.

    view = augment(images, rng, preset("simclr", data))

Each entry of `PRESETS` names its source. For digits and characters (`DataSpec.views` is "glyph") `preset` replaces
crops, mirroring and colour changes, which would change their meaning.
"""

from dataclasses import replace

from bench_core.contracts import DataSpec
from bench_core.errors import ConfigError
from bench_core.views.augmentation import Augmentation

_SIMCLR = Augmentation(
    crop_scale=(0.08, 1.0), flip_prob=0.5, jitter_prob=0.8, jitter=(0.4, 0.4, 0.4, 0.1), gray_prob=0.2
)
_BYOL = replace(_SIMCLR, jitter=(0.4, 0.4, 0.2, 0.1))

PRESETS: dict[str, Augmentation] = {
    # Chen et al. 2020 (arXiv 2002.05709), appendix B.9: CIFAR-10, colour strength 0.5, no blur.
    "simclr": _SIMCLR,
    # The same paper, appendix A: ImageNet, colour strength 1, blur with probability 1/2.
    "simclr_imagenet": replace(_SIMCLR, jitter=(0.8, 0.8, 0.8, 0.2), blur_prob=0.5),
    # Park et al. 2021 (arXiv 2112.04014), the authors' code for CIFAR-10: the same as SimCLR.
    "nac": _SIMCLR,
    # Asano et al. 2020 (arXiv 1911.05371), the authors' code for CIFAR: jitter with probability 1 and hue 0.4.
    "sela": Augmentation(
        crop_scale=(0.2, 1.0), flip_prob=0.5, jitter_prob=1.0, jitter=(0.4, 0.4, 0.4, 0.4), gray_prob=0.2
    ),
    # The same paper, level 3 of main.py's augmentations, for ImageNet: smaller crops.
    "sela_imagenet": Augmentation(
        crop_scale=(0.08, 1.0), flip_prob=0.5, jitter_prob=1.0, jitter=(0.4, 0.4, 0.4, 0.4), gray_prob=0.2
    ),
    # Chen and He 2021 (arXiv 2011.10566), appendix A; without blur, as appendix D says for CIFAR-10.
    "simsiam": replace(_SIMCLR, crop_scale=(0.2, 1.0)),
    # Grill et al. 2020 (arXiv 2006.07733), appendix B, table 6: T, and T' which solarizes. Without their blur, as
    # solo-learn (9187ea3, scripts/pretrain/cifar/augmentations/asymmetric.yaml) trains BYOL on CIFAR.
    "byol": _BYOL,
    "byol_prime": replace(_BYOL, solarize_prob=0.2),
    # Ours, for digits and characters from 8x8 up: small changes of pose and noise; a mirrored 5 is not a 5.
    "glyph": Augmentation(
        affine_prob=1.0, rotation=15.0, translation=1 / 8, scaling=(0.85, 1.15), shear=10.0, noise=0.1
    ),
    # Butakov et al. 2025 (arXiv 2410.06993), MNIST, as a later paper by them reports it; here values are cut to [0, 1].
    "noise": Augmentation(noise=0.2),
    # Fine-tuning on labels in SimCLR's code (data.py at 711541f) and SwAV's (eval_semisup.py at 57eac59).
    "crop_flip": Augmentation(crop_scale=(0.08, 1.0), flip_prob=0.5),
    "none": Augmentation(),
}
_KEEP_GLYPHS = ("noise", "none")  # presets that keep the meaning of digits and characters


def check_preset(name: str) -> None:
    """Raise ConfigError unless there is a preset of this name; for the `__post_init__` of a Config."""
    if name not in PRESETS:
        raise ConfigError(f"no augmentation preset named {name!r}. Known: {', '.join(sorted(PRESETS))}.")


def preset(name: str, data: DataSpec) -> Augmentation:
    """Return a preset by name, or "glyph" in its place if it would change the meaning of the images.

    If `data.views` is "glyph", only the presets "noise" and "none" are used as they are.

    Raises:
        ConfigError: There is no such preset; the message lists all presets.
    """
    check_preset(name)
    return PRESETS["glyph" if data.views == "glyph" and name not in _KEEP_GLYPHS else name]
