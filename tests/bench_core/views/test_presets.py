"""Augmentations of papers by name, and their replacement for digits and characters."""

import dataclasses

import pytest
import torch

from bench_core.contracts import DataSpec
from bench_core.errors import ConfigError
from bench_core.views import PRESETS, augment, preset

NATURAL = DataSpec(shape=(3, 32, 32), splits={"train": 1})
GLYPHS = DataSpec(shape=(1, 8, 8), splits={"train": 1}, views="glyph")


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
