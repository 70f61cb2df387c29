"""Files of tensors appear whole, and say by their digest whether they are."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench_core.errors import StoreError
from bench_core.files import file_digest
from bench_core.store.tensors import holds_tensors, load_tensors, save_tensors, tensor_names, tensor_rows


def written_in_pieces(path: Path, tensors: Mapping[str, Tensor], size: int) -> None:
    with tensor_rows(path, rows := len(next(iter(tensors.values())))) as file:
        for start in range(0, rows, size):
            file.append({name: values[start : start + size] for name, values in tensors.items()})


def test_tensors_come_back(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor([True, False])}
    save_tensors(tmp_path / "x.safetensors", tensors)
    loaded = load_tensors(tmp_path / "x.safetensors", file_digest(tmp_path / "x.safetensors"))
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert tensor_names(tmp_path / "x.safetensors") == {"a", "b"}
    assert holds_tensors(tmp_path / "x.safetensors")


@pytest.mark.parametrize("write", [save_tensors, lambda path, tensors: written_in_pieces(path, tensors, 30_000)])
def test_full_disk_is_an_error_with_the_files_name_and_leaves_the_file_before(
    tmp_path: Path, write: Callable[[Path, Mapping[str, Tensor]], None]
) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.zeros(2)})
    before = path.read_bytes()
    resource = pytest.importorskip("resource")  # no file may be longer than this, as on a full disk
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StoreError, match=r"x\.safetensors cannot be written .*File too large"):
            write(path, {"a": torch.zeros(100_000)})
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


def test_file_written_in_pieces_has_the_bytes_of_one_written_at_once(tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(0)
    tensors = {
        "features": torch.randn(1100, 12, generator=rng),
        "code": torch.randn(1100, 7, generator=rng) > 0,
        "latent": torch.randn(1100, 3, 2, generator=rng),
        "numbers": torch.arange(1100),
        "bytes": torch.arange(1100).to(torch.uint8),
        'a "name", é': torch.randn(1100, 5, generator=rng).half(),
    }
    save_tensors(tmp_path / "whole", tensors)
    for size in (1, 300, 1100):
        written_in_pieces(tmp_path / "pieces", tensors, size)
        assert (tmp_path / "pieces").read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        ({"a": torch.zeros(2, 4)}, "the first rows have {'a': 'torch.float32 (3,)'}, later ones"),
        ({"a": torch.zeros(2, 3).long()}, "later ones {'a': 'torch.int64 (3,)'}"),
        ({"b": torch.zeros(2, 3)}, "later ones {'b': 'torch.float32 (3,)'}"),
        ({"a": torch.zeros(3, 3)}, "rows 2 to 4 are missing, got [3] more"),
        ({"a": torch.zeros(1, 3)}, "3 of 4 rows were written"),
    ],
)
def test_pieces_that_do_not_fit_leave_no_file(tmp_path: Path, piece: dict[str, Tensor], words: str) -> None:
    def write() -> None:
        with tensor_rows(tmp_path / "x", 4) as file:
            file.append({"a": torch.zeros(2, 3)})
            file.append(piece)

    with pytest.raises(ValueError, match=re.escape(words)):
        write()
    assert list(tmp_path.iterdir()) == []


def test_loaded_tensors_are_a_map_of_the_file_that_writing_does_not_change(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.zeros(1000, 100)})
    digest = file_digest(path)
    load_tensors(path, digest)["a"].fill_(1)
    assert file_digest(path) == digest
    assert not load_tensors(path, digest)["a"].any()
