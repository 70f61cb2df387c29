from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core.contracts import DataSpec
from bench_core.nn.layers import Standardize
from bench_encoders.amdim_net import AMDIMNet, AMDIMNetConfig, Residual, bench_encoders


def build(side: int, channels: int = 3, height: int | None = None, **values: Any) -> AMDIMNet:
    data = DataSpec(shape=(channels, height or side, side), splits={"train": 1})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AMDIMNet(data, AMDIMNetConfig(**{"width": 4, "output_dim": 32, "depth": 2, **values})).eval()


def woken(side: int, **values: Any) -> AMDIMNet:
    """Return a network whose second convolutions are not 0, as after some training."""
    encoder = build(side, **values)
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            if name.endswith("conv2.weight"):
                weight.normal_(0.0, 0.3, generator=rng)
    return encoder


def images(n: int, side: int, channels: int = 3) -> Tensor:
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("side", "channels", "expected"),
    [
        (28, 1, {30: 4, 14: 8, 7: 16, 5: 16, 3: 16}),
        (32, 3, {30: 4, 14: 8, 7: 16, 5: 16, 3: 16}),
        (64, 3, {62: 4, 30: 8, 14: 16, 7: 32, 5: 32, 3: 32}),
        (128, 2, {62: 4, 30: 8, 14: 16, 7: 32, 5: 32, 3: 32}),
    ],
)
def test_maps_have_the_sides_and_channels_of_the_code(side: int, channels: int, expected: dict[int, int]) -> None:
    encoder = build(side, channels)
    with torch.no_grad():
        features, maps = encoder.features_and_maps(images(2, side, channels))
    assert {name: tuple(each.shape[1:]) for name, each in maps.items()} == {
        f"map{locations}": (width, locations, locations) for locations, width in expected.items()
    }
    assert features.shape == (2, encoder.dim) == (2, 32)


def test_number_of_parameters_is_that_of_the_code_written_as_a_sum() -> None:
    n, d, K = 4, 2, 32  # ndf, n_depth, n_rkhs

    def residual(before: int, after: int, kernel: int) -> int:
        return before * after * kernel**2 + after * after

    def block(before: int, after: int, kernel: int) -> int:
        return residual(before, after, kernel) + (d - 1) * residual(after, after, 1)

    stem = 3 * n * 9 + n
    blocks = block(n, 2 * n, 4) + block(2 * n, 4 * n, 2) + 2 * block(4 * n, 4 * n, 3)
    expected = stem + residual(n, n, 1) + blocks + residual(4 * n, K, 3) + 2 * K
    assert sum(p.numel() for p in build(32).parameters()) == expected


@pytest.mark.parametrize("stride", [1, 2])
def test_a_residual_layer_is_the_formula_written_with_functions(stride: int) -> None:
    encoder, x = woken(32), images(2, 14, 8)
    layer = encoder.get_submodule(f"blocks.map7.{2 - stride}")
    assert isinstance(layer, Residual)
    kernel, before = layer.kernel, layer.conv1.in_channels
    x = x if stride == 2 else images(2, 7, before)
    hidden = F.conv2d(x, layer.conv1.weight, stride=layer.stride).relu()
    branch = F.conv2d(hidden, layer.conv2.weight)
    patches = F.unfold(x, kernel, stride=layer.stride).view(2, before, kernel**2, -1).mean(2)
    shortcut = torch.zeros_like(branch)
    shortcut[:, :before] = patches.view(2, before, *branch.shape[2:])
    torch.testing.assert_close(layer(x), branch + shortcut)


def test_an_untrained_network_is_its_first_layer_averaged_over_patches() -> None:
    encoder, x = build(32), images(2, 32)
    with torch.no_grad():
        maps = encoder.maps(x)
    expected = F.avg_pool2d(F.avg_pool2d(maps["map30"], 4, 2), 2, 2)
    torch.testing.assert_close(maps["map7"][:, :4], expected)
    assert bool((maps["map7"][:, 4:] == 0).all())


@pytest.mark.parametrize(("side", "patch", "step"), [(28, 8, 4), (32, 8, 4), (64, 16, 8)])
def test_a_location_of_the_7_x_7_map_sees_its_patch_and_no_other_pixel(side: int, patch: int, step: int) -> None:
    encoder, x = woken(side), images(1, side).requires_grad_()
    margin = encoder.mirrored[2]
    for row, column in ((0, 0), (3, 3), (2, 6)):
        (gradient,) = torch.autograd.grad(encoder.maps(x)["map7"][0, :, row, column].sum(), x)
        seen = gradient[0].abs().sum(0) > 0
        inside = torch.zeros(side, side, dtype=torch.bool)
        top, left = (max(0, number * step - margin) for number in (row, column))
        bottom, right = (number * step - margin + patch for number in (row, column))
        inside[top:bottom, left:right] = True
        assert bool((seen & ~inside).sum() == 0), (row, column)
        assert seen.sum() > 0.9 * inside.sum(), (row, column)


def test_far_pixels_move_the_features_but_not_a_location() -> None:
    encoder, x = woken(32), images(1, 32)
    changed = x.clone()
    changed[:, :, -4:, -4:] += 0.5
    with torch.no_grad():
        before, after = encoder.features_and_maps(x), encoder.features_and_maps(changed)
    for name, far in (("map7", 5), ("map5", 3)):
        assert torch.equal(before[1][name][:, :, :far, :far], after[1][name][:, :, :far, :far])
    assert not torch.equal(before[0], after[0])


def test_small_images_are_mirrored_at_their_borders_until_they_fit() -> None:
    small, large, x = woken(28), woken(32), images(2, 28)
    with torch.no_grad():
        torch.testing.assert_close(small(x), large(F.pad(x, (2, 2, 2, 2), mode="reflect")))


def test_images_need_not_be_square() -> None:
    assert build(30, height=28)(torch.rand(2, 3, 28, 30)).shape == (2, 32)
    assert build(30, height=28).mirrored == (1, 1, 2, 2)


def test_features_are_standardised_over_the_batch_and_blocks_have_no_norm_by_default() -> None:
    encoder = woken(32).train()
    features = encoder(images(16, 32))
    torch.testing.assert_close(features.mean(0), torch.zeros(32), atol=1e-5, rtol=0)
    norms = (nn.BatchNorm1d, nn.BatchNorm2d)
    assert sum(isinstance(module, norms) for module in encoder.modules()) == 1
    assert sum(isinstance(module, norms) for module in build(32, batch_norm=True).modules()) == 1 + 1 + 4 * 2 + 1 + 1


def test_features_and_maps_come_from_one_pass() -> None:
    encoder = build(32)
    (first,) = (module for module in encoder.modules() if isinstance(module, Standardize))
    passes: list[int] = []
    first.register_forward_hook(lambda *_: passes.append(1))
    encoder.features_and_maps(images(2, 32))
    assert len(passes) == 1


@pytest.mark.parametrize(("shape", "refused"), [((3, 8, 8), True), ((3, 28, 28), False), ((3, 48, 48), True),
    ((1, 56, 64), False), ((3, 28, 64), True), ((3, 224, 224), True)])  # fmt: skip
def test_images_that_do_not_lead_to_7_x_7_locations_are_skipped(shape: tuple[int, ...], refused: bool) -> None:
    data = DataSpec(shape=shape, splits={"train": 1})
    reason = AMDIMNet.skip_reason(data, AMDIMNetConfig())
    if not refused:
        assert reason is None
        return
    assert reason is not None
    assert reason.endswith(f"these have {shape[1]} x {shape[2]}")
    assert "28 to 32 or 56 to 64 or 112 to 128 pixels a side" in reason
    with pytest.raises(ValueError, match="7 x 7 locations"):
        AMDIMNet(data, AMDIMNetConfig(width=4, output_dim=32))


def test_features_must_be_as_many_as_the_channels_of_the_last_maps() -> None:
    with pytest.raises(ValueError, match="output_dim must be at least 4 x width = 512, got 64; set a smaller width"):
        AMDIMNetConfig(output_dim=64)
    config = AMDIMNetConfig(width=16, output_dim=64)
    assert AMDIMNet.skip_reason(DataSpec(shape=(3, 32, 32), splits={"train": 1}), config) is None
    reason = AMDIMNet.skip_reason(DataSpec(shape=(3, 64, 64), splits={"train": 1}), config)
    assert "output_dim must be at least 8 x width = 128" in str(reason)


def test_other_data_than_images_are_skipped() -> None:
    assert "reads images" in str(AMDIMNet.skip_reason(DataSpec(shape=(7,), splits={"train": 1}), AMDIMNetConfig()))


def test_it_is_registered() -> None:
    assert bench_encoders() == {"amdim_net": AMDIMNet}
