"""Models of torchvision against direct calls, with weights from files that the tests make."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torchvision import models

from bench_core import DataSpec
from bench_core.errors import RequestError
from bench_encoders.outside import torchvision_models
from bench_encoders.outside.torchvision_models import TorchvisionConfig, TorchvisionModel

GRAY = DataSpec(shape=(1, 8, 8), splits={"train": 64}, mean=(0.3,), std=(0.4,), num_classes=10)
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def build(**values: Any) -> TorchvisionModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TorchvisionModel(GRAY, TorchvisionConfig(**{"size": 64, **values})).eval()


@torch.no_grad()
def test_features_are_the_pooled_last_map_of_a_file(tmp_path: Path) -> None:
    network = models.resnet18().eval()
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    encoder, images = build(weights=str(tmp_path / "mine.pth")), torch.rand(2, 1, 8, 8)
    resized = F.interpolate(images.repeat(1, 3, 1, 1), (64, 64), mode="bilinear", antialias=True)
    features = encoder(images)
    torch.testing.assert_close(network.fc(features), network((resized - MEAN) / STD))
    maps = encoder.maps(images)
    assert list(maps) == ["layer1", "layer2", "layer3", "layer4"]
    torch.testing.assert_close(maps["layer4"].mean((2, 3)), features)
    weights = TorchvisionModel.outside_weights(TorchvisionConfig(weights=str(tmp_path / "mine.pth")))
    assert weights is not None
    assert (weights.name, weights.source) == ("resnet18:mine", "mine.pth")


@pytest.mark.parametrize(("model", "dim", "last"), [("shufflenet_v2_x0_5", 1024, "features"), ("squeezenet1_1", 0, ""),
                                                    ("mobilenet_v3_small", 576, "features")])  # fmt: skip
@torch.no_grad()
def test_other_families_have_features_and_maps(model: str, dim: int, last: str) -> None:
    encoder, images = build(model=model), torch.rand(2, 1, 8, 8)
    assert encoder(images).shape == (2, encoder.dim)
    assert encoder.dim == dim or not dim
    assert all(len(each) == 2 and each.ndim in (3, 4) for each in encoder.maps(images).values())


def test_torchvisions_own_weights_have_a_digest_and_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    state = models.resnet18().state_dict()
    monkeypatch.setattr(models.ResNet18_Weights, "get_state_dict", lambda *args, **kwargs: state)
    torchvision_models._digest.cache_clear()
    weights = TorchvisionModel.outside_weights(TorchvisionConfig(weights="DEFAULT"))
    torchvision_models._digest.cache_clear()
    assert weights is not None
    assert (weights.name, weights.trained_on) == ("resnet18:IMAGENET1K_V1", "ImageNet-1k")
    assert torch.equal(build(weights="DEFAULT").net.get_parameter("conv1.weight"), state["conv1.weight"])


def test_without_weights_the_seed_gives_them() -> None:
    assert TorchvisionModel.outside_weights(TorchvisionConfig()) is None
    first, second = build().state_dict(), build().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_bad_input_says_what_is_right(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no classifier 'resnet81'; did you mean"):
        TorchvisionModel.outside_weights(TorchvisionConfig(model="resnet81"))
    with pytest.raises(RequestError, match=r"with none, IMAGENET1K_V1.*, or the path of a file"):
        TorchvisionModel.outside_weights(TorchvisionConfig(weights="IMAGENET"))
    torch.save(models.resnet34().state_dict(), tmp_path / "other.pth")
    with pytest.raises(RequestError, match="Is it a file of another model"):
        build(model="resnet50", weights=str(tmp_path / "other.pth"))
