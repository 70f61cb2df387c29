"""Models of timm against direct calls of timm, with weights from files that the tests make."""

import copy
import socket
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from bench_core import DataSpec
from bench_core.errors import RequestError
from bench_encoders.outside import timm_models
from bench_encoders.outside.timm_models import Timm, TimmConfig

GRAY = DataSpec(shape=(1, 8, 8), splits={"train": 64}, mean=(0.3,), std=(0.4,), num_classes=10)
COLOUR = DataSpec(shape=(3, 32, 32), splits={"train": 64})
SMALL_VIT = "test_vit"  # timm's own model for tests


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def build(data: DataSpec = COLOUR, **values: Any) -> Timm:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Timm(data, TimmConfig(**{"model": "test_resnet", "size": 64, **values})).eval()


@pytest.fixture(scope="module")
def network() -> Any:
    torch.manual_seed(1)
    return timm.create_model("test_resnet", pretrained=False).eval()


@pytest.fixture
def file(tmp_path: Path, network: Any) -> Path:
    path = tmp_path / "mine.safetensors"
    save_file(network.state_dict(), path)
    return path


@torch.no_grad()
def test_features_are_timms_of_repeated_resized_standardised_images(file: Path, network: Any) -> None:
    encoder = build(GRAY, weights=str(file))
    images = torch.rand(3, 1, 8, 8)
    config = network.pretrained_cfg
    mean, std = (torch.tensor(config[name]).view(3, 1, 1) for name in ("mean", "std"))
    resized = F.interpolate(images.repeat(1, 3, 1, 1), (64, 64), mode=config["interpolation"], antialias=True)
    expected = network.forward_head(network.forward_features((resized - mean) / std), pre_logits=True)
    torch.testing.assert_close(encoder(images), expected)
    assert encoder.dim == expected.shape[1]


@torch.no_grad()
def test_maps_are_timms_intermediates(file: Path, network: Any) -> None:
    encoder = build(weights=str(file))
    images = torch.rand(2, 3, 32, 32)
    expected = network.forward_intermediates(encoder.reading(images), intermediates_only=True)
    maps = encoder.maps(images)
    assert list(maps) == [f"map{number}" for number in range(1, len(expected) + 1)]
    for ours, theirs in zip(maps.values(), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@torch.no_grad()
def test_a_transformer_reads_another_size() -> None:
    encoder = build(model=SMALL_VIT, size=64)
    assert encoder(torch.rand(2, 3, 32, 32)).shape == (2, encoder.dim)
    assert next(reversed(encoder.maps(torch.rand(2, 3, 32, 32)).values())).shape[2:] == (4, 4)


def test_without_tag_or_weights_the_seed_gives_the_weights() -> None:
    assert Timm.outside_weights(TimmConfig()) is None
    assert Timm.outside_weights(TimmConfig(model="resnet18.a1_in1k", weights="none")) is None
    first, second = build().state_dict(), build().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_digest_knows_weights_and_reading_but_no_path(file: Path, tmp_path: Path) -> None:
    def digest(path: Path, **values: Any) -> str:
        weights = Timm.outside_weights(TimmConfig(model="test_resnet", weights=str(path), **values))
        assert weights is not None
        return weights.digest

    elsewhere = tmp_path / "elsewhere.safetensors"
    elsewhere.write_bytes(file.read_bytes())
    assert digest(file) == digest(elsewhere)
    others = {digest(file), digest(file, size=32), digest(file, mean=(0.4,), deviation=(0.3,))}
    assert len(others) == 3


def test_the_row_is_named_after_model_and_file(file: Path) -> None:
    weights = Timm.outside_weights(TimmConfig(model="test_resnet", weights=str(file)))
    assert weights is not None
    assert (weights.name, weights.source) == ("test_resnet:mine", "mine.safetensors")


@torch.no_grad()
def test_weights_of_the_hub_are_digested_as_tensors(monkeypatch: pytest.MonkeyPatch, network: Any) -> None:
    create = timm.create_model

    def from_hub(name: str, pretrained: bool, **kwargs: Any) -> Any:
        made = create(name, pretrained=False, **kwargs)
        if pretrained:
            made.load_state_dict(network.state_dict(), strict=False)
        return made

    monkeypatch.setattr(timm, "create_model", from_hub)
    timm_models._facts_of_hub.cache_clear()
    name = timm.list_pretrained("test_resnet.*")[0]
    weights = Timm.outside_weights(TimmConfig(model=name))
    assert weights is not None
    assert (weights.name, weights.trained_on, weights.source) == (name, "ImageNet-1k", f"hub timm/{name}")
    images = torch.rand(2, 3, 64, 64)
    encoder = build(model=name)
    expected = network.forward_head(network.forward_features(encoder.reading(images)), pre_logits=True)
    torch.testing.assert_close(encoder(images), expected)
    timm_models._facts_of_hub.cache_clear()


@torch.no_grad()
def test_a_checkpoint_inside_a_mapping_and_below_a_prefix_is_read(tmp_path: Path, network: Any) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, path)
    encoder = build(weights=str(path))
    torch.testing.assert_close(encoder.net.state_dict()["conv1.0.weight"], network.state_dict()["conv1.0.weight"])


@torch.no_grad()
def test_copies_and_loaded_states_agree(file: Path) -> None:
    encoder, images = build(weights=str(file)), torch.rand(2, 3, 32, 32)
    other = build(weights=str(file))
    for parameter in other.parameters():
        parameter.zero_()
    assert not torch.equal(encoder(images), other(images))
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(encoder(images), other(images))
    assert torch.equal(encoder(images), copy.deepcopy(encoder)(images))


def test_gray_and_colour_are_read_and_other_data_skip() -> None:
    assert Timm.skip_reason(GRAY, TimmConfig()) is None
    assert "5" in str(Timm.skip_reason(DataSpec(shape=(5, 8, 8), splits={"train": 1}), TimmConfig()))
    assert "images" in str(Timm.skip_reason(DataSpec(shape=(7,), splits={"train": 1}), TimmConfig()))


def test_bad_input_says_what_is_right(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no model 'resnet81'.*did you mean"):
        Timm.outside_weights(TimmConfig(model="resnet81", weights="hub"))
    with pytest.raises(RequestError, match=r"of resnet18 it has: .*resnet18\.a1_in1k"):
        Timm.outside_weights(TimmConfig(model="resnet18.mine"))
    with pytest.raises(RequestError, match=r"no such file; type --set timm\.weights=\.\.\., with hub, none or auto"):
        Timm.outside_weights(TimmConfig(weights=str(tmp_path / "none.pt")))
    with pytest.raises(RequestError, match="has 2 values"):
        build(mean=(0.1, 0.2), deviation=(1.0,))
    other = tmp_path / "other.pt"
    torch.save({"fc.weight": torch.zeros(2, 2)}, other)
    with pytest.raises(RequestError, match=r"lacks .* weights of this model.*it holds 'fc\.weight'"):
        build(weights=str(other))


def test_a_file_that_needs_code_is_refused(tmp_path: Path, network: Any) -> None:
    whole = tmp_path / "whole.pt"
    torch.save(network, whole)
    with pytest.raises(RequestError, match="weights_only=False"):
        build(weights=str(whole))


def test_a_hub_out_of_reach_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr(timm, "create_model", fail)
    timm_models._facts_of_hub.cache_clear()
    with pytest.raises(RequestError, match=r"cannot be fetched from the hub \(no network in tests\)"):
        Timm.outside_weights(TimmConfig(model="resnet18.a1_in1k"))
