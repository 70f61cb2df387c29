"""Passes over a split in batches, paths of datasets, and digests."""

import hashlib
import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bench_core.contracts import Batch, DataSpec, Split
from bench_core.data import (
    cache_root,
    default_data_root,
    digest_of,
    fetching,
    loading,
    missing_data,
    open_split,
    take,
)
from bench_core.data.loading import Resident, Streamed
from bench_core.data.made import made_split
from bench_core.errors import DataMissingError, RequestError

CPU = torch.device("cpu")


def images(count: int = 10) -> Split:
    rng = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (count, 1, 4, 4), generator=rng, dtype=torch.uint8)
    return Split(inputs, labels=torch.arange(count) % 3)


@dataclass
class TensorReader:
    """Reads from a tensor by index, as a folder of images is read."""

    data: Tensor

    def __len__(self) -> int:
        return len(self.data)

    def read(self, index: Tensor) -> Tensor:
        return self.data[index]


@dataclass
class Bag:
    """Batch that is not a tensor but can be moved to a device, such as a batch of graphs."""

    nodes: Tensor
    device: torch.device | None = None

    def to(self, device: torch.device) -> "Bag":
        return Bag(self.nodes.to(device), device)


class BagReader:
    def __len__(self) -> int:
        return 4

    def read(self, index: Tensor) -> Bag:
        return Bag(index * 2)


def assert_same(first: Iterator[Batch], second: Iterator[Batch]) -> None:
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.index, b.index)
        assert a.labels is not None
        assert b.labels is not None
        assert torch.equal(a.labels, b.labels)


@pytest.mark.parametrize("workers", [0, 1])
def test_streamed_and_resident_give_identical_batches(workers: int) -> None:
    split = images()
    reader = Split(TensorReader(split.inputs), split.labels)  # type: ignore[arg-type]  # a fixture types inputs as the union
    resident, streamed = open_split(split, CPU), open_split(reader, CPU, workers=workers)
    assert isinstance(resident, Resident)
    assert isinstance(streamed, Streamed)
    rngs = [torch.Generator().manual_seed(3) for _ in range(2)]
    for _ in range(2):  # the second pass draws another order
        assert_same(resident.batches(4, rng=rngs[0], labels=True), streamed.batches(4, rng=rngs[1], labels=True))


@pytest.fixture
def spawning() -> Iterator[None]:
    """The way of starting processes of Linux from Python 3.14 on, which pickles what it gives to them."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("forkserver", force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.usefixtures("spawning")
def test_reader_that_cannot_be_pickled_is_read_by_workers() -> None:
    class Local(TensorReader):
        pass

    vectors = torch.rand(10, 2, generator=torch.Generator().manual_seed(0))
    (batch,) = open_split(Split(Local(vectors)), CPU, workers=1).batches(10)
    assert torch.equal(batch.inputs, vectors)


def test_tensor_is_resident_on_a_gpu_up_to_its_part_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    device, inputs = torch.device("cuda", 0), torch.zeros(10, dtype=torch.float64)  # 80 bytes
    for free, fits in ((160, True), (158, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10**9))
        assert loading._fits(inputs, device, 0.5) is fits
    assert loading._fits(inputs, CPU, 0.0)


def test_streamed_tensor_gives_the_same_batches_as_a_resident_one() -> None:
    split = images()
    assert_same(Streamed(split, CPU, 0).batches(4, labels=True), Resident(split, CPU).batches(4, labels=True))


def test_each_pass_draws_one_permutation_when_it_is_called() -> None:
    source = open_split(images(), CPU)
    first = source.batches(4, rng=(rng := torch.Generator().manual_seed(1)))
    second = source.batches(4, rng=rng)  # before any batch of the first pass is read
    expected = torch.Generator().manual_seed(1)
    for batches in (first, second):
        order = torch.cat([b.index for b in batches])
        assert torch.equal(order, torch.randperm(10, generator=expected))


def test_pass_without_a_generator_is_in_index_order() -> None:
    batches = list(open_split(images(), CPU).batches(4))
    assert [b.index.tolist() for b in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert all(b.index.dtype == torch.int64 for b in batches)


def test_uint8_becomes_float_between_0_and_1() -> None:
    split = Split(torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1))
    (batch,) = open_split(split, CPU).batches(3)
    assert batch.inputs.dtype == torch.float32
    assert torch.allclose(batch.inputs.flatten(), torch.tensor([0.0, 0.2, 1.0]))


def test_tensors_of_other_types_are_not_converted() -> None:
    vectors = torch.tensor([[1.5, -300.0]], dtype=torch.float64)
    (batch,) = open_split(Split(vectors), CPU).batches(1)
    assert torch.equal(batch.inputs, vectors)
    assert batch.inputs.dtype == torch.float64


def test_changing_a_batch_does_not_change_the_data() -> None:
    vectors = torch.ones(4, 2)
    for batch in open_split(Split(vectors), CPU).batches(2):
        batch.inputs.zero_()
    assert bool((vectors == 1).all())


def test_inputs_that_are_no_tensor_are_moved_by_their_to_method() -> None:
    batches = list(open_split(Split(BagReader()), CPU).batches(2))
    assert [b.inputs.nodes.tolist() for b in batches] == [[0, 2], [4, 6]]
    assert all(b.inputs.device == CPU for b in batches)


def test_batches_have_labels_only_on_request() -> None:
    source = open_split(images(), CPU)
    assert all(b.labels is None for b in source.batches(4))
    for batch in source.batches(4, labels=True):
        assert batch.labels is not None
        assert torch.equal(batch.labels, batch.index % 3)


@pytest.mark.parametrize(("count", "expected"), [(8, [4, 4]), (10, [4, 4]), (3, [3]), (0, [])])
def test_drop_last_leaves_out_the_short_batch_unless_it_is_the_only_one(count: int, expected: list[int]) -> None:
    split = images(count)
    reader = Split(TensorReader(split.inputs), split.labels)  # type: ignore[arg-type]  # a fixture types inputs as the union
    for source in (open_split(split, CPU), open_split(reader, CPU)):
        assert len(source) == count
        assert [len(b.index) for b in source.batches(4, drop_last=True)] == expected


def test_a_pass_does_not_change_the_global_random_state() -> None:
    state = torch.random.get_rng_state()
    split = images()
    for source in (open_split(split, CPU), Streamed(split, CPU, 0)):
        list(source.batches(4, rng=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_request_for_labels_of_a_split_without_labels_is_refused() -> None:
    split = Split(torch.zeros(2, 1))
    for source in (open_split(split, CPU), Streamed(split, CPU, 0)):
        with pytest.raises(RequestError, match="this split has none"):
            source.batches(1, labels=True)


def test_batch_size_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size must be >= 1, got 0"):
        open_split(images(), CPU).batches(0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_tensor_too_large_for_the_gpu_is_streamed() -> None:
    device, split = torch.device("cuda", 0), images()
    resident = open_split(split, device)
    streamed = open_split(split, device, memory_fraction=0.0)
    assert isinstance(resident, Resident)
    assert isinstance(streamed, Streamed)
    assert all(b.inputs.device == device for b in streamed.batches(4))
    assert_same(resident.batches(4, labels=True), streamed.batches(4, labels=True))


def test_environment_variables_set_cache_folder_and_data_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "bench"
    assert default_data_root() == tmp_path / "bench" / "data"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_data_root() == Path.home() / ".cache" / "bench" / "data"
    monkeypatch.setenv("BENCH_DATA", "/big/disk")
    assert default_data_root() == Path("/big/disk")


def test_digest_is_sha256_of_content_shape_and_type() -> None:
    data = torch.arange(6, dtype=torch.uint8)
    assert digest_of(data) == "sha256:" + hashlib.sha256(b"uint8 (6,)\n" + bytes(range(6))).hexdigest()
    assert digest_of(data) == digest_of(data.numpy())
    variants = [data, data.view(2, 3), data.long(), data.flip(0), data[:5]]
    assert len({digest_of(variant) for variant in variants}) == 5


def test_digest_does_not_depend_on_memory_layout() -> None:
    array = np.arange(6, dtype="<i4").reshape(2, 3)
    assert digest_of(np.asfortranarray(array)) == digest_of(array)
    assert digest_of(array.astype(">i4")) == digest_of(array)


def test_digest_depends_on_where_one_part_ends() -> None:
    assert digest_of("ab", "c") != digest_of("a", "bc")
    assert digest_of("ab") == digest_of(b"ab")


def test_missing_data_error_names_the_path_and_what_to_type() -> None:
    message = str(missing_data("mnist", Path("/data/MNIST/raw"), "does not exist", fetch=True))
    for part in ("mnist", "/data/MNIST/raw", "does not exist", "--download", "--data-root", "BENCH_DATA"):
        assert part in message
    assert "--download" not in str(missing_data("mine", Path("/data"), "does not exist", fetch=False))


def test_failed_download_raises_data_missing_error() -> None:
    with pytest.raises(DataMissingError, match=r"cannot be fetched \(no route to host\)"), fetching("x", Path()):
        raise OSError("no route to host")


def test_nodes_are_one_batch_in_order_whatever_the_batch_size() -> None:
    spec = DataSpec(shape=(2,), splits={"train": 9}, kind="nodes", num_classes=3)
    split = made_split(spec, 9)
    source = open_split(take(split, torch.tensor([4, 7, 1])), CPU)
    assert source.step_items(2) == 3
    (batch,) = source.batches(2, rng=torch.Generator().manual_seed(3), drop_last=True, labels=True)
    assert batch.inputs.index.tolist() == [4, 7, 1]
    assert len(batch.inputs.features) == 9
    assert batch.index.tolist() == [0, 1, 2]
    assert batch.labels is not None
    assert batch.labels.tolist() == [1, 1, 1]


def test_factors_come_only_where_they_are_asked_for() -> None:
    split = Split(torch.arange(3.0)[:, None], factors=torch.tensor([[0], [-1], [2]]))
    source = open_split(split, CPU)
    (batch,) = source.batches(3)
    assert batch.factors is None
    (batch,) = source.batches(3, factors=True)
    assert batch.factors is not None
    assert batch.factors.tolist() == [[0], [-1], [2]]
    with pytest.raises(RequestError, match="needs factors"):
        open_split(Split(torch.arange(3.0)), CPU).batches(3, factors=True)
