import pytest
import torch
from torchvision.models.vgg import cfgs, make_layers

from bench_core.config import NoConfig
from bench_core.contracts import DataSpec
from bench_encoders.vgg import VGG16BN, bench_encoders


def spec(*shape: int) -> DataSpec:
    return DataSpec(shape=shape, splits={"train": 1})


def build(*shape: int) -> VGG16BN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VGG16BN(spec(*shape), NoConfig())


def images(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_it_is_torchvisions_vgg16_bn_up_to_its_classifier() -> None:
    encoder = build(3, 64, 64).eval()
    assert encoder.dim == 512
    net = make_layers(cfgs["D"], batch_norm=True).eval()
    ours = [v for k, v in encoder.state_dict().items() if k.startswith("blocks")]
    net.load_state_dict(dict(zip(net.state_dict(), ours, strict=True)))
    with torch.no_grad():
        torch.testing.assert_close(encoder(images(2, 3, 64, 64)), net(images(2, 3, 64, 64)).mean((2, 3)))


def test_maps_are_the_five_blocks() -> None:
    with torch.no_grad():
        maps = build(1, 32, 32).maps(images(2, 1, 32, 32))
    assert [tuple(m.shape[1:]) for m in maps.values()] == [
        (64, 16, 16),
        (128, 8, 8),
        (256, 4, 4),
        (512, 2, 2),
        (512, 1, 1),
    ]
    assert list(maps) == [f"block{k}" for k in range(1, 6)]


def test_convolutions_start_he_normal_without_bias() -> None:
    conv = build(3, 32, 32).get_submodule("blocks.block5.0")
    assert isinstance(conv, torch.nn.Conv2d)
    assert conv.weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    assert conv.bias is not None
    assert not bool(conv.bias.any())


def test_gradients_reach_every_weight() -> None:
    encoder = build(3, 32, 32)
    encoder(images(4, 3, 32, 32)).square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())
    assert all(bool(p.grad.any()) for p in encoder.parameters() if p.grad is not None and p.ndim == 4)


def test_images_under_32_pixels_are_refused() -> None:
    assert VGG16BN.skip_reason(spec(3, 32, 32), NoConfig()) is None
    assert "at least 32 x 32" in str(VGG16BN.skip_reason(spec(1, 28, 28), NoConfig()))
    assert "reads images" in str(VGG16BN.skip_reason(spec(16), NoConfig()))


def test_it_is_registered() -> None:
    assert bench_encoders() == {"vgg16_bn": VGG16BN}
