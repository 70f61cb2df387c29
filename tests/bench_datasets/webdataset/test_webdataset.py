"""Shards: what the index holds, in which order passes read, and what is refused."""

import hashlib
import io
import json
import shutil
import signal
import sys
import tarfile
import threading
from collections.abc import Callable, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Loss, NoConfig, Objective, Recipe
from bench_core.cli.group import main
from bench_core.config import plain
from bench_core.data import open_split, take
from bench_core.data.checked import load_split
from bench_core.data.image_files import decode
from bench_core.errors import ConfigError, DataMissingError, RequestError
from bench_core.training.checkpoints import Checkpoints
from bench_core.training.pretrain import pretrain
from bench_core.training.stopping import Stop, Stopped
from bench_datasets.webdataset.dataset import WebDataset, WebDatasetConfig, bench_datasets
from bench_datasets.webdataset.index import names_of
from bench_datasets.webdataset.shards import Samples

CPU = torch.device("cpu")
SIZES = {"train": (5, 3, 4), "test": (3, 2)}  # items of each shard


def image(number: int) -> bytes:
    """Content of a file whose image differs from all others."""
    buffer = io.BytesIO()
    pixels = np.random.RandomState(number).randint(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_shard(path: Path, files: Sequence[tuple[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as shard:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))


def samples(numbers: Sequence[int], labels: bool = True) -> list[tuple[str, bytes]]:
    files = []
    for number in numbers:
        files.append((f"{number:04d}.png", image(number)))
        if labels:
            files.append((f"{number:04d}.cls", b"%d\n" % (number % 3)))
        files.append((f"{number:04d}.json", b"{}"))  # passed over
    return files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of five shards without an index."""
    number = 0
    for split, sizes in SIZES.items():
        for place, size in enumerate(sizes):
            write_shard(tmp_path / "shards" / f"{split}-{place}.tar", samples(range(number, number + size)))
            number += size
    return tmp_path / "shards"


def dataset(folder: Path, *, indexed: bool = True, **config: Any) -> WebDataset:
    made = WebDataset(
        folder.parent, WebDatasetConfig(**{"path": folder.name, "size": 4, "shuffle_buffer": 3, **config})
    )
    if indexed:
        made.check_files()
    return made


def reader(made: WebDataset, split: str = "train") -> Samples:
    inputs = made.load(split).inputs
    assert isinstance(inputs, Samples)
    return inputs


def images(numbers: Sequence[int]) -> Tensor:
    return torch.from_numpy(decode([image(number) for number in numbers], 4, names=[str(n) for n in numbers]))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_index_holds_size_digest_items_and_classes_of_each_shard(folder: Path) -> None:
    dataset(folder)
    index = json.loads((folder / "index.json").read_text())
    content = (folder / "train-1.tar").read_bytes()
    assert list(index) == ["train", "test"]
    assert index["train"][1] == {
        "shard": "train-1.tar",
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "items": 3,
        "labels": [5 % 3, 6 % 3, 7 % 3],
    }


def test_spec_and_labels_come_from_the_index(folder: Path) -> None:
    made = dataset(folder)
    spec, split = made.spec(), made.load("test")
    assert (spec.shape, dict(spec.splits), spec.num_classes) == ((3, 4, 4), {"train": 12, "test": 5}, 3)
    assert split.labels is not None
    assert split.labels.tolist() == [number % 3 for number in range(12, 17)]
    assert WebDataset.Config is WebDatasetConfig
    assert bench_datasets() == {"webdataset": WebDataset}


def test_pass_without_a_generator_reads_all_images_in_order(folder: Path) -> None:
    batches = list(open_split(dataset(folder).load("train"), CPU).batches(5, labels=True))
    assert [len(batch.index) for batch in batches] == [5, 5, 2]
    assert torch.equal(torch.cat([batch.inputs for batch in batches]), images(range(12)).float() / 255)
    labels = [batch.labels for batch in batches if batch.labels is not None]
    assert torch.cat(labels).tolist() == [number % 3 for number in range(12)]


def test_order_is_that_of_a_buffer_that_is_refilled(folder: Path) -> None:
    """The formula, slowly: items of permuted shards pass through a buffer of three."""
    order, draws = reader(dataset(folder)).order(rng()).tolist(), rng()
    starts = [0, 5, 8]
    shards = torch.randperm(3, generator=draws).tolist()
    waiting = [item for shard in shards for item in range(starts[shard], starts[shard] + SIZES["train"][shard])]
    held, expected = waiting[:3], []
    for slot, item in zip(torch.randint(3, (9,), generator=draws).tolist(), waiting[3:], strict=True):
        expected.append(held[slot])
        held[slot] = item
    expected += [held[place] for place in torch.randperm(3, generator=draws).tolist()]
    assert order == expected


@pytest.mark.parametrize("buffer", [1, 3, 12, 1000])
def test_order_is_a_permutation_that_follows_from_the_seed_alone(buffer: int, folder: Path) -> None:
    made = dataset(folder, shuffle_buffer=buffer)
    first = reader(made).order(rng())
    assert sorted(first.tolist()) == list(range(12))
    assert torch.equal(reader(made).order(rng()), first)
    others = [reader(made).order(rng(seed)).tolist() for seed in range(1, 6)]
    assert any(other != first.tolist() for other in others)


def test_large_buffer_mixes_shards_evenly(folder: Path) -> None:
    read, generator = reader(dataset(folder, shuffle_buffer=100)), rng()
    first = torch.stack([read.order(generator) for _ in range(3000)]).float().mean(0)
    assert (first - 5.5).abs().max() < 0.3  # each place sees each item equally often; the error of a mean is 0.063


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_shuffled_pass_has_the_images_of_its_indices_whatever_the_workers(workers: int, folder: Path) -> None:
    source = open_split(dataset(folder).load("train"), CPU, workers=workers)
    batches = list(source.batches(5, rng=rng()))
    index = torch.cat([batch.index for batch in batches])
    assert torch.equal(index, reader(dataset(folder)).order(rng()))
    assert torch.equal(torch.cat([batch.inputs for batch in batches]), images(index.tolist()).float() / 255)


@pytest.mark.parametrize("skip", [0, 1, 2, 3])
def test_resumed_pass_goes_on_where_it_was(skip: int, folder: Path) -> None:
    source = open_split(dataset(folder).load("train"), CPU)
    whole, rest = list(source.batches(4, rng=rng())), list(source.batches(4, rng=rng(), skip=skip))
    assert len(rest) == 3 - skip
    for first, second in zip(whole[skip:], rest, strict=True):
        assert torch.equal(first.index, second.index)
        assert torch.equal(first.inputs, second.inputs)


class Mean(Objective):
    """Fits one weight to images, and stops the training after a step."""

    def __init__(self, encoder: Any, data: DataSpec, config: NoConfig) -> None:
        super().__init__(encoder, data, config)
        self.weight, self.seen = nn.Parameter(torch.zeros(3, 4, 4)), list[list[int]]()
        self.stop_after: tuple[int, Stop] | None = None

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Return the images."""
        self.seen.append(batch.index.tolist())
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return the distance of the weight."""
        if self.stop_after and len(self.seen) == self.stop_after[0]:
            self.stop_after[1]._number = signal.SIGTERM
        return Loss((views - self.weight).square().mean())


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_training_that_was_stopped_within_an_epoch_ends_with_the_same_bits(
    steps: int, folder: Path, tmp_path: Path
) -> None:
    made, stop = dataset(folder), Stop()

    def train(name: str, stop_after: tuple[int, Stop] | None = None) -> Mean:
        method = Mean(nn.Identity(), made.spec(), NoConfig())
        method.stop_after = stop_after
        checkpoints = Checkpoints(tmp_path / name, interval=1e6, stop=stop_after[1] if stop_after else Stop())
        source, recipe = open_split(made.load("train"), CPU), Recipe(epochs=3, batch_size=5)
        pretrain(
            method, source, recipe, seed=0, device=CPU, precision="fp32", log=tmp_path / "log", checkpoints=checkpoints
        )
        return method

    whole = train("whole")
    with pytest.raises(Stopped):
        train("stopped", (steps, stop))
    resumed = train("stopped")
    assert resumed.seen == whole.seen[steps:]
    assert torch.equal(resumed.weight, whole.weight)


def count_opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the name of each shard that is opened is added."""
    from bench_datasets.webdataset import shards

    opened: list[str] = []
    open_shard = shards.OpenShard

    def note(name: str, url: str) -> shards.OpenShard:
        opened.append(name)
        return open_shard(name, url)

    monkeypatch.setattr(shards, "OpenShard", note)
    return opened


def test_pass_opens_each_shard_once_and_a_resumed_one_leaves_out_those_used_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_split(dataset(folder, shuffle_buffer=1).load("train"), CPU)
    opened = count_opened(monkeypatch)
    assert sum(1 for _ in source.batches(1, rng=rng())) == 12
    assert sorted(opened) == ["train-0.tar", "train-1.tar", "train-2.tar"]
    last = opened[-1]
    opened.clear()
    assert sum(1 for _ in source.batches(1, rng=rng(), skip=11)) == 1
    assert opened == [last]


def test_items_are_read_by_index_in_any_order_and_several_times(folder: Path) -> None:
    index = torch.tensor([9, 0, 0, 7])
    assert torch.equal(reader(dataset(folder)).read(index), images(index.tolist()))


def test_part_of_the_items_is_read_in_sequence_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = take(dataset(folder).load("train"), torch.tensor([10, 1, 6, 2]))
    opened = count_opened(monkeypatch)
    batches = list(open_split(part, CPU).batches(3, labels=True))
    assert torch.equal(torch.cat([batch.inputs for batch in batches]), images([10, 1, 6, 2]).float() / 255)
    assert len(opened) == 3
    shuffled = torch.cat([batch.index for batch in open_split(part, CPU).batches(3, rng=rng())])
    assert sorted(shuffled.tolist()) == [0, 1, 2, 3]


def test_digest_is_of_contents_and_not_of_names(folder: Path, tmp_path: Path) -> None:
    digest = dataset(folder).digest()
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in folder.glob("*.tar"):
        path.rename(moved / path.name.replace("train", "learn"))
    made = dataset(moved, train="learn-{0..2}.tar")
    assert made.digest() == digest
    assert not {"path", "train", "test"} & set(plain(made.config))
    assert plain(made.config)["shuffle_buffer"] == 3
    write_shard(moved / "learn-1.tar", samples(range(20, 23)))
    assert dataset(moved, train="learn-*.tar").digest() != digest


def test_shards_come_from_any_command(folder: Path) -> None:
    index = torch.arange(12)
    expected = reader(dataset(folder)).read(index)
    piped = dataset(folder, train=f"pipe:cat {folder}/train-{{0..2}}.tar", test=None)
    assert dict(piped.spec().splits) == {"train": 12}
    assert torch.equal(reader(piped).read(index), expected)
    next(open_split(piped.load("train"), CPU).batches(2))  # the command is ended before it wrote everything
    gone = dataset(folder, indexed=False, train="pipe:exit 3", test=None)
    with pytest.raises(DataMissingError, match=r"pipe:exit 3 cannot be read"):
        gone.check_files()


@pytest.mark.skipif(shutil.which("curl") is None, reason="the library reads URLs with curl")
def test_shards_come_from_a_url(folder: Path) -> None:
    expected = reader(dataset(folder)).read(torch.arange(12))
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            served = dataset(folder, train=f"{address}/train-{{0..2}}.tar", test=None)
            assert torch.equal(reader(served).read(torch.arange(12)), expected)
            with pytest.raises(DataMissingError, match=r"none\.tar cannot be read"):
                dataset(folder, train=f"{address}/none.tar", test=None)
        finally:
            server.shutdown()
            thread.join()


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and logs nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        """Leave it out."""


def test_compressed_shards_are_read(folder: Path, tmp_path: Path) -> None:
    import gzip

    packed = tmp_path / "packed"
    packed.mkdir()
    for path in folder.glob("*.tar"):
        (packed / path.name).write_bytes(gzip.compress(path.read_bytes()))
    assert torch.equal(reader(dataset(packed)).read(torch.arange(12)), images(range(12)))


def test_shards_without_classes_have_no_labels(folder: Path) -> None:
    for number, path in enumerate(sorted(folder.glob("*.tar"))):
        write_shard(path, samples([number], labels=False))
    made = dataset(folder)
    assert made.spec().num_classes is None
    assert made.load("train").labels is None


def test_changed_shard_is_refused_when_it_was_read(folder: Path) -> None:
    made = dataset(folder)
    content = bytearray((folder / "train-1.tar").read_bytes())
    content[-1] = 1  # padding behind the last member, so that all images are as they were
    (folder / "train-1.tar").write_bytes(content)
    with pytest.raises(DataMissingError, match=r"train-1.tar is not as index.json has it.*bench check --datasets"):
        list(open_split(made.load("train"), CPU).batches(4))


def test_shard_of_another_size_is_refused_at_once(folder: Path) -> None:
    dataset(folder)
    write_shard(folder / "train-1.tar", samples(range(30)))
    with pytest.raises(DataMissingError, match=r"train-1.tar: is missing, or changed since index.json was made; it"):
        dataset(folder, indexed=False).spec()
    (folder / "train-1.tar").unlink()
    with pytest.raises(DataMissingError, match=r"index.json: is not of the shards 'train-\*\.tar' of train"):
        dataset(folder, indexed=False).spec()


def _remove(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _less(path: Path) -> None:
    path.write_text(path.read_text().replace('"labels": [2, 0, 1]', '"labels": [2, 0]'))


def _list(path: Path) -> None:
    path.write_text("[]")


@pytest.mark.parametrize("damage", [_remove, _cut, _less, _list])
def test_index_that_is_missing_or_damaged_says_how_to_make_it(damage: Callable[[Path], None], folder: Path) -> None:
    dataset(folder)
    damage(folder / "index.json")
    made = dataset(folder, indexed=False)
    words = rf"^webdataset: {folder}/index.json: .*made by `bench check --datasets webdataset --set webdataset.path="
    with pytest.raises(DataMissingError, match=words):
        made.spec()
    made.check_files()
    assert made.spec().num_train == 12


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([("a.txt", b"x"), ("a.cls", b"0")], "sample 'a' has no image; it has cls, txt"),
        ([("a.png", image(0)), ("a.cls", b"cat")], "has b'cat' in its file cls; write the number of its class"),
        ([("a.png", image(0)), ("a.cls", b"-1")], "has b'-1' in its file cls"),
        ([("a.png", image(0)), ("b.png", image(1)), ("b.cls", b"1")], "some samples have a class and others have not"),
        ([("a.png", image(0))], "train-1.tar has no classes, but other shards have"),
        ([("a.png", image(0)), ("a.png", image(1))], "cannot be read .*duplicate"),
    ],
)
def test_samples_that_cannot_be_used_are_refused(files: list[tuple[str, bytes]], words: str, folder: Path) -> None:
    write_shard(folder / "train-1.tar", files)
    with pytest.raises(DataMissingError, match=words):
        dataset(folder)
    assert [path.name for path in folder.iterdir() if path.suffix != ".tar"] == []


def test_cut_shard_and_missing_shards_are_refused(folder: Path) -> None:
    content = (folder / "train-1.tar").read_bytes()
    (folder / "train-1.tar").write_bytes(content[:700])
    with pytest.raises(DataMissingError, match=r"train-1.tar cannot be read"):
        dataset(folder)
    with pytest.raises(DataMissingError, match=r"no-\*.tar: no such shard"):
        dataset(folder, train="no-*.tar")
    with pytest.raises(DataMissingError, match=r"no.tar cannot be opened"):
        dataset(folder, train="no.tar")


def test_broken_image_is_named(folder: Path) -> None:
    write_shard(folder / "train-1.tar", [("cat7.png", b"no image"), ("cat7.cls", b"0")])
    made = dataset(folder)
    with pytest.raises(DataMissingError, match="the first is cat7"):
        list(open_split(made.load("train"), CPU).batches(4))


def test_names_are_braces_urls_and_sorted_files(folder: Path) -> None:
    assert names_of(folder, "train-{0..2}.tar") == ["train-0.tar", "train-1.tar", "train-2.tar"]
    assert names_of(folder, "t*-[01].tar") == ["test-0.tar", "test-1.tar", "train-0.tar", "train-1.tar"]
    assert names_of(folder, "https://x.org/*{a,b}.tar") == ["https://x.org/*a.tar", "https://x.org/*b.tar"]
    with pytest.raises(ConfigError, match="write braces as in"):
        names_of(folder, "train-{0..2.tar")


def test_no_split_of_another_name(folder: Path) -> None:
    with pytest.raises(RequestError, match="no split named 'val'; there are: train, test"):
        dataset(folder).load("val")


def test_library_that_is_not_installed_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "webdataset.gopen", None)
    with pytest.raises(RequestError, match=r"pip install 'bench-core\[webdataset\]'"):
        dataset(folder)


def test_loaded_split_is_checked_and_streamed(folder: Path) -> None:
    made = dataset(folder)
    split = load_split(made, made.spec(), "train")
    index = torch.cat([batch.index for batch in open_split(split, CPU).batches(5, rng=rng())])
    assert torch.equal(index, reader(made).order(rng()))


def test_from_shards_to_scores(folder: Path, tmp_path: Path) -> None:
    settings = [f"webdataset.path={folder}", "webdataset.size=8", "webdataset.shuffle_buffer=5"]
    words = ["--datasets", "webdataset", *(word for setting in settings for word in ("--set", setting))]
    run = ["run", *words, "--store", str(tmp_path / "store"), "--methods", "sela", "--encoders", "convnet"]
    run += ["--tasks", "knn", "--epochs", "1", "--batch-size", "4", "--set", "sela.clusters=3"]
    missing = CliRunner().invoke(main, run)
    assert (missing.exit_code, "`bench check --datasets webdataset" in missing.output) == (2, True), missing.output
    made = CliRunner().invoke(main, ["check", *words])
    assert made.exit_code == 0, made.output
    assert "split 'train' has 12 items, as its description says" in made.output
    result = CliRunner().invoke(main, run)
    assert result.exit_code == 0, result.output
