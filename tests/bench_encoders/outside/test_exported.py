"""Exported graphs against the network that was exported."""

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from torch import Tensor, nn

from bench_core import DataSpec
from bench_core.errors import RequestError
from bench_encoders.outside.exported import Exported, ExportedConfig

GRAY = DataSpec(shape=(1, 8, 8), splits={"train": 64}, mean=(0.3,), std=(0.4,), num_classes=10)


class Network(nn.Module):
    def __init__(self, pooled: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.pooled = nn.Conv2d(3, 5, 3), pooled

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.conv(images).relu()
        return maps.mean((2, 3)) if self.pooled else maps


def export(folder: Path, *, pooled: bool = True, free: bool = True) -> tuple[Path, Network]:
    network = Network(pooled).eval()
    shapes = {"images": {0: torch.export.Dim.DYNAMIC}} if free else None
    program = torch.export.export(network, (torch.rand(4, 3, 16, 16),), dynamic_shapes=shapes)
    torch.export.save(program, folder / "net.pt2")
    return folder / "net.pt2", network


def build(path: Path, **values: object) -> Exported:
    return Exported(GRAY, ExportedConfig(path=str(path), **values)).eval()  # type: ignore[arg-type]  # any of the parameters


def resized(images: Tensor) -> Tensor:
    return F.interpolate(images.repeat(1, 3, 1, 1), (16, 16), mode="bicubic", antialias=True)


@pytest.mark.parametrize("count", [1, 2, 4, 5])
@pytest.mark.parametrize("free", [True, False])
@torch.no_grad()
def test_features_are_those_of_the_network_whatever_the_batch(tmp_path: Path, count: int, free: bool) -> None:
    path, network = export(tmp_path, free=free)
    images = torch.rand(count, 1, 8, 8)
    torch.testing.assert_close(build(path)(images), network(resized(images)))


@torch.no_grad()
def test_maps_are_averaged_and_standardising_can_be_asked_for(tmp_path: Path) -> None:
    path, network = export(tmp_path, pooled=False)
    encoder = build(path, mean=(0.5,), deviation=(0.25,))
    images = torch.rand(2, 1, 8, 8)
    maps = network((resized(images) - 0.5) / 0.25)
    torch.testing.assert_close(encoder(images), maps.mean((2, 3)))
    torch.testing.assert_close(encoder.maps(images)["output"], maps)
    assert torch.equal(copy.deepcopy(encoder)(images), encoder(images))


def onnx_sums(path: Path) -> Path:
    """Write a graph that sums each image by channel."""
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], np.array([2, 3]))
    node = helper.make_node("ReduceSum", ["images", "axes"], ["sums"], keepdims=0)
    taken = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 1, 8, 8])
    given = helper.make_tensor_value_info("sums", TensorProto.FLOAT, ["n", 1])
    opset = [helper.make_opsetid("", 13)]
    graph = helper.make_graph([node], "sums", [taken], [given], [axes])
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@torch.no_grad()
def test_onnx_is_run_by_onnxruntime(tmp_path: Path) -> None:
    encoder, images = build(onnx_sums(tmp_path / "sums.onnx")), torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(encoder(images), images.sum((2, 3)))
    assert encoder.dim == 1
    assert not encoder.state_dict().keys() - {"reading.standardize.mean", "reading.standardize.std"}


def test_the_row_is_named_after_the_file(tmp_path: Path) -> None:
    path, _ = export(tmp_path)
    weights = Exported.outside_weights(ExportedConfig(path=str(path)))
    assert (weights.name, weights.source, len(weights.digest)) == ("net", "net.pt2", 64)


def test_bad_input_says_what_is_right(tmp_path: Path) -> None:
    assert "exported.path=FILE" in str(Exported.skip_reason(GRAY, ExportedConfig()))
    sums = ExportedConfig(path=str(onnx_sums(tmp_path / "sums.onnx")))
    assert "channels" in str(Exported.skip_reason(DataSpec(shape=(3, 8, 8), splits={"train": 1}), sums))
    with pytest.raises(RequestError, match="no such file"):
        Exported.outside_weights(ExportedConfig(path=str(tmp_path / "none.pt2")))
    for name in ("damaged.onnx", "net.pth"):
        (tmp_path / name).write_bytes(b"no graph")
        with pytest.raises(RequestError, match=r"cannot be read as a graph|must end in \.pt2"):
            build(tmp_path / name)
