"""Hugging Face models against direct calls of transformers, with small models that the tests save."""

import copy
import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPConfig, CLIPModel, ResNetConfig, ResNetModel, ViTConfig, ViTModel

from bench_core import DataSpec
from bench_core.errors import RequestError
from bench_encoders.outside.huggingface import HuggingFace, HuggingFaceConfig

GRAY = DataSpec(shape=(1, 8, 8), splits={"train": 64}, mean=(0.3,), std=(0.4,), num_classes=10)
SMALL: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def save(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def vit() -> Any:
    torch.manual_seed(1)
    network: Any = ViTModel(ViTConfig(**SMALL, image_size=32, patch_size=8), add_pooling_layer=False)
    return network.eval()


@pytest.fixture
def folder(tmp_path: Path, vit: Any) -> Path:
    return save(vit, tmp_path / "small-vit")


def build(folder: Path, **values: Any) -> HuggingFace:
    return HuggingFace(GRAY, HuggingFaceConfig(model=str(folder), **values)).eval()


def read(images: torch.Tensor, side: int, mode: str = "bilinear") -> torch.Tensor:
    resized = F.interpolate(images.repeat(1, 3, 1, 1), (side, side), mode=mode, antialias=True)
    return (resized - 0.5) / 0.5


@torch.no_grad()
def test_features_are_the_class_token_or_the_mean_of_the_others(folder: Path, vit: Any) -> None:
    images = torch.rand(3, 1, 8, 8)
    tokens = vit(pixel_values=read(images, 32)).last_hidden_state
    torch.testing.assert_close(build(folder)(images), tokens[:, 0])
    torch.testing.assert_close(build(folder, pool="mean")(images), tokens[:, 1:].mean(1))
    torch.testing.assert_close(build(folder).maps(images)["last"].flatten(2), tokens[:, 1:].transpose(1, 2))


@torch.no_grad()
def test_another_size_resamples_positions(folder: Path, vit: Any) -> None:
    images = torch.rand(2, 1, 8, 8)
    expected = vit(pixel_values=read(images, 48), interpolate_pos_encoding=True).last_hidden_state
    torch.testing.assert_close(build(folder, size=48)(images), expected[:, 0])


@torch.no_grad()
def test_the_preprocessor_of_the_folder_is_followed(folder: Path, vit: Any) -> None:
    said = {"image_mean": [0.1] * 3, "image_std": [0.2] * 3, "size": {"height": 32, "width": 32}, "resample": 3}
    before = HuggingFace.outside_weights(HuggingFaceConfig(model=str(folder)))
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    images = torch.rand(2, 1, 8, 8)
    resized = F.interpolate(images.repeat(1, 3, 1, 1), (32, 32), mode="bicubic", antialias=True)
    expected = vit(pixel_values=(resized - 0.1) / 0.2).last_hidden_state[:, 0]
    torch.testing.assert_close(build(folder)(images), expected)
    assert HuggingFace.outside_weights(HuggingFaceConfig(model=str(folder))).digest != before.digest


@torch.no_grad()
def test_a_convolutional_model_is_averaged_over_positions(tmp_path: Path) -> None:
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    network: Any = ResNetModel(config)
    network.eval()
    encoder = build(save(network, tmp_path / "resnet"), size=32)
    images = torch.rand(2, 1, 8, 8)
    last = network(pixel_values=read(images, 32)).last_hidden_state
    torch.testing.assert_close(encoder(images), last.mean((2, 3)))
    torch.testing.assert_close(encoder.maps(images)["last"], last)


@torch.no_grad()
def test_of_a_model_of_images_and_text_the_part_for_images_is_taken(tmp_path: Path) -> None:
    vision = {**SMALL, "image_size": 16, "patch_size": 8}
    text = {**SMALL, "vocab_size": 50, "max_position_embeddings": 8, "bos_token_id": 0, "eos_token_id": 1}
    network: Any = CLIPModel(CLIPConfig(vision_config=vision, text_config=text))
    network.eval()
    images = torch.rand(2, 1, 8, 8)
    expected = network.vision_model(pixel_values=read(images, 16)).last_hidden_state[:, 0]
    torch.testing.assert_close(build(save(network, tmp_path / "clip"))(images), expected)


def test_the_digest_is_of_the_weights_and_not_of_the_folder(folder: Path, tmp_path: Path, vit: Any) -> None:
    weights = HuggingFace.outside_weights(HuggingFaceConfig(model=str(folder)))
    elsewhere = HuggingFace.outside_weights(HuggingFaceConfig(model=str(save(vit, tmp_path / "b"))))
    assert (weights.name, weights.source, weights.digest) == ("small-vit", "small-vit", elsewhere.digest)
    other = copy.deepcopy(vit)
    other.layernorm.weight.data.mul_(2)
    assert (
        HuggingFace.outside_weights(HuggingFaceConfig(model=str(save(other, tmp_path / "c")))).digest != weights.digest
    )
    assert HuggingFace.outside_weights(HuggingFaceConfig(model=str(folder), size=48)).digest != weights.digest


def test_weights_that_the_file_lacks_are_an_error_only_where_they_are_used(tmp_path: Path, vit: Any) -> None:
    folder = save(vit, tmp_path / "headless")
    build(folder)
    with pytest.raises(RequestError, match=r"lacks weights that the model uses: pooler\..*pool=mean"):
        build(folder, pool="pooler")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(RequestError, match=r"lacks weights that the model uses: .*layer.*2"):
        build(folder)


def test_digests_do_not_know_the_random_pooler(folder: Path) -> None:
    digests = set()
    for seed in (0, 1):
        torch.manual_seed(seed)
        digests.add(HuggingFace.outside_weights(HuggingFaceConfig(model=str(folder))).digest)
    assert len(digests) == 1


@torch.no_grad()
def test_copies_and_loaded_states_agree(folder: Path) -> None:
    encoder, other, images = build(folder), build(folder), torch.rand(2, 1, 8, 8)
    for parameter in other.parameters():
        parameter.zero_()
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(encoder(images), other(images))
    assert torch.equal(encoder(images), copy.deepcopy(encoder)(images))


def test_bad_input_says_what_is_right(tmp_path: Path) -> None:
    assert "huggingface.model=NAME" in str(HuggingFace.skip_reason(GRAY, HuggingFaceConfig()))
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match=r"cannot be loaded .* a folder with config\.json"):
        HuggingFace.outside_weights(HuggingFaceConfig(model=str(tmp_path / "empty")))
