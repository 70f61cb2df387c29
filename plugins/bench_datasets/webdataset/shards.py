"""Samples of tar files, one after another, and passes over them whose order follows from a generator alone.

A shuffled pass permutes the shards and then draws from a buffer, as the library's own `shuffle` does: the buffer holds
the next items, one of them at random is next, and the item after the buffer takes its place. All of that is computed
from the numbers of items before anything is read, so a pass that is resumed begins at any batch, and shards that are
used up are not opened.
"""

import hashlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench_core.data import EncodedImages
from bench_core.errors import DataMissingError, RequestError

NAME = "webdataset"
SUFFIXES = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif")


@dataclass(frozen=True)
class Shard:
    """One tar file as the index has it.

    Attributes:
        name: Path below the dataset's folder, or URL, as it is written in the parameters.
        url: What the library opens.
        bytes: Size of the file.
        sha256: Its digest.
        items: Number of samples.
        labels: Class of each sample; None where they have none.
    """

    name: str
    url: str
    bytes: int
    sha256: str
    items: int
    labels: tuple[int, ...] | None


@dataclass(frozen=True)
class Sample:
    """One sample of a shard: its key, the bytes of its image, and its class."""

    key: str
    image: bytes
    label: int | None


def library() -> tuple[Any, Any, Any]:
    """Return the library's functions that open URLs, read files of tar files, and group them into samples.

    Raises:
        RequestError: The library is not installed.
    """
    try:
        from webdataset.gopen import gopen
        from webdataset.tariterators import group_by_keys, tar_file_expander
    except ImportError as error:
        raise RequestError("webdataset is not installed; type: pip install 'bench-core[webdataset]'") from error
    return gopen, tar_file_expander, group_by_keys


class OpenShard:
    """A shard that is being read: its samples, and, once they are all read, its size and digest."""

    def __init__(self, name: str, url: str) -> None:
        """Open the shard.

        Args:
            name: Its name, for messages.
            url: A path, or any URL or command that the library knows.
        """
        gopen, self._files_of, self._group = library()
        self.name, self.url = name, url
        self._digest, self.bytes = hashlib.sha256(), 0
        try:
            self._file = gopen(url)
        except (OSError, ValueError) as error:
            raise DataMissingError(f"{NAME}: {name} cannot be opened ({error}).") from error

    def read(self, size: int = -1) -> bytes:
        """Read from the file, and count what was read."""
        block: bytes = self._file.read(size)
        self._digest.update(block)
        self.bytes += len(block)
        return block

    def close(self) -> None:
        """Close the file; a command that still writes ends, and it does not matter how."""
        with suppress(OSError):
            self._file.close()

    def samples(self) -> Iterator[Sample]:
        """Yield the samples, in their order; DataMissingError for one without an image, or with a wrong class."""
        try:
            for found in self._group(self._files_of([{"url": self.url, "stream": self}])):
                yield self._sample(found)
            while self.read(1 << 20):  # what lies behind the last member
                pass
            self._file.close()  # an error if a command failed
        except (DataMissingError, RequestError, GeneratorExit):
            raise
        except Exception as error:  # tarfile and the library raise many kinds
            reason = " ".join(str(error.args[0] if error.args else type(error).__name__).split())[:200]
            raise DataMissingError(f"{NAME}: {self.name} cannot be read ({reason}).") from error

    @property
    def sha256(self) -> str:
        """Digest of what was read so far: of the whole file once all samples were."""
        return self._digest.hexdigest()

    def _sample(self, found: dict[str, Any]) -> Sample:
        key = found["__key__"]
        image = next((found[suffix] for suffix in SUFFIXES if suffix in found), None)
        if image is None:
            have = ", ".join(sorted(suffix for suffix in found if not suffix.startswith("__")))
            raise DataMissingError(
                f"{NAME}: {self.name}: sample {key!r} has no image; it has {have}, and images end in one of "
                f"{', '.join(SUFFIXES)}."
            )
        if "cls" not in found:
            return Sample(key, image, None)
        text = found["cls"].strip()
        if not text.isdigit():
            raise DataMissingError(
                f"{NAME}: {self.name}: sample {key!r} has {text[:40]!r} in its file cls; write the number of its "
                "class, counted from 0."
            )
        return Sample(key, image, int(text))


class Samples:
    """A SequentialReader of the images of shards, decoded by the rules of image folders."""

    def __init__(self, shards: Sequence[Shard], size: int, grey: bool, buffer: int) -> None:
        """Keep the arguments; no shard is opened yet.

        Args:
            shards: The shards, in the order in which items are numbered.
            size: Side of the decoded images, in pixels.
            grey: Decode to one grey channel instead of three.
            buffer: Number of items from which the next one of a shuffled pass is drawn.
        """
        self.shards, self.size, self.grey, self.buffer = shards, size, grey, buffer
        self.ends = torch.tensor([shard.items for shard in shards]).cumsum(0)

    def __len__(self) -> int:
        """Return the number of images."""
        return int(self.ends[-1])

    def read(self, index: Tensor) -> Tensor:
        """Decode the images at index (N,) int64; all samples of their shards before them are read, too."""
        items, places = torch.unique(index, return_inverse=True)
        images: Tensor = next(self.stream([items]))
        return images[places]

    def order(self, rng: torch.Generator) -> Tensor:
        """Return the items of one shuffled pass (N,) int64; follows from the generator and the numbers of items."""
        starts = self.ends - torch.tensor([shard.items for shard in self.shards])
        shards = torch.randperm(len(self.shards), generator=rng).tolist()
        items = torch.cat([torch.arange(int(starts[shard]), int(self.ends[shard])) for shard in shards])
        held, rest = items[: self.buffer].tolist(), items[self.buffer :].tolist()
        slots = torch.randint(len(held), (len(rest),), generator=rng).tolist()
        order = []
        for slot, item in zip(slots, rest, strict=True):
            order.append(held[slot])
            held[slot] = item
        last = torch.tensor(held, dtype=torch.int64)[torch.randperm(len(held), generator=rng)]
        return torch.cat([torch.tensor(order, dtype=torch.int64), last])

    def stream(self, chunks: Sequence[Tensor]) -> Iterator[Tensor]:
        """Decode the images of each chunk of items (M,) int64, one chunk after the other."""
        if not chunks:
            return
        wanted = torch.zeros(len(self), dtype=torch.bool).index_fill_(0, torch.cat(list(chunks)), True)
        with closing(self._in_sequence(self._first_wanted(chunks), wanted)) as samples:
            held: dict[int, Sample] = {}
            for chunk in chunks:
                items = chunk.tolist()
                for item in items:
                    while item not in held:
                        number, sample = next(samples)
                        held[number] = sample
                yield self._decoded([held.pop(item) for item in items])
            if bool(wanted.all()):
                for _ in samples:  # to the end of the last shard, whose digest is then compared
                    pass

    def _first_wanted(self, chunks: Sequence[Tensor]) -> list[int]:
        """Return the shards in the order in which they are wanted first."""
        return list(dict.fromkeys(torch.searchsorted(self.ends, torch.cat(list(chunks)), right=True).tolist()))

    def _in_sequence(self, shards: Iterable[int], wanted: Tensor) -> Generator[tuple[int, Sample]]:
        """Yield number and sample of all wanted items of some shards; one that is not as in the index is refused."""
        for place in shards:
            shard, last = self.shards[place], int(self.ends[place])
            start = last - shard.items
            with closing(OpenShard(shard.name, shard.url)) as file:
                count = 0
                for count, sample in enumerate(file.samples(), 1):
                    if count > shard.items:
                        break
                    if wanted[start + count - 1]:
                        yield start + count - 1, sample
                if count != shard.items or file.sha256 != shard.sha256:
                    raise DataMissingError(
                        f"{NAME}: {shard.name} is not as index.json has it: it changed, or was cut. To make the index "
                        f"again, type: bench check --datasets {NAME} --set {NAME}.path=FOLDER"
                    )

    def _decoded(self, samples: Sequence[Sample]) -> Tensor:
        images = EncodedImages(NAME, _InMemory(samples), self.size, content="", grey=self.grey, max_cached_bytes=0)
        reader: Any = images.load()
        decoded: Tensor = reader.read(torch.arange(len(samples)))
        return decoded


class _InMemory:
    """Contents of some images, as `EncodedImages` reads them."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, places: Iterable[int]) -> list[bytes]:
        return [self.samples[place].image for place in places]

    def names(self, places: Iterable[int]) -> list[str]:
        return [self.samples[place].key for place in places]
