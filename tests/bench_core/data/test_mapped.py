"""Splits in memory become memory maps of files: same bits, shared by processes, never believed when damaged."""

import logging
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import bench_core
from bench_core import Split
from bench_core.data import Graphs, mapped
from bench_core.data.files import digest_of
from bench_core.data.image_cache import cached_array
from bench_core.data.mapped import data_cache, is_mapped, shared, tensor_of

LABELS = torch.arange(64) % 4


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mapped, "SHARED_BYTES", 1)
    monkeypatch.setenv("BENCH_DATA_CACHE", str(tmp_path / "cache"))


def split(dtype: torch.dtype = torch.uint8) -> Split:
    images = torch.from_numpy(np.random.RandomState(0).randint(0, 256, (64, 3, 4, 4)))
    return Split(images.to(dtype), LABELS)


def inputs(split: Split) -> torch.Tensor:
    assert isinstance(split.inputs, torch.Tensor)
    return split.inputs


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_map_has_the_same_bits(dtype: torch.dtype, tmp_path: Path) -> None:
    original = split(dtype)
    found = shared(original)
    assert is_mapped(inputs(found))
    assert torch.equal(inputs(found), inputs(original))
    assert inputs(found).dtype == dtype
    assert found.labels is LABELS
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [
        digest_of(inputs(original)).removeprefix("sha256:") + ".npy"
    ]


def test_bits_that_are_no_number_are_kept() -> None:
    values = torch.tensor([[float("nan"), -0.0], [0.0, float("inf")]])
    found = inputs(shared(Split(values)))
    assert is_mapped(found)
    assert torch.equal(found.view(torch.uint8), values.view(torch.uint8))


def test_second_load_maps_the_file_of_the_first(tmp_path: Path) -> None:
    shared(split())
    (file,) = (tmp_path / "cache").iterdir()
    before = file.stat()
    assert is_mapped(inputs(shared(split())))
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_writing_into_the_tensor_changes_neither_file_nor_other_maps() -> None:
    first, second = inputs(shared(split())), inputs(shared(split()))
    first.zero_()
    assert torch.equal(second, inputs(split()))
    assert torch.equal(inputs(shared(split())), inputs(split()))


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other shape", "folder"])
def test_damaged_file_is_never_believed(damage: str, tmp_path: Path) -> None:
    shared(split())
    (file,) = (tmp_path / "cache").iterdir()
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.unlink()
    if damage == "folder":
        file.mkdir()
    elif damage == "other shape":
        np.save(file, inputs(split()).numpy().reshape(64, 48))
    else:
        file.write_bytes({"flip": bytes(content), "cut": bytes(content[:-7]), "empty": b""}[damage])
    found = inputs(shared(split()))
    assert torch.equal(found, inputs(split()))
    assert is_mapped(found) == (damage != "folder")


def test_file_that_cannot_be_written_leaves_the_split_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    original = split()
    with caplog.at_level(logging.WARNING, "bench"):
        assert shared(original) is original
    assert "each process keeps its own copy of the data" in caplog.text


def test_user_without_a_home_has_no_data_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError

    monkeypatch.delenv("BENCH_DATA_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    original = split()
    assert data_cache() is None
    assert shared(original) is original


def test_named_folder_wins_over_the_variable_and_takes_maps_of_elsewhere(tmp_path: Path) -> None:
    found = inputs(shared(shared(split()), tmp_path / "node"))
    assert torch.equal(found, inputs(split()))
    assert len(list((tmp_path / "node").iterdir())) == len(list((tmp_path / "cache").iterdir())) == 1


def test_map_stays_where_it_is_if_no_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_DATA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    np.save(tmp_path / "a.npy", inputs(split()).numpy())
    original = Split(tensor_of(np.load(tmp_path / "a.npy", mmap_mode="c")))
    assert shared(original) is original
    assert not (tmp_path / "xdg").exists()


@pytest.mark.parametrize(
    "other",
    [
        Split(torch.zeros(8, 4, dtype=torch.bfloat16)),
        Split(torch.zeros(8, 4).t()),
        Split(torch.zeros(8, 4, device="meta")),
        Split(Graphs(torch.ones(2, 2), torch.tensor([[0, 1], [1, 0]]), torch.tensor([0, 0]), 1)),
    ],
    ids=["bfloat16", "transposed", "elsewhere", "graphs"],
)
def test_other_inputs_are_left_as_they_are(other: Split) -> None:
    assert shared(other) is other


def test_small_splits_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "SHARED_BYTES", inputs(split()).nbytes + 1)
    original = split()
    assert shared(original) is original


def test_many_writers_at_once_end_with_one_whole_file(tmp_path: Path) -> None:
    found: list[Split] = []
    threads = [threading.Thread(target=lambda: found.append(shared(split()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(is_mapped(inputs(part)) and torch.equal(inputs(part), inputs(split())) for part in found)
    assert len(os.listdir(tmp_path / "cache")) == 1


def test_array_in_parts_is_a_file_of_numpy_and_large_ones_are_trusted_by_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench_core.data.image_cache.ALWAYS_READ_BYTES", 1)
    whole, path = inputs(split()).numpy(), tmp_path / "a.npy"
    made: list[int] = []

    def get(*, trust_stamp: bool = True) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8 | np.float32]]:
        def make() -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8 | np.float32]]]:
            made.append(1)
            return [whole[:10], whole[10:]]

        return cached_array(path, {"content": "x"}, whole.shape, np.uint8, make, "a", trust_stamp=trust_stamp)

    for _ in range(2):
        assert np.array_equal(get(), whole)
    assert np.array_equal(np.load(path), whole)
    with monkeypatch.context() as patch:
        patch.setattr("bench_core.data.image_cache.digest_of", lambda part: digest_of(part + ""))  # of text alone
        get()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    stat = path.stat()
    path.unlink()
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # its date is set back
    assert np.array_equal(get(), whole)
    assert len(made) == 2
    assert np.array_equal(get(trust_stamp=False), whole)


def test_run_has_the_same_scores_on_maps_in_the_folder_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scores(name: str) -> list[float]:
        table = bench_core.run(
            methods=["simclr"], tasks=["knn"], encoders=["convnet"], seeds=[0], epochs=1, batch_size=256,
            store=tmp_path / name, data_cache=tmp_path / "node", progress=False,
        )  # fmt: skip
        return [float(value) for value in table["value"]]

    on_maps = scores("a")
    assert len(list((tmp_path / "node").iterdir())) == 2  # train and test of digits
    monkeypatch.setattr(mapped, "SHARED_BYTES", 1 << 40)
    assert scores("b") == on_maps


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system does not say which pages are shared")
def test_reading_a_map_takes_no_memory_of_the_process_own_and_writing_takes_that_of_the_pages_written() -> None:
    def own_bytes() -> int:
        """Return the bytes of the map that are not those of the file."""
        blocks = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.MULTILINE)
        (block,) = [block for block in blocks if ".npy" in block.partition("\n")[0]]
        found = re.search(r"^Anonymous: +(\d+) kB", block, re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024

    large = Split(torch.from_numpy(np.random.RandomState(0).randint(0, 256, (1024, 3, 32, 32), np.uint8)))
    inputs_of_map = inputs(shared(large))
    assert int(inputs_of_map.sum()) == int(inputs(large).sum())
    assert own_bytes() == 0
    inputs_of_map[0] = 0
    assert 0 < own_bytes() <= 4 * os.sysconf("SC_PAGE_SIZE")
