"""Random boxes of crops, and the ranges of an Augmentation."""

from typing import Any

import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop

from bench_core.views import Augmentation, augment, draw_boxes
from bench_core.views.augmentation import draw


@pytest.mark.parametrize(
    ("height", "width", "scale", "ratio"),
    [
        (32, 32, (0.08, 1.0), (3 / 4, 4 / 3)),
        (96, 64, (0.2, 1.0), (3 / 4, 4 / 3)),
        (8, 8, (0.08, 1.0), (3 / 4, 4 / 3)),
        (16, 64, (0.3, 0.9), (1 / 2, 2.0)),  # many candidates do not fit
    ],
)
def test_boxes_have_the_distribution_of_torchvision(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    n = 3000
    ours = torch.stack(draw_boxes(n, height, width, scale, ratio, torch.Generator().manual_seed(0)), 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        image = torch.empty(1, height, width)
        theirs = torch.tensor([RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(n)])
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, 2:] > 0).all()
    assert (ours[:, :2] + ours[:, 2:] <= torch.tensor([height, width])).all()
    for column in range(4):
        assert ks_2samp(ours[:, column].numpy(), theirs[:, column].numpy()).pvalue > 1e-3
    area, their_area = ((boxes[:, 2] * boxes[:, 3]).numpy() for boxes in (ours, theirs))
    assert ks_2samp(area, their_area).pvalue > 1e-3


@pytest.mark.parametrize(("height", "width"), [(8, 64), (64, 8), (40, 40)])
def test_boxes_that_never_fit_are_in_the_middle_as_in_torchvision(height: int, width: int) -> None:
    scale, ratio = (3.0, 4.0), (0.9, 1.1)
    theirs = RandomResizedCrop.get_params(torch.empty(1, height, width), list(scale), list(ratio))
    ours = torch.stack(draw_boxes(5, height, width, scale, ratio, torch.Generator().manual_seed(0)), 1)
    assert ours.tolist() == [list(theirs)] * 5


@pytest.mark.parametrize(
    "values",
    [
        {"flip_prob": 1.5},
        {"crop_scale": (0.5, 1.2)},
        {"crop_ratio": (2.0, 1.0)},
        {"blur_sigma": (0.0, 1.0)},
        {"jitter": (0.4, 0.4, 0.4, 0.6)},
        {"jitter": (-0.1, 0.4, 0.4, 0.1)},
        {"noise": -0.1},
        {"band_drop_prob": -0.1},
    ],
)
def test_augmentation_out_of_range_is_refused_by_name(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        Augmentation(**values)


@pytest.mark.parametrize(
    ("augmentation", "drawn"),
    [
        (Augmentation(), set()),
        (Augmentation(affine_prob=0.5), {"affine"}),
        (Augmentation(flip_prob=0.5), {"flip"}),
        (Augmentation(crop_scale=(0.5, 1.0)), {"box"}),
        (Augmentation(jitter_prob=0.5), {"jitter"}),
        (Augmentation(gray_prob=0.5), {"gray"}),
        (Augmentation(blur_prob=0.5), {"blur"}),
        (Augmentation(solarize_prob=0.5), {"solarize"}),
        (Augmentation(noise=0.5), {"noise"}),
        (Augmentation(band_drop_prob=0.5), {"band_drop"}),
        (Augmentation(jitter_prob=0.5, gray_prob=0.5, bands=True), {"band_jitter", "band_gray"}),
    ],
)
def test_each_change_is_drawn_where_it_may_happen(augmentation: Augmentation, drawn: set[str]) -> None:
    draws = draw((4, 3, 8, 8), torch.Generator().manual_seed(0), augmentation, (8, 8))
    assert {name for name, value in draws._asdict().items() if value is not None} == drawn


@pytest.mark.parametrize(("channels", "drawn"), [(1, {"jitter"}), (2, set()), (3, {"jitter", "gray"})])
def test_colours_are_drawn_for_images_that_have_them(channels: int, drawn: set[str]) -> None:
    colours = Augmentation(jitter_prob=0.5, gray_prob=0.5)
    draws = draw((4, channels, 8, 8), torch.Generator().manual_seed(0), colours, (8, 8))
    assert {name for name, value in draws._asdict().items() if value is not None} == drawn


@pytest.mark.parametrize("channels", [1, 3, 12])
def test_colours_of_bands_are_drawn_for_any_number_of_them(channels: int) -> None:
    colours = Augmentation(jitter_prob=0.5, gray_prob=0.5, band_drop_prob=0.1, bands=True)
    draws = draw((4, channels, 8, 8), torch.Generator().manual_seed(0), colours, (8, 8))
    drawn = {name for name, value in draws._asdict().items() if value is not None}
    assert drawn == {"band_jitter", "band_gray", "band_drop"}


def test_bands_are_dropped_with_the_probability_of_each_and_one_always_stays() -> None:
    generator = torch.Generator().manual_seed(0)
    for channels, expected in ((12, 0.3), (2, 0.3 * (1 - 0.3 / 2))):  # of two, both would go with 0.3 squared
        draws = draw((4000, channels, 2, 2), generator, Augmentation(band_drop_prob=0.3), (2, 2))
        assert draws.band_drop is not None
        assert draws.band_drop.float().mean() == pytest.approx(expected, abs=0.015)
        assert not draws.band_drop.all(1).any()
    certain = draw((100, 5, 2, 2), generator, Augmentation(band_drop_prob=1.0), (2, 2)).band_drop
    assert certain is not None
    assert certain.sum(1).tolist() == [4] * 100


def test_draws_of_bands_come_after_all_others() -> None:
    """So that an augmentation with a drop of bands makes the same views as without, but for the drop."""
    plain = Augmentation(flip_prob=0.5, crop_scale=(0.2, 1.0), blur_prob=0.5, noise=0.1)
    dropping = Augmentation(flip_prob=0.5, crop_scale=(0.2, 1.0), blur_prob=0.5, noise=0.1, band_drop_prob=0.5)
    images = torch.rand(20, 6, 8, 8, generator=torch.Generator().manual_seed(1))
    whole, some = (augment(images, torch.Generator().manual_seed(0), each) for each in (plain, dropping))
    dropped = (some == 0).flatten(2).all(2)
    assert 0 < dropped.sum() < dropped.numel()
    assert torch.equal(some[~dropped], whole[~dropped])
