"""Files of weights from elsewhere: which formats are read, and what is refused."""

import argparse
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bench_core.errors import RequestError, StoreError
from bench_core.files import file_digest
from bench_core.store.weight_files import check_weights, read_weights

WEIGHT = torch.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.ckpt"])
@pytest.mark.parametrize("is_zip", [True, False])
def test_nested_mappings_become_part_of_the_names(tmp_path: Path, name: str, is_zip: bool) -> None:
    path = tmp_path / name
    content = {"epoch": 3, "state_dict": {"conv1.weight": WEIGHT, "deeper": {"bias": WEIGHT[0]}}}
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    check_weights(path)
    tensors = read_weights(path, file_digest(path))
    assert list(tensors) == ["state_dict.conv1.weight", "state_dict.deeper.bias"]
    assert torch.equal(tensors["state_dict.conv1.weight"], WEIGHT)


def test_safetensors_are_read_by_what_the_file_holds_and_not_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    save_file({"weight": WEIGHT}, path)
    check_weights(path)
    assert torch.equal(read_weights(path, file_digest(path))["weight"], WEIGHT)


def test_state_of_an_optimizer_is_left_out(tmp_path: Path) -> None:
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    path = tmp_path / "a.pt"
    torch.save({"state_dict": layer.state_dict(), "optimizer": optimizer.state_dict()}, path)
    assert list(read_weights(path, file_digest(path))) == ["state_dict.weight", "state_dict.bias"]


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_file_that_needs_code_is_refused_with_two_lines_that_convert_it(tmp_path: Path, is_zip: bool) -> None:
    path = tmp_path / "a.pth"
    content = {"args": argparse.Namespace(epochs=3), "teacher": {"weight": WEIGHT}, "student": {"weight": WEIGHT}}
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(RequestError, match=r"holds more than tensors \(argparse.Namespace\)") as refused:
        check_weights(path)
    _, *lines = str(refused.value).splitlines()
    assert len(lines) == 2
    subprocess.run([sys.executable, "-c", "\n".join(line.strip() for line in lines)], check=True)
    converted = tmp_path / "a.weights.pt"
    tensors = read_weights(converted, file_digest(converted))
    assert list(tensors) == ["teacher.weight", "student.weight"]
    assert torch.equal(tensors["teacher.weight"], WEIGHT)


def test_a_pickled_module_is_refused_and_its_state_dict_is_to_be_saved(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(torch.nn.Linear(3, 2), path)
    with pytest.raises(RequestError, match=r"torch\.save\(c\.state_dict\(\)"):
        check_weights(path)


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 cut", b"\x80\x02cos\nsystem\n."])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=r"holds no weights|holds more than tensors"):
        check_weights(path)


@pytest.mark.parametrize("content", [{}, [WEIGHT], WEIGHT, {"epoch": 3}, {1: WEIGHT}])
def test_a_file_without_named_tensors_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "a.pt"
    torch.save(content, path)
    with pytest.raises(RequestError, match="no tensor under a name"):
        check_weights(path)


def test_a_mapping_that_contains_itself_is_read_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    content: dict[str, object] = {"weight": WEIGHT}
    content["again"] = content
    torch.save(content, path)
    assert "weight" in read_weights(path, file_digest(path))


def test_a_file_that_changed_after_it_was_planned_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"weight": WEIGHT}, path)
    digest = file_digest(path)
    torch.save({"weight": WEIGHT + 1}, path)
    with pytest.raises(StoreError, match="has changed"):
        read_weights(path, digest)
