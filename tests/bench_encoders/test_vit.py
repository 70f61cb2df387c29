"""The vision transformer against timm's own, and methods of each family that train it."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from bench_core import DataSpec, Objective
from bench_core.plugins import load_plugins
from bench_core.training.trial import step_fault
from bench_encoders.vit import ViTTiny, ViTTinyConfig

DIGITS = DataSpec(shape=(1, 8, 8), splits={"train": 64}, mean=(0.3,), std=(0.4,), num_classes=10, views="glyph")


def build(data: DataSpec, depth: int = 2, patch: int = 0) -> ViTTiny:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ViTTiny(data, ViTTinyConfig(depth=depth, patch=patch)).eval()


def spec(*shape: int) -> DataSpec:
    return DataSpec(shape=shape, splits={"train": 1})


@torch.no_grad()
def test_features_are_timms_of_standardised_images() -> None:
    encoder = build(DIGITS)
    network = VisionTransformer(
        img_size=8, patch_size=1, in_chans=1, num_classes=0, global_pool="avg", class_token=False, embed_dim=192,
        depth=2, num_heads=3,
    ).eval()  # fmt: skip
    network.load_state_dict(encoder.net.state_dict())
    images = torch.rand(3, 1, 8, 8)
    tokens = network.forward_features((images - 0.3) / 0.4)
    torch.testing.assert_close(encoder(images), network.forward_head(tokens, pre_logits=True))
    torch.testing.assert_close(encoder.maps(images)["block2"].mean((2, 3)), network.norm(tokens).mean(1))


def test_the_paper_has_as_many_parameters() -> None:
    encoder = build(spec(3, 224, 224), depth=12, patch=16)
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    assert parameters == 5_717_416 - 1000 * 193 - 2 * 192  # DeiT-Ti without classifier, class token and its position


@pytest.mark.parametrize(
    ("shape", "patch", "grid"),
    [((1, 8, 8), 0, (8, 8)), ((1, 4, 6), 0, (4, 6)), ((3, 32, 32), 0, (8, 8)), ((1, 28, 28), 0, (10, 10)),
     ((3, 32, 32), 16, (2, 2))],
)  # fmt: skip
@torch.no_grad()
def test_a_side_has_about_eight_patches(shape: tuple[int, ...], patch: int, grid: tuple[int, int]) -> None:
    encoder = build(spec(*shape), patch=patch)
    maps = encoder.maps(torch.rand(2, *shape))
    assert list(maps) == ["block1", "block2"]
    assert maps["block1"].shape == (2, 192, *grid)


@torch.no_grad()
def test_views_of_another_size_are_read() -> None:
    assert build(spec(3, 32, 32))(torch.rand(2, 3, 16, 16)).shape == (2, 192)


@pytest.mark.parametrize(
    ("data", "patch", "reason"),
    [(spec(5), 0, "images"), (spec(1, 8, 8), 9, "patch = 9 is larger than the images, 8 x 8")],
)
def test_what_it_cannot_read_is_skipped(data: DataSpec, patch: int, reason: str) -> None:
    assert reason in str(ViTTiny.skip_reason(data, ViTTinyConfig(patch=patch)))


@pytest.mark.parametrize("name", ["simclr", "nac", "byol", "vicreg", "sela", "swav"])
def test_methods_train_it_on_digits(name: str) -> None:
    method = load_plugins().get("objective", name).cls
    config = method.Config()
    assert method.skip_reason(DIGITS, config) is None

    def build_method(data: DataSpec) -> Objective:
        objective: Objective = method(ViTTiny(data, ViTTinyConfig(depth=2)), data, config)
        return objective

    assert step_fault(build_method, method.recipe, DIGITS, 16) is None
