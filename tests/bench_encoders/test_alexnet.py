import pytest
import torch
import torch.nn.functional as F

from bench_core.contracts import DataSpec
from bench_encoders.alexnet import AlexNet, AlexNetConfig, bench_encoders


def spec(*shape: int) -> DataSpec:
    return DataSpec(shape=shape, splits={"train": 1})


@pytest.fixture(scope="module")
def encoder() -> AlexNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AlexNet(spec(3, 32, 32), AlexNetConfig()).eval()


def images(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_maps_are_those_of_224_pixels(encoder: AlexNet) -> None:
    with torch.no_grad():
        maps = encoder.maps(images(1, 3, 32, 32))
    assert {k: tuple(v.shape[1:]) for k, v in maps.items()} == {
        "conv1": (96, 55, 55),
        "conv2": (256, 27, 27),
        "conv3": (384, 13, 13),
        "conv4": (384, 13, 13),
        "conv5": (256, 13, 13),
    }


def test_maps_are_outputs_of_the_relus_after_the_five_convolutions(encoder: AlexNet) -> None:
    heard: dict[str, torch.Tensor] = {}
    relus = {f"conv{k}": encoder.get_submodule(f"convs.conv{k}.2") for k in range(1, 6)}
    assert all(isinstance(relu, torch.nn.ReLU) for relu in relus.values())
    hooks = [
        relu.register_forward_hook(lambda module, inputs, output, name=name: heard.update({name: output}))
        for name, relu in relus.items()
    ]
    with torch.no_grad():
        maps = encoder.maps(images(2, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    assert list(maps) == list(heard) == ["conv1", "conv2", "conv3", "conv4", "conv5"]  # shallow to deep
    assert all(torch.equal(maps[name], heard[name]) for name in maps)
    assert all(bool((values >= 0).all()) for values in maps.values())


def test_small_images_are_enlarged_to_224(encoder: AlexNet) -> None:
    small = images(2, 3, 32, 32)
    large = F.interpolate(small, (224, 224), mode="bilinear", align_corners=False)
    with torch.no_grad():
        torch.testing.assert_close(encoder(small), encoder(large), rtol=1e-4, atol=1e-4)


def test_features_equal_the_reference_written_as_one_list(encoder: AlexNet) -> None:
    state = {k: v for k, v in encoder.state_dict().items() if k.startswith("convs")}
    x = images(2, 3, 224, 224)
    with torch.no_grad():
        for k, (stride, padding, pooled) in enumerate(
            [(4, 2, True), (1, 2, True), (1, 1, False), (1, 1, False), (1, 1, True)], start=1
        ):
            name = f"convs.conv{k}"
            x = F.conv2d(x, state[f"{name}.0.weight"], stride=stride, padding=padding)
            x = (x / (1 + 1e-5) ** 0.5).relu()  # batch norm as it starts
            x = F.max_pool2d(x, 3, 2) if pooled else x
        x = x.flatten(1)
        assert x.shape == (2, 9216)
        for k in (3, 6):
            x = (x @ encoder.state_dict()[f"fc.{k}.weight"].T).relu()
        torch.testing.assert_close(encoder(images(2, 3, 224, 224)), x)


def test_features_are_4096_and_not_negative(encoder: AlexNet) -> None:
    with torch.no_grad():
        features = encoder(images(2, 3, 32, 32))
    assert features.shape == (2, encoder.dim) == (2, 4096)
    assert bool((features >= 0).all())


def test_weights_start_as_in_the_reference(encoder: AlexNet) -> None:
    conv, linear = encoder.get_submodule("convs.conv3.0"), encoder.get_submodule("fc.3")
    assert isinstance(conv, torch.nn.Conv2d)
    assert isinstance(linear, torch.nn.Linear)
    assert conv.weight.std().item() == pytest.approx((2 / (9 * 384)) ** 0.5, rel=0.01)
    assert linear.weight.std().item() == pytest.approx(0.01, rel=0.01)
    assert not bool(linear.bias.any())


def test_dropout_acts_in_training_only_and_before_each_fully_connected_layer(encoder: AlexNet) -> None:
    dropouts = [(k, m.p) for k, m in enumerate(encoder.fc) if isinstance(m, torch.nn.Dropout)]
    assert dropouts == [(2, 0.5), (5, 0.5)]
    assert [k for k, m in enumerate(encoder.fc) if isinstance(m, torch.nn.Linear)] == [3, 6]
    assert sum(isinstance(m, torch.nn.Dropout) for m in encoder.modules()) == 2
    with torch.no_grad():
        assert torch.equal(encoder(images(2, 3, 32, 32)), encoder(images(2, 3, 32, 32)))


def test_images_need_63_pixels_without_upsampling(encoder: AlexNet) -> None:
    bare = AlexNetConfig(upsample=None)
    assert AlexNet.skip_reason(spec(3, 32, 32), AlexNetConfig()) is None
    assert AlexNet.skip_reason(spec(3, 63, 63), bare) is None
    assert "at least 63 x 63" in str(AlexNet.skip_reason(spec(3, 62, 62), bare))
    with torch.no_grad():
        encoder.upsample = None
        try:
            assert encoder(images(1, 3, 63, 63)).shape == (1, 4096)
            with pytest.raises(RuntimeError, match="too small"):
                encoder(images(1, 3, 62, 62))
        finally:
            encoder.upsample = 224


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="upsample must be >= 63, got 32"):
        AlexNetConfig(upsample=32)
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\), got 1"):
        AlexNetConfig(dropout=1.0)


def test_it_is_registered() -> None:
    assert bench_encoders() == {"alexnet": AlexNet}
