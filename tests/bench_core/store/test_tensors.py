"""Files of tensors appear whole, and say by their digest whether they are."""

from pathlib import Path

import pytest
import torch

from bench_core.errors import StoreError
from bench_core.files import file_digest
from bench_core.store.tensors import holds_tensors, load_tensors, save_tensors, tensor_names


def test_tensors_come_back(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor([True, False])}
    save_tensors(tmp_path / "x.safetensors", tensors)
    loaded = load_tensors(tmp_path / "x.safetensors", file_digest(tmp_path / "x.safetensors"))
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert tensor_names(tmp_path / "x.safetensors") == {"a", "b"}
    assert holds_tensors(tmp_path / "x.safetensors")


def test_full_disk_is_an_error_with_the_files_name_and_leaves_the_file_before(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.zeros(2)})
    before = path.read_bytes()
    resource = pytest.importorskip("resource")  # no file may be longer than this, as on a full disk
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StoreError, match=r"x\.safetensors cannot be written .*File too large"):
            save_tensors(path, {"a": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\xff" * 64])
def test_file_without_tensors_is_refused_by_its_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    assert not holds_tensors(path)
    with pytest.raises(StoreError, match=r"x\.safetensors is no safetensors file"):
        tensor_names(path)
    with pytest.raises(StoreError, match=r"x\.safetensors is missing or damaged; delete .* and run again"):
        load_tensors(path, "0" * 64)


def test_file_that_torch_cannot_map_is_an_error_of_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.zeros(2)})

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("unable to open file: Stale file handle (116)")

    for name in ("safe_open", "load_file"):
        monkeypatch.setattr(f"bench_core.store.tensors.{name}", fail)
    with pytest.raises(StoreError, match="Stale file handle"):
        tensor_names(path)
    with pytest.raises(StoreError, match="Stale file handle"):
        load_tensors(path, file_digest(path))
    assert not holds_tensors(path)
