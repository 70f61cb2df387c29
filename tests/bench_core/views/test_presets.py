"""Augmentations of papers by name, and their replacement for digits and characters."""

import dataclasses

import pytest
import torch

from bench_core.config import Config, build, param
from bench_core.contracts import DataSpec
from bench_core.errors import ConfigError
from bench_core.views import PRESET_NAMES, PRESETS, augment, check_preset, preset, used_preset

NATURAL = DataSpec(shape=(3, 32, 32), splits={"train": 1})
GLYPHS = DataSpec(shape=(1, 8, 8), splits={"train": 1}, views="glyph")
BANDS = DataSpec(shape=(12, 16, 16), splits={"train": 1}, views="bands")
CHANGES = ("affine", "crop", "flip", "jitter", "gray", "blur", "solarize", "noise", "drop")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Views(Config):
    augmentation: str = param("simclr", "preset of the views", "ours", choices=PRESET_NAMES)


def test_presets_have_the_values_of_their_papers() -> None:
    assert preset("simclr", NATURAL) == PRESETS["simclr"]
    assert PRESETS["simclr"].jitter == (0.4, 0.4, 0.4, 0.1)
    assert PRESETS["simclr"].blur_prob == 0
    assert PRESETS["simclr_imagenet"].jitter == (0.8, 0.8, 0.8, 0.2)
    assert dataclasses.replace(PRESETS["simsiam"], crop_scale=(0.08, 1.0)) == PRESETS["simclr"]
    assert dataclasses.replace(PRESETS["byol_prime"], solarize_prob=0.0) == PRESETS["byol"]
    assert PRESETS["byol"].jitter == (0.4, 0.4, 0.2, 0.1)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_that_change_the_meaning_of_glyphs_are_replaced(name: str) -> None:
    augmentation = preset(name, GLYPHS)
    assert augmentation == PRESETS[name if name in ("noise", "none") else "glyph"]
    assert augmentation.flip_prob == 0


def test_error_for_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"no augmentation preset named 'simclrr'. Known: byol, .*, glyph, .*, simclr, "
    ):
        preset("simclrr", NATURAL)


@pytest.mark.parametrize("channels", [2, 5])
@pytest.mark.parametrize("name", PRESETS)
def test_presets_change_images_of_any_number_of_bands_and_leave_colours_alone(name: str, channels: int) -> None:
    """Beside the same preset without its colour changes, which gives the same views."""
    data = dataclasses.replace(NATURAL, shape=(channels, 16, 16))
    images = torch.rand(6, channels, 16, 16, generator=torch.Generator().manual_seed(0))
    whole = preset(name, data)
    colourless = dataclasses.replace(whole, jitter_prob=0.0, gray_prob=0.0)
    views = [augment(images, torch.Generator().manual_seed(1), each) for each in (whole, colourless)]
    assert views[0].shape == images.shape
    assert 0 <= float(views[0].min()) <= float(views[0].max()) <= 1
    assert torch.equal(views[0], views[1])
    assert torch.equal(views[0], images) == (name == "none")


def test_presets_of_bands_have_brightness_contrast_grey_and_drop_in_the_place_of_colours() -> None:
    augmentation = preset("simclr", BANDS)
    assert augmentation == dataclasses.replace(PRESETS["simclr"], bands=True, band_drop_prob=0.1)
    images = torch.rand(200, 12, 8, 8, generator=torch.Generator().manual_seed(0))
    colours = dataclasses.replace(augmentation, crop_scale=None, flip_prob=0.0, gray_prob=0.0)
    views = augment(images, torch.Generator().manual_seed(1), colours)
    dropped = (views == 0).flatten(2).all(2)
    assert dropped.float().mean() == pytest.approx(0.1, abs=0.02)
    jittered = (views != images).flatten(2).any(2)[~dropped].float().mean()
    assert jittered == pytest.approx(0.8, abs=0.1)
    grey = dataclasses.replace(colours, jitter_prob=0.0, gray_prob=1.0, band_drop_prob=0.0)
    expected = images.mean(1, keepdim=True).expand_as(images)
    torch.testing.assert_close(augment(images, torch.Generator(), grey), expected)


@pytest.mark.parametrize("name", ["none", "noise", "crop_flip", "glyph"])
def test_presets_without_colour_changes_are_the_same_for_bands(name: str) -> None:
    assert preset(name, BANDS) == PRESETS[name]
    assert used_preset(name, BANDS) == name


def test_three_bands_are_bands_and_no_colours() -> None:
    augmentation = preset("sela", dataclasses.replace(BANDS, shape=(3, 8, 8)))
    assert augmentation.bands
    assert not PRESETS["sela"].bands


def test_a_change_is_taken_away_and_the_others_stay() -> None:
    whole = PRESETS["simclr_imagenet"]
    assert preset("simclr_imagenet-crop", NATURAL) == dataclasses.replace(whole, crop_scale=None)
    assert preset("simclr_imagenet-blur-jitter", NATURAL) == dataclasses.replace(whole, blur_prob=0.0, jitter_prob=0.0)
    assert preset("simclr-drop", BANDS) == dataclasses.replace(PRESETS["simclr"], bands=True)
    assert preset("glyph-affine", GLYPHS) == dataclasses.replace(PRESETS["glyph"], affine_prob=0.0)
    assert preset("glyph-affine-noise", GLYPHS).affine_prob == 0


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_without_all_its_changes_leaves_images_alone(name: str) -> None:
    changes = [change for change in CHANGES if f"{name}-{change}" in PRESET_NAMES]
    images = torch.rand(8, 12, 16, 16, generator=torch.Generator().manual_seed(0))
    nothing = preset("-".join([name, *changes]), BANDS)
    assert torch.equal(augment(images, torch.Generator().manual_seed(1), nothing), images)
    assert len(changes) == {"none": 0, "noise": 1, "glyph": 2, "crop_flip": 2}.get(name, len(changes))


def test_a_preset_with_and_without_a_change_is_a_choice_and_only_presets_are_listed() -> None:
    assert build(Views, {"augmentation": "simclr-crop"}, "simclr").augmentation == "simclr-crop"
    assert list(PRESET_NAMES) == list(PRESETS)
    assert len(PRESET_NAMES) == len(PRESETS)
    assert str(dataclasses.fields(Views)[0].metadata["range"]) == f"one of {', '.join(map(repr, PRESETS))}"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "simclr-crops",
            r"no change 'crops' to take away; did you mean 'crop'\? 'simclr' has crop, flip, jitter, gray",
        ),
        ("simclr-blur", "'simclr' has no 'blur' to take away; 'simclr' has crop, flip, jitter, gray, drop"),
        ("none-crop", "'none' has no 'crop' to take away; 'none' has no change"),
        ("simclr-", "there is no change '' to take away"),
    ],
)
def test_a_change_that_a_preset_does_not_have_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_preset(name)
    with pytest.raises(ConfigError, match=rf"augmentation must be one of .*'none', got '{name}': .*{message}"):
        build(Views, {"augmentation": name}, "simclr")
    assert name not in PRESET_NAMES


@pytest.mark.parametrize("value", ["simclrr", "simclrr-crop"])
def test_an_unknown_preset_is_refused_with_the_list(value: str) -> None:
    with pytest.raises(ConfigError, match=rf"augmentation must be one of 'simclr', .*'none', got '{value}'$"):
        build(Views, {"augmentation": value}, "simclr")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("simclr-drop", NATURAL, "no 'drop' to take away on data with views 'natural'. Changes there: crop, flip, ji"),
        (
            "simclr-crop",
            GLYPHS,
            "on data with views 'glyph', where 'glyph' takes the place of 'simclr'. Changes there: a",
        ),
        ("simclr-jitter", dataclasses.replace(NATURAL, shape=(5, 8, 8)), "Changes there: crop, flip."),
        ("simclr-gray", dataclasses.replace(BANDS, shape=(1, 8, 8)), "Changes there: crop, flip, jitter."),
    ],
)
def test_a_change_that_does_not_happen_to_the_images_is_refused(name: str, data: DataSpec, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        preset(name, data)


def test_the_preset_that_is_used_has_a_name_for_protocols() -> None:
    assert used_preset("simclr", NATURAL) == "simclr"
    assert used_preset("simclr-crop", NATURAL) == "simclr-crop"
    assert used_preset("simclr", GLYPHS) == "glyph"
    assert used_preset("noise", GLYPHS) == "noise"
    assert used_preset("simclr-crop", BANDS) == "simclr-crop for bands"
