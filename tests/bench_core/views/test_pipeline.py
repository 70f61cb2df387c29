"""`augment`: shapes and ranges of views, probabilities of changes, random draws, compiled graphs."""

import dataclasses
import itertools
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._pytree import tree_map_only

from bench_core.views import (
    PRESETS,
    Augmentation,
    augment,
    compiled,
    image_ops,
    pipeline,
)
from bench_core.views.augmentation import draw
from bench_core.views.pipeline import apply, blur_kernel_size

EVERYTHING = Augmentation(
    affine_prob=0.5, rotation=30.0, translation=0.2, scaling=(0.8, 1.2), shear=10.0,
    crop_scale=(0.2, 1.0), flip_prob=0.5, jitter_prob=0.8, jitter=(0.4, 0.4, 0.4, 0.1),
    gray_prob=0.2, blur_prob=0.5, solarize_prob=0.2, noise=0.05,
)  # fmt: skip

EVERYTHING_OF_BANDS = dataclasses.replace(EVERYTHING, bands=True, band_drop_prob=0.2)


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
def test_every_preset_except_none_changes_each_image_in_four_views(name: str) -> None:
    images = some_images(8, 3, 16, 16)
    generator = rng()
    changed = torch.zeros(8, dtype=torch.bool)
    for _ in range(4):
        changed |= (augment(images, generator, PRESETS[name]) != images).flatten(1).any(1)
    assert changed.all() == (name != "none")


def test_views_depend_on_the_seed_and_differ_between_calls() -> None:
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
    same_first_image = torch.cat((images[:1], images[1:].flip(0) / 2))
    first, second = (augment(batch, rng(), EVERYTHING)[0] for batch in (images, same_first_image))
    torch.testing.assert_close(first, second)


def test_augment_changes_neither_images_nor_the_global_generator() -> None:
    images = some_images(8, 3, 16, 16)
    before, state = images.clone(), torch.get_rng_state()
    augment(images, rng(), EVERYTHING)
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_views_are_the_same_under_autocast_and_in_channels_last() -> None:
    images = some_images(8, 3, 16, 16)
    plain = augment(images, rng(), EVERYTHING)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        autocast = augment(images, rng(), EVERYTHING)
    assert torch.equal(autocast, plain)
    channels_last = augment(images.contiguous(memory_format=torch.channels_last), rng(), EVERYTHING)
    torch.testing.assert_close(channels_last, plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", PRESETS)
def test_argument_size_overrides_the_size_of_the_augmentation(name: str) -> None:
    images = some_images(4, 3, 16, 20)
    assert augment(images, rng(), PRESETS[name], size=12).shape == (4, 3, 12, 12)
    sized = dataclasses.replace(PRESETS[name], size=24)
    assert augment(images, rng(), sized).shape == (4, 3, 24, 24)
    assert augment(images, rng(), sized, size=12).shape == (4, 3, 12, 12)


def test_resizing_without_a_crop_keeps_the_whole_image() -> None:
    ramp = torch.linspace(0, 1, 16).expand(2, 1, 16, 16)
    half = augment(ramp, rng(), PRESETS["none"], size=8)
    torch.testing.assert_close(half[0, 0, 0, 1:-1], (ramp[0, 0, 0, 2:-2:2] + ramp[0, 0, 0, 3:-2:2]) / 2)


def test_half_of_the_images_are_flipped_and_the_rest_is_unchanged() -> None:
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
        (Augmentation(bands=True, jitter_prob=0.8, jitter=(0.4, 0.4, 0.0, 0.0)), 0.8),
        (Augmentation(bands=True, gray_prob=0.2), 0.2),
        (Augmentation(band_drop_prob=0.1), 1 - 0.9**3),
    ],
)
def test_each_change_happens_with_its_probability(change: Augmentation, probability: float) -> None:
    images = one_image(2000, 3, 8, 8)
    changed = (augment(images, rng(), change) != images).flatten(1).any(1).float().mean()
    assert abs(changed - probability) <= 4 * (probability * (1 - probability) / 2000) ** 0.5


def test_noise_has_the_given_standard_deviation() -> None:
    view = augment(torch.full((100, 1, 16, 16), 0.5), rng(), Augmentation(noise=0.1))
    assert abs(view.std().item() - 0.1) < 0.002
    assert abs(view.mean().item() - 0.5) < 0.002


def test_jitter_draws_all_orders_and_the_whole_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Tensor] = []

    def spy(images: Tensor, factors: Tensor, order: Tensor, chosen: Tensor) -> Tensor:
        drawn.extend((factors, order))
        return images

    monkeypatch.setattr(pipeline, "color_jitter", spy)
    augment(some_images(5000, 3, 1, 1), rng(), Augmentation(jitter_prob=1.0, jitter=(0.4, 0.2, 1.5, 0.1)))
    factors, order = drawn
    counts = Counter(map(tuple, order.tolist()))
    assert set(counts) == set(itertools.permutations(range(4)))
    assert all(abs(count - 5000 / 24) < 4 * (5000 / 24) ** 0.5 for count in counts.values())
    for column, (low, high) in enumerate(((0.6, 1.4), (0.8, 1.2), (0.0, 2.5), (-0.1, 0.1))):
        near = 0.01 * (high - low)
        assert low <= factors[:, column].min() < low + near
        assert high - near < factors[:, column].max() <= high


def test_affine_draws_the_whole_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Tensor] = []

    def spy(images: Tensor, angle: Tensor, translate: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
        drawn.extend((angle, *translate.unbind(1), scale, *shear.unbind(1)))
        return images

    monkeypatch.setattr(pipeline, "affine", spy)
    augment(some_images(2000, 1, 8, 16), rng(), PRESETS["glyph"])
    ranges = ((-15, 15), (-2, 2), (-1, 1), (0.85, 1.15), (-10, 10), (-10, 10))
    for values, (low, high) in zip(drawn, ranges, strict=True):
        near = 0.01 * (high - low)
        assert low <= values.min() < low + near
        assert high - near < values.max() <= high


@pytest.mark.parametrize(
    "augmentation",
    [PRESETS["simclr"], PRESETS["sela"], EVERYTHING, EVERYTHING_OF_BANDS],
    ids=["simclr", "sela", "all", "bands"],
)
@pytest.mark.parametrize("shape", [(33, 3, 32, 32), (9, 1, 8, 8), (1, 3, 16, 12), (9, 12, 8, 8)])
def test_skipping_images_that_do_not_change_gives_the_same_bits(
    augmentation: Augmentation, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = torch.seed()  # new images and draws in each run of this test
    images = torch.rand(shape, generator=rng(seed))
    skipping = augment(images, rng(seed + 1), augmentation)
    for module in (pipeline, image_ops):
        monkeypatch.setattr(module, "may_wait", lambda images: False)
    assert torch.equal(skipping, augment(images, rng(seed + 1), augmentation)), seed


@pytest.mark.parametrize("size", [(16, 16), (20, 24), (32, 32)])
@pytest.mark.parametrize(
    "augmentation", [PRESETS["simclr"], EVERYTHING, EVERYTHING_OF_BANDS], ids=["simclr", "all", "bands"]
)
def test_apply_compiles_to_one_graph_with_the_same_values(augmentation: Augmentation, size: tuple[int, int]) -> None:
    torch.compiler.reset()
    graph = torch.compile(apply, backend="eager", fullgraph=True, dynamic=False)
    seed = torch.seed()
    images = torch.rand(33, 3, 20, 24, generator=rng(seed))
    draws = draw(images.shape, rng(seed + 1), augmentation, size)
    torch.testing.assert_close(
        graph(images, draws, size), apply(images, draws, size), atol=1e-5, rtol=0, msg=lambda m: f"{m} of seed {seed}"
    )


@pytest.mark.usefixtures("fake_cuda")
@pytest.mark.parametrize("everything", [EVERYTHING, EVERYTHING_OF_BANDS], ids=["colours", "bands"])
def test_apply_on_an_accelerator_never_reads_a_value(everything: Augmentation) -> None:
    """Fake CUDA tensors have no values: an operation that needs one raises."""
    draws = draw((8, 3, 16, 16), rng(), everything, (16, 16))
    with FakeTensorMode(allow_non_fake_inputs=True):
        on_device = tree_map_only(Tensor, lambda t: torch.empty(t.shape, dtype=t.dtype, device="cuda"), draws)
        view = apply(torch.empty(8, 3, 16, 16, device="cuda"), on_device, (16, 16))
    assert (view.shape, view.device.type) == ((8, 3, 16, 16), "cuda")


def test_compiled_uses_the_same_draws_and_ends_with_its_context(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = list[Any]()

    def spy(*args: Any) -> Tensor:
        calls.append(args)
        return apply(*args)

    monkeypatch.setattr(pipeline, "_compiled", lambda: spy)
    images = some_images(8, 3, 16, 16)
    plain = augment(images, rng(), EVERYTHING)
    with compiled():
        assert torch.equal(augment(images, rng(), EVERYTHING), plain)
    assert len(calls) == 1
    augment(images, rng(), EVERYTHING)
    assert len(calls) == 1


def test_blur_kernel_sizes_equal_those_of_simclr() -> None:
    assert [blur_kernel_size(side) for side in (2, 8, 32, 96, 224)] == [3, 3, 3, 9, 23]


def test_blur_leaves_one_pixel_as_it_is() -> None:
    pixels = some_images(8, 3, 1, 1)
    assert torch.equal(augment(pixels, rng(), Augmentation(blur_prob=1.0)), pixels)


@pytest.mark.parametrize("images", [torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(3, 8, 8)])
def test_images_that_are_not_a_float32_batch_are_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"augment needs float32 images \(N, C, H, W\) in \[0, 1\], got torch"):
        augment(images, rng(), PRESETS["simclr"])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", PRESETS)
def test_augment_never_waits_for_the_gpu(name: str) -> None:
    images = some_images(16, 3, 32, 32).cuda()
    generator = torch.Generator(device="cuda").manual_seed(0)
    augment(images, generator, PRESETS[name])  # libraries initialise on first use
    torch.cuda.set_sync_debug_mode("error")
    try:
        view = augment(images, generator, PRESETS[name], size=24)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert view.is_cuda
    assert view.shape == (16, 3, 24, 24)
