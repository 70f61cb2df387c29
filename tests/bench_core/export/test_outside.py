"""An encoder that was built on weights from elsewhere is built on the same file again, or not at all."""

from pathlib import Path

import pytest
import torch

import bench_core
from bench_core import run
from bench_core.errors import RequestError
from bench_core.export.convert import convert
from bench_core.export.load import load_trained
from bench_core.plugins import Registry
from bench_core.store import Store
from bench_core.store.chain_names import select_chains

timm = pytest.importorskip("timm")


def test_a_file_of_weights_must_be_named_again_and_be_the_same(registry: Registry, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = timm.create_model("test_vit", pretrained=False)
    torch.save(model.state_dict(), tmp_path / "vit.pt")
    torch.save(timm.create_model("test_vit", pretrained=False).state_dict(), tmp_path / "other.pt")
    settings = {"timm.model": "test_vit", "timm.weights": str(tmp_path / "vit.pt"), "timm.size": 160,
                "digits.train_size": 50, "digits.test_size": 50}  # fmt: skip
    run("frozen", "knn", encoders="timm", settings=settings, device="cpu", store=tmp_path / "runs", progress=False)
    [chain] = select_chains(Store(tmp_path / "runs"))

    for wrong in ({}, {"timm.weights": str(tmp_path / "other.pt")}):
        with pytest.raises(RequestError, match=r"built on weights from elsewhere.*timm\.weights"):
            bench_core.load_encoder(chain.folder, settings=wrong)
    with pytest.raises(RequestError, match=r"timm\.model cannot be set"):
        bench_core.load_encoder(chain.folder, settings={"timm.model": "resnet18"})

    trained = load_trained(chain.folder, registry, {"timm.weights": str(tmp_path / "vit.pt")})
    state = trained.encoder.state_dict()
    for name, tensor in model.state_dict().items():
        assert name.startswith("head.") or torch.equal(state[f"net.{name}"], tensor)
    with pytest.raises(RequestError, match="use --to torch_export or onnx"):
        convert(trained, chain.name, "huggingface", tmp_path / "out", registry)
    convert(trained, chain.name, "torch_export", tmp_path / "out", registry)
    images = torch.rand(3, 1, 8, 8)
    program = torch.export.load(tmp_path / "out" / "model.pt2").module()
    torch.testing.assert_close(program(images), trained.encoder(images))
