"""`convert`: each format is loaded back by its own library, with any number of images."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bench_core
from bench_core import DataSpec
from bench_core.errors import BenchError, RequestError, StoreError
from bench_core.export import formats
from bench_core.export.convert import convert
from bench_core.export.load import Trained, load_trained, records_of
from bench_core.plugins import Registry
from bench_core.store import Store
from bench_core.store.chain_names import find_chain

NAME = "digits/convnet/nac/seed-0"


@pytest.fixture
def trained(trained_store: Path, registry: Registry) -> Trained:
    return load_trained(find_chain(Store(trained_store), NAME), registry)


def made(encoder: str, shape: tuple[int, ...], registry: Registry, trained: Trained, **config: Any) -> Trained:
    """An encoder with its initial weights, as a chain on other images would have it."""
    component = registry.get("encoder", encoder)
    mean, std = (0.4,) * shape[0], (0.2,) * shape[0]
    data = DataSpec(shape=shape, splits={"train": 8}, mean=mean, std=std)
    values = component.cls.Config(**config)
    part = {"id": component.id, "revision": component.cls.revision, "config": dict(vars(values))}
    recipe = {"doc": {**trained.recipe["doc"], "encoder": part}}
    encoder_of = component.cls(data, values).eval().requires_grad_(False)
    return Trained(encoder_of, data, trained.folder, recipe, trained.summary)


@pytest.mark.parametrize("to", ["safetensors", "huggingface"])
def test_a_folder_of_weights_is_read_by_load_encoder_alone(
    to: str, trained: Trained, registry: Registry, tmp_path: Path
) -> None:
    assert convert(trained, NAME, to, tmp_path / "out", registry) == 0
    images = torch.rand(5, 1, 8, 8)
    assert torch.equal(bench_core.load_encoder(tmp_path / "out")(images), trained.encoder(images))


def test_hugging_face_reads_its_folder(trained: Trained, registry: Registry, tmp_path: Path) -> None:
    from bench_core.export.hub_model import HubEncoder

    convert(trained, NAME, "huggingface", tmp_path / "out", registry)
    images = torch.rand(5, 1, 8, 8)
    assert torch.equal(HubEncoder.from_pretrained(tmp_path / "out")(images), trained.encoder(images))


def test_torch_export_takes_any_number_of_images(trained: Trained, registry: Registry, tmp_path: Path) -> None:
    convert(trained, NAME, "torch_export", tmp_path / "out", registry)
    program = torch.export.load(tmp_path / "out" / "model.pt2").module()
    for count in (1, 2, 70):
        images = torch.rand(count, 1, 8, 8)
        torch.testing.assert_close(program(images), trained.encoder(images))


def test_onnxruntime_gives_the_same_features(trained: Trained, registry: Registry, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    convert(trained, NAME, "onnx", tmp_path / "out", registry)
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    for count in (1, 70):
        images = torch.rand(count, 1, 8, 8)
        [features] = session.run(["features"], {"images": images.numpy()})
        np.testing.assert_allclose(features, trained.encoder(images).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("encoder", "shape"), [("resnet18", (3, 64, 64)), ("vit_tiny", (3, 16, 16))])
def test_timm_reads_what_it_has_under_the_same_layers(
    encoder: str, shape: tuple[int, ...], trained: Trained, registry: Registry, tmp_path: Path
) -> None:
    timm = pytest.importorskip("timm")
    theirs = made(encoder, shape, registry, trained, **({"depth": 2} if encoder == "vit_tiny" else {}))
    convert(theirs, "x", "timm", tmp_path / "out", registry)
    model = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    images = torch.rand(2, *shape)
    features = model((images - 0.4) / 0.2).detach()
    torch.testing.assert_close(features, theirs.encoder(images), rtol=1e-4, atol=1e-5)


def test_timm_refuses_other_encoders_with_the_formats_that_work(
    trained: Trained, registry: Registry, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match="use --to safetensors, torch_export, onnx or huggingface"):
        convert(trained, NAME, "timm", tmp_path / "out", registry)
    small = made("resnet18", (3, 32, 32), registry, trained)
    with pytest.raises(RequestError, match="stem"):
        convert(small, NAME, "timm", tmp_path / "out", registry)
    assert not (tmp_path / "out").exists()


def test_other_features_leave_nothing(
    trained: Trained, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = formats.Format(formats.FORMATS["safetensors"].write, lambda *_: lambda x: trained.encoder(x) * 1.001, "")
    monkeypatch.setitem(formats.FORMATS, "safetensors", wrong)
    with pytest.raises(BenchError, match=r"differ by 0\.001"):
        convert(trained, NAME, "safetensors", tmp_path / "out", registry)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_kept(trained: Trained, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RequestError, match="is not empty"):
        convert(trained, NAME, "safetensors", tmp_path, registry)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_missing_package_is_named_with_its_extra(
    trained: Trained, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"pip install 'bench-core\[onnx\]'"):
        convert(trained, NAME, "onnx", tmp_path / "out", registry)


def test_the_card_has_recipe_scores_and_provenance(
    trained: Trained, trained_store: Path, registry: Registry, tmp_path: Path
) -> None:
    records = records_of(trained.folder, Store(trained_store))
    assert [record.seed for record in records] == [0]
    convert(trained, NAME, "safetensors", tmp_path / "out", registry, records)
    text = (tmp_path / "out" / "README.md").read_text()
    for part in (f"# {NAME}", "| recipe.epochs | 1 |", "| knn | top1 |", f"| chain | {trained.folder.name} |"):
        assert part in text


def test_torn_weights_and_odd_descriptions_are_refused(trained: Trained, registry: Registry, tmp_path: Path) -> None:
    convert(trained, NAME, "safetensors", tmp_path / "out", registry)
    torn = shutil.copytree(tmp_path / "out", tmp_path / "torn")
    (torn / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(StoreError, match="missing or damaged"):
        bench_core.load_encoder(torn)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    config["data"]["shape"] = "wide"
    (tmp_path / "out" / "config.json").write_text(json.dumps(config))
    with pytest.raises(StoreError, match="does not describe its data"):
        bench_core.load_encoder(tmp_path / "out")
