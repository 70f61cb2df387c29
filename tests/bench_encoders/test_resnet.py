import pytest
import torch
from torch import nn
from torchvision import models

from bench_core.config import NoConfig
from bench_core.contracts import DataSpec, Encoder
from bench_encoders.resnet import ResNet18, ResNet50, bench_encoders


def spec(*shape: int) -> DataSpec:
    return DataSpec(shape=shape, splits={"train": 1})


def build(kind: type[Encoder], *shape: int) -> Encoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(spec(*shape), NoConfig())


def images(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("kind", "name"), [(ResNet18, "resnet18"), (ResNet50, "resnet50")])
def test_on_large_images_it_is_torchvisions(kind: type[Encoder], name: str) -> None:
    encoder = build(kind, 3, 64, 64).eval()
    net = models.get_model(name, weights=None)
    net.fc = nn.Identity()
    net.load_state_dict(encoder.get_submodule("net").state_dict())
    with torch.no_grad():
        torch.testing.assert_close(encoder(images(2, 3, 64, 64)), net.eval()(images(2, 3, 64, 64)))


def test_small_images_keep_their_resolution_in_the_stem() -> None:
    maps = build(ResNet18, 3, 32, 32).maps(images(2, 3, 32, 32))
    assert {k: tuple(v.shape[1:]) for k, v in maps.items()} == {
        "layer1": (64, 32, 32),
        "layer2": (128, 16, 16),
        "layer3": (256, 8, 8),
        "layer4": (512, 4, 4),
    }


def test_from_64_pixels_on_the_stem_divides_by_four() -> None:
    assert build(ResNet18, 3, 63, 63).maps(images(1, 3, 63, 63))["layer1"].shape[-1] == 63
    assert build(ResNet18, 3, 64, 64).maps(images(1, 3, 64, 64))["layer1"].shape[-1] == 16


@pytest.mark.parametrize("kind", [ResNet18, ResNet50])
def test_any_number_of_channels_gives_dim_features(kind: type[Encoder]) -> None:
    encoder = build(kind, 1, 8, 8)
    with torch.no_grad():
        assert encoder(images(2, 1, 8, 8)).shape == (2, encoder.dim)


def test_the_new_stem_is_initialised_as_torchvision_does() -> None:
    weight = build(ResNet18, 3, 32, 32).get_submodule("net.conv1").weight
    assert isinstance(weight, torch.Tensor)
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)  # He normal, fan out


def test_the_number_of_parameters_equals_the_published_one() -> None:
    count = {k: sum(p.numel() for p in build(k, 3, 64, 64).parameters()) for k in (ResNet18, ResNet50)}
    assert count[ResNet18] == 11_689_512 - 513 * 1000  # torchvision's tables, less its last layer
    assert count[ResNet50] == 25_557_032 - 2049 * 1000


def test_gradients_reach_every_parameter() -> None:
    encoder = build(ResNet18, 3, 16, 16)
    encoder(images(4, 3, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in encoder.parameters())


def test_only_images_are_read() -> None:
    for kind in (ResNet18, ResNet50):
        assert "reads images" in str(kind.skip_reason(spec(16), NoConfig()))
        assert kind.skip_reason(spec(1, 8, 8), NoConfig()) is None


def test_both_are_registered() -> None:
    assert bench_encoders() == {"resnet18": ResNet18, "resnet50": ResNet50}
