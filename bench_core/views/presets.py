"""Augmentations of published methods, by name.

    view = augment(images, rng, preset("simclr", data))

Each entry of `PRESETS` names its source. For digits and characters (`DataSpec.views` is "glyph") `preset` replaces
crops, mirroring and colour changes, which would change their meaning. For images of bands ("bands") it replaces the
colour changes.

The name of a preset may end in changes to take away, for studies of what each contributes: "simclr-crop" is the preset
"simclr" without its crop, "simclr-crop-flip" the same without its mirroring.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bench_core.contracts import DataSpec
from bench_core.errors import ConfigError, did_you_mean
from bench_core.ranges import Choices
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
# Probability of dropping a band, beside the other changes of colour. Ours: SSL4EO-S12's code (zhu-xlab/SSL4EO-S12 at
# 2156913, rs_transforms_float32.py) has a drop of 1 to 8 bands, which its pretraining leaves out.
_BAND_DROP = 0.1

_TAKEN_AWAY: Mapping[str, Mapping[str, Any]] = {  # name of a change -> the fields of an augmentation without it
    "affine": {"affine_prob": 0.0},
    "crop": {"crop_scale": None},
    "flip": {"flip_prob": 0.0},
    "jitter": {"jitter_prob": 0.0},
    "gray": {"gray_prob": 0.0},
    "blur": {"blur_prob": 0.0},
    "solarize": {"solarize_prob": 0.0},
    "noise": {"noise": 0.0},
    "drop": {"band_drop_prob": 0.0},
}


def check_preset(name: str) -> None:
    """Raise ConfigError unless there is a preset of this name, with changes that it has; for a Config's own check."""
    base, *taken_away = name.split("-")
    if base not in PRESETS:
        raise ConfigError(f"no augmentation preset named {base!r}. Known: {', '.join(sorted(PRESETS))}.")
    if reason := _why_not(base, taken_away):
        raise ConfigError(f"no augmentation preset named {name!r}: {reason}.")


def preset(name: str, data: DataSpec) -> Augmentation:
    """Return a preset by name, changed where it would change the meaning of the images.

    If `data.views` is "glyph", only the presets "noise" and "none" are used as they are, and "glyph" takes the place of
    all others. If it is "bands", brightness and contrast change by the mean of the bands, grey is this mean, there is
    neither saturation nor hue, and bands are dropped at random; a preset that changes no colours stays as it is.

    Args:
        name: Name of a preset, which may end in changes to take away: "simclr-crop".
        data: Description of the images.

    Raises:
        ConfigError: There is no such preset, or a change that is taken away does not happen to these images, so that
            a comparison with and without it would compare the same views.
    """
    check_preset(name)
    base, *taken_away = name.split("-")
    used = "glyph" if data.views == "glyph" and base not in _KEEP_GLYPHS else base
    augmentation = _for_bands(PRESETS[used]) if data.views == "bands" else PRESETS[used]
    happens = _changes(augmentation, data.shape[0] if data.is_image else 3)
    for change in taken_away:
        if change not in happens:
            instead = f", where {used!r} takes the place of {base!r}" if used != base else ""
            raise ConfigError(
                f"{name}: there is no {change!r} to take away on {data.name or 'data'} with views "
                f"{data.views!r}{instead}. Changes there: {', '.join(happens) or 'none'}."
            )
        augmentation = replace(augmentation, **_TAKEN_AWAY[change])
    return augmentation


def used_preset(name: str, data: DataSpec) -> str:
    """Return the name of the preset that `preset` returns, for a protocol: "simclr", "glyph", "simclr for bands"."""
    base, *taken_away = name.split("-")
    if data.views == "glyph" and base not in _KEEP_GLYPHS:
        return "-".join(("glyph", *taken_away))
    for_bands = data.views == "bands" and _for_bands(PRESETS[base]) != PRESETS[base]
    return f"{name} for bands" if for_bands else name


def _for_bands(augmentation: Augmentation) -> Augmentation:
    """Replace the colour changes by those of bands; an augmentation without any stays as it is."""
    if augmentation.jitter_prob == augmentation.gray_prob == 0:
        return augmentation
    return replace(augmentation, bands=True, band_drop_prob=_BAND_DROP)


def _changes(augmentation: Augmentation, channels: int) -> list[str]:
    """Return the names of the changes that may happen to images of so many channels."""
    ignored = set[str]()
    if channels == 1:
        ignored = {"gray", "drop"}  # the only band always stays
    elif channels != 3 and not augmentation.bands:
        ignored = {"gray", "jitter"}
    return [
        change
        for change, without in _TAKEN_AWAY.items()
        if replace(augmentation, **without) != augmentation and change not in ignored
    ]


def _why_not(base: str, taken_away: list[str]) -> str | None:
    """Say why changes cannot be taken away from a preset on any data; None if they can."""
    changes = _changes(_for_bands(PRESETS[base]), 3)
    for change in taken_away:
        if change not in _TAKEN_AWAY:
            return f"there is no change {change!r} to take away{did_you_mean(change, changes)} {_has(base, changes)}"
        if change not in changes:
            return f"{base!r} has no {change!r} to take away; {_has(base, changes)}"
    return None


def _has(base: str, changes: list[str]) -> str:
    return f"{base!r} has {', '.join(changes) or 'no change'}"


def _why_no_choice(name: object) -> str | None:
    """Say why a value names no preset; "" where it has no changes to take away, so that the list of presets says it."""
    if not isinstance(name, str):
        return ""
    base, *taken_away = name.split("-")
    return _why_not(base, taken_away) if base in PRESETS else ""


# For `param(choices=PRESET_NAMES)`: the presets, and each of them without some of its changes.
PRESET_NAMES = Choices(tuple(PRESETS), _why_no_choice)
