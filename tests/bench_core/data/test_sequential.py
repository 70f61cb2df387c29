"""Items that lie in sequence: their own order in shuffled passes, with checks, parts and skipped batches."""

from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from bench_core import DataSpec, Split
from bench_core.data import open_split, take
from bench_core.data.checked import load_split
from bench_core.errors import DataMissingError
from tests.bench_core.data.test_checked import dataset

CPU = torch.device("cpu")
SPEC = DataSpec(shape=(1, 2, 2), splits={"train": 6}, num_classes=2, name="dots")


class Tape:
    """A SequentialReader whose shuffled pass begins at a random item and goes round; item k is an image of k / 10."""

    def __init__(self, brightest: float = 0.5) -> None:
        self.values = torch.arange(6) / 10
        self.values[5] = brightest
        self.streams = 0

    def __len__(self) -> int:
        return 6

    def read(self, index: Tensor) -> Tensor:
        return self.values[index].view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()

    def order(self, rng: torch.Generator) -> Tensor:
        return torch.arange(6).roll(int(torch.randint(6, (), generator=rng)))

    def stream(self, chunks: Sequence[Tensor]) -> Iterator[Tensor]:
        self.streams += 1
        return map(self.read, chunks)


def rng(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def loaded(tape: Tape) -> Split:
    return load_split(dataset(lambda name: Split(tape, torch.arange(6) % 2)), SPEC, "train")


@pytest.mark.parametrize("workers", [0, 2])
def test_shuffled_pass_has_the_order_of_the_reader(workers: int) -> None:
    tape = Tape()
    batches = list(open_split(loaded(tape), CPU, workers=workers).batches(4, rng=rng(), labels=True))
    index = torch.cat([batch.index for batch in batches])
    assert torch.equal(index, tape.order(rng()))
    assert torch.equal(torch.cat([batch.inputs[:, 0, 0, 0] for batch in batches]), tape.values[index])
    assert [int(v) for batch in batches if batch.labels is not None for v in batch.labels] == (index % 2).tolist()
    assert tape.streams == (workers == 0)  # all of a pass is one stream, in this process or in one other


def test_pass_in_index_order_skips_batches_and_drops_the_last() -> None:
    source = open_split(loaded(Tape()), CPU)
    assert [batch.index.tolist() for batch in source.batches(4)] == [[0, 1, 2, 3], [4, 5]]
    assert [batch.index.tolist() for batch in source.batches(4, skip=1)] == [[4, 5]]
    assert [batch.index.tolist() for batch in source.batches(4, drop_last=True)] == [[0, 1, 2, 3]]


def test_streamed_items_are_checked() -> None:
    batches = open_split(loaded(Tape(brightest=2.0)), CPU).batches(2)
    assert [next(batches).index.tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(DataMissingError, match=r"^dataset dots, split 'train': in a batch that begins with item 4, "):
        next(batches)


def test_part_keeps_the_order_of_the_whole() -> None:
    tape, index = Tape(), torch.tensor([4, 0, 3])
    part = take(loaded(tape), index)
    in_order = torch.cat([batch.inputs[:, 0, 0, 0] for batch in open_split(part, CPU).batches(2)])
    assert torch.equal(in_order, tape.values[index])
    for seed in range(6):
        shuffled = torch.cat([batch.index for batch in open_split(part, CPU).batches(2, rng=rng(seed))])
        whole = [item for item in tape.order(rng(seed)).tolist() if item in index]
        assert index[shuffled].tolist() == whole


def test_part_with_an_item_twice_is_read_by_index() -> None:
    tape = Tape()
    part = take(loaded(tape), torch.tensor([1, 1, 5]))
    found = torch.cat([batch.inputs[:, 0, 0, 0] for batch in open_split(part, CPU).batches(2)])
    assert torch.equal(found, tape.values[torch.tensor([1, 1, 5])])
    assert tape.streams == 0
