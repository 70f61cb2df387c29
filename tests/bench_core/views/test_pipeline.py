import dataclasses
import itertools
from collections import Counter
from typing import Any

import pytest
import torch
from scipy.stats import ks_2samp
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._pytree import tree_map_only
from torchvision.transforms import RandomResizedCrop

from bench_core.contracts import DataSpec
from bench_core.errors import ConfigError
from bench_core.views import (
    PRESETS,
    Augmentation,
    augment,
    compiled,
    draw_boxes,
    image_ops,
    preset,
)
from bench_core.views import pipeline as views
from bench_core.views.augmentation import draw
from bench_core.views.pipeline import apply, blur_kernel_size

NATURAL = DataSpec(shape=(3, 32, 32), splits={"train": 1})
GLYPHS = DataSpec(shape=(1, 8, 8), splits={"train": 1}, views="glyph")
EVERYTHING = Augmentation(
    affine_prob=0.5, rotation=30.0, translation=0.2, scaling=(0.8, 1.2), shear=10.0,
    crop_scale=(0.2, 1.0), flip_prob=0.5, jitter_prob=0.8, jitter=(0.4, 0.4, 0.4, 0.1),
    gray_prob=0.2, blur_prob=0.5, solarize_prob=0.2, noise=0.05,
)  # fmt: skip


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=rng(7))


def one_image(n: int, *shape: int) -> Tensor:
    return some_images(1, *shape).repeat(n, 1, 1, 1)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 24, 17), (4, 8, 8)])
def test_every_preset_gives_views_of_the_same_shape_in_range(name: str, shape: tuple[int, ...]) -> None:
    images = some_images(16, *shape)
    view = augment(images, rng(), PRESETS[name])
    assert view.shape == images.shape
    assert view.dtype == torch.float32
    assert view.min() >= 0
    assert view.max() <= 1


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_but_none_changes_every_image_at_some_time(name: str) -> None:
    images = some_images(8, 3, 16, 16)
    generator = rng()
    changed = torch.zeros(8, dtype=torch.bool)
    for _ in range(4):
        changed |= (augment(images, generator, PRESETS[name]) != images).flatten(1).any(1)
    assert changed.all() == (name != "none")


def test_the_same_seed_gives_the_same_views_and_the_next_call_others() -> None:
    images = some_images(8, 3, 16, 16)
    generator = rng()
    first, second = augment(images, generator, EVERYTHING), augment(images, generator, EVERYTHING)
    assert torch.equal(first, augment(images, rng(), EVERYTHING))
    assert not torch.equal(first, second)


def test_equal_images_in_a_batch_get_different_views() -> None:
    view = augment(one_image(32, 3, 16, 16), rng(), PRESETS["simclr"])
    assert len({tuple(v) for v in view.flatten(1).tolist()}) == 32


def test_a_view_does_not_depend_on_the_other_images_of_the_batch() -> None:
    images = some_images(8, 3, 16, 16)
    others = torch.cat((images[:1], images[1:].flip(0) / 2))
    view, other_view = (augment(i, rng(), EVERYTHING)[0] for i in (images, others))
    torch.testing.assert_close(view, other_view)


def test_images_and_the_global_generator_stay_as_they_were() -> None:
    images = some_images(8, 3, 16, 16)
    before, state = images.clone(), torch.get_rng_state()
    augment(images, rng(), EVERYTHING)
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_views_are_the_same_under_autocast_and_in_channels_last() -> None:
    images = some_images(8, 3, 16, 16)
    plain = augment(images, rng(), EVERYTHING)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = augment(images, rng(), EVERYTHING)
    assert torch.equal(cast, plain)
    last = augment(images.contiguous(memory_format=torch.channels_last), rng(), EVERYTHING)
    torch.testing.assert_close(last, plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", PRESETS)
def test_another_size_may_be_asked_for(name: str) -> None:
    images = some_images(4, 3, 16, 20)
    assert augment(images, rng(), PRESETS[name], size=12).shape == (4, 3, 12, 12)
    sized = dataclasses.replace(PRESETS[name], size=24)
    assert augment(images, rng(), sized).shape == (4, 3, 24, 24)
    assert augment(images, rng(), sized, size=12).shape == (4, 3, 12, 12)


def test_resizing_without_a_crop_keeps_the_whole_image() -> None:
    ramp = torch.linspace(0, 1, 16).expand(2, 1, 16, 16)
    half = augment(ramp, rng(), PRESETS["none"], size=8)
    torch.testing.assert_close(half[0, 0, 0, 1:-1], (ramp[0, 0, 0, 2:-2:2] + ramp[0, 0, 0, 3:-2:2]) / 2)


def test_half_of_the_images_are_flipped_and_the_others_untouched() -> None:
    images = one_image(4000, 1, 2, 2)
    view = augment(images, rng(), Augmentation(flip_prob=0.5))
    flipped = (view == images.flip(-1)).flatten(1).all(1)
    assert torch.equal(view[~flipped], images[~flipped])
    assert abs(flipped.float().mean() - 0.5) < 4 * 0.5 / 4000**0.5


@pytest.mark.parametrize(
    ("change", "probability"),
    [
        (Augmentation(jitter_prob=0.8, jitter=(0.4, 0.4, 0.4, 0.1)), 0.8),
        (Augmentation(gray_prob=0.2), 0.2),
        (Augmentation(blur_prob=0.5, blur_sigma=(1.0, 2.0)), 0.5),
        (Augmentation(solarize_prob=0.2), 0.2),
        (Augmentation(affine_prob=0.3, rotation=20.0), 0.3),
        (Augmentation(noise=0.1), 1.0),
    ],
)
def test_each_change_comes_as_often_as_it_should(change: Augmentation, probability: float) -> None:
    images = one_image(2000, 3, 8, 8)
    changed = (augment(images, rng(), change) != images).flatten(1).any(1).float().mean()
    assert abs(changed - probability) <= 4 * (probability * (1 - probability) / 2000) ** 0.5


def test_noise_has_its_standard_deviation_where_nothing_is_cut() -> None:
    view = augment(torch.full((100, 1, 16, 16), 0.5), rng(), Augmentation(noise=0.1))
    assert abs(view.std().item() - 0.1) < 0.002
    assert abs(view.mean().item() - 0.5) < 0.002


@pytest.mark.parametrize(
    ("height", "width", "scale", "ratio"),
    [
        (32, 32, (0.08, 1.0), (3 / 4, 4 / 3)),
        (96, 64, (0.2, 1.0), (3 / 4, 4 / 3)),
        (8, 8, (0.08, 1.0), (3 / 4, 4 / 3)),
        (16, 64, (0.3, 0.9), (1 / 2, 2.0)),  # many tries do not fit
    ],
)
def test_boxes_are_distributed_as_torchvision_draws_them(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    n = 3000
    ours = torch.stack(draw_boxes(n, height, width, scale, ratio, rng()), 1)
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
def test_boxes_that_never_fit_fall_back_to_torchvision_s_middle(height: int, width: int) -> None:
    scale, ratio = (3.0, 4.0), (0.9, 1.1)
    theirs = RandomResizedCrop.get_params(torch.empty(1, height, width), list(scale), list(ratio))
    ours = torch.stack(draw_boxes(5, height, width, scale, ratio, rng()), 1)
    assert ours.tolist() == [list(theirs)] * 5


def test_jitter_draws_every_order_and_fills_the_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Tensor] = []

    def spy(images: Tensor, factors: Tensor, order: Tensor, chosen: Tensor) -> Tensor:
        drawn.extend((factors, order))
        return images

    monkeypatch.setattr(views, "color_jitter", spy)
    augment(some_images(5000, 3, 1, 1), rng(), Augmentation(jitter_prob=1.0, jitter=(0.4, 0.2, 1.5, 0.1)))
    factors, order = drawn
    counts = Counter(map(tuple, order.tolist()))
    assert set(counts) == set(itertools.permutations(range(4)))
    assert all(abs(count - 5000 / 24) < 4 * (5000 / 24) ** 0.5 for count in counts.values())
    for column, (low, high) in enumerate(((0.6, 1.4), (0.8, 1.2), (0.0, 2.5), (-0.1, 0.1))):
        near = 0.01 * (high - low)
        assert low <= factors[:, column].min() < low + near
        assert high - near < factors[:, column].max() <= high


def test_affine_draws_fill_their_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Tensor] = []

    def spy(images: Tensor, angle: Tensor, translate: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
        drawn.extend((angle, *translate.unbind(1), scale, *shear.unbind(1)))
        return images

    monkeypatch.setattr(views, "affine", spy)
    augment(some_images(2000, 1, 8, 16), rng(), PRESETS["glyph"])
    ranges = ((-15, 15), (-2, 2), (-1, 1), (0.85, 1.15), (-10, 10), (-10, 10))
    for values, (low, high) in zip(drawn, ranges, strict=True):
        near = 0.01 * (high - low)
        assert low <= values.min() < low + near
        assert high - near < values.max() <= high


@pytest.mark.parametrize(
    "augmentation", [PRESETS["simclr"], PRESETS["sela"], EVERYTHING], ids=["simclr", "sela", "all"]
)
@pytest.mark.parametrize("shape", [(33, 3, 32, 32), (9, 1, 8, 8), (1, 3, 16, 12)])
def test_leaving_out_what_changes_nothing_changes_no_bit(
    augmentation: Augmentation, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = torch.seed()  # other images and draws each time
    images = torch.rand(shape, generator=rng(seed))
    sorted_by_draw = augment(images, rng(seed + 1), augmentation)
    for module in (views, image_ops):
        monkeypatch.setattr(module, "may_wait", lambda images: False)
    assert torch.equal(sorted_by_draw, augment(images, rng(seed + 1), augmentation)), seed


@pytest.mark.parametrize("size", [(16, 16), (20, 24), (32, 32)])
@pytest.mark.parametrize("augmentation", [PRESETS["simclr"], EVERYTHING], ids=["simclr", "all"])
def test_applying_draws_is_one_graph_of_the_same_values(augmentation: Augmentation, size: tuple[int, int]) -> None:
    torch.compiler.reset()
    graph = torch.compile(apply, backend="eager", fullgraph=True, dynamic=False)
    seed = torch.seed()
    images = torch.rand(33, 3, 20, 24, generator=rng(seed))
    draws = draw(images.shape, rng(seed + 1), augmentation, size)
    torch.testing.assert_close(
        graph(images, draws, size), apply(images, draws, size), atol=1e-5, rtol=0, msg=lambda m: f"{m} of seed {seed}"
    )


def test_applying_draws_on_an_accelerator_never_asks_for_a_value() -> None:
    """Tensors without values stand for the device's: whatever needs one to go on raises."""
    draws = draw((8, 3, 16, 16), rng(), EVERYTHING, (16, 16))
    with FakeTensorMode(allow_non_fake_inputs=True):
        on_device = tree_map_only(Tensor, lambda t: torch.empty(t.shape, dtype=t.dtype, device="cuda"), draws)
        view = apply(torch.empty(8, 3, 16, 16, device="cuda"), on_device, (16, 16))
    assert (view.shape, view.device.type) == ((8, 3, 16, 16), "cuda")


def test_compiled_draws_what_is_drawn_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = list[Any]()

    def spy(*args: Any) -> Tensor:
        calls.append(args)
        return apply(*args)

    monkeypatch.setattr(views, "_compiled", lambda: spy)
    images = some_images(8, 3, 16, 16)
    plain = augment(images, rng(), EVERYTHING)
    with compiled():
        assert torch.equal(augment(images, rng(), EVERYTHING), plain)
    assert len(calls) == 1
    augment(images, rng(), EVERYTHING)
    assert len(calls) == 1


def test_blur_kernels_are_those_of_simclr() -> None:
    assert [blur_kernel_size(side) for side in (8, 32, 96, 224)] == [3, 3, 9, 23]


def test_a_preset_is_taken_by_name() -> None:
    assert preset("simclr", NATURAL) == PRESETS["simclr"]
    assert PRESETS["simclr"].jitter == (0.4, 0.4, 0.4, 0.1)
    assert PRESETS["simclr"].blur_prob == 0
    assert PRESETS["simclr_imagenet"].jitter == (0.8, 0.8, 0.8, 0.2)
    assert dataclasses.replace(PRESETS["simsiam"], crop_scale=(0.08, 1.0)) == PRESETS["simclr"]
    assert dataclasses.replace(PRESETS["byol_prime"], solarize_prob=0.0) == PRESETS["byol"]
    assert PRESETS["byol"].jitter == (0.4, 0.4, 0.2, 0.1)


@pytest.mark.parametrize("name", PRESETS)
def test_glyphs_keep_their_meaning_under_every_preset(name: str) -> None:
    augmentation = preset(name, GLYPHS)
    assert augmentation == PRESETS[name if name in ("noise", "none") else "glyph"]
    assert augmentation.flip_prob == 0


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"no augmentation preset named 'simclrr'. Known: byol, .*, glyph, .*, simclr, "
    ):
        preset("simclrr", NATURAL)


@pytest.mark.parametrize("images", [torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(3, 8, 8)])
def test_what_is_not_a_float32_batch_is_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"augment needs float32 images \(N, C, H, W\) in \[0, 1\], got torch"):
        augment(images, rng(), PRESETS["simclr"])


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
    ],
)
def test_an_augmentation_that_cannot_be_is_refused_by_name(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        Augmentation(**values)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", PRESETS)
def test_nothing_waits_for_the_gpu(name: str) -> None:
    images = some_images(16, 3, 32, 32).cuda()
    generator = torch.Generator(device="cuda").manual_seed(0)
    augment(images, generator, PRESETS[name])  # libraries set themselves up on first use
    torch.cuda.set_sync_debug_mode("error")
    try:
        view = augment(images, generator, PRESETS[name], size=24)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert view.is_cuda
    assert view.shape == (16, 3, 24, 24)
