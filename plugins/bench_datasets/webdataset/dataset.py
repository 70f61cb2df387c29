"""Images in tar files (shards), local or behind any URL or command that the library webdataset opens.

Source: https://github.com/webdataset/webdataset, whose format this is: files of one sample have one name with several
    endings, `000017.jpg` and `000017.cls`. What becomes of the images is ours, as for `image_folder`.
Note:  Items lie in sequence: a pass permutes the shards and shuffles within a buffer, by the chain's seed. The digest
    is of the digests of all shards; names and URLs are in no key. Mean and std are the usual ones of ImageNet.

Shapes: (3, size, size); (1, size, size) if `grey`. Values are uint8.
"""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch

from bench_core import Config, Dataset, DataSpec, Split, hookimpl, param
from bench_core.data import digest_of
from bench_core.errors import RequestError, shown

from .index import read_index, write_index
from .shards import NAME, Samples, Shard


@dataclass(frozen=True, kw_only=True)
class WebDatasetConfig(Config):
    """Parameters of the dataset: where its shards are, and how images are decoded and shuffled."""

    path: str = param(
        "webdataset",
        "folder of index.json and of the shards that are files: absolute, or below the data root",
        "ours: any place",
        in_key=False,
    )
    train: str = param(
        "train-*.tar",
        "shards to train on: file names with * or {000..146}, or URLs such as https:, gs: or pipe:COMMAND",
        "usual names",
        in_key=False,
    )
    test: str | None = param("test-*.tar", "shards to test on; none: there are none", "usual names", in_key=False)
    size: int = param(224, "side of the decoded images, in pixels", "ours: usual for ImageNet", ge=1)
    grey: bool = param(False, "decode to one grey channel instead of RGB", "ours: photographs have colour")
    shuffle_buffer: int = param(
        2000,
        "items in memory from which the next one of a pass is drawn",
        "ours: webdataset's examples have 1000",
        ge=1,
    )
    views: Literal["natural", "glyph", "bands"] = param(
        "natural", "which changes keep the meaning of an image", "ours: photographs"
    )


class WebDataset(Dataset):
    """Images in tar files of the library webdataset.

    `bench check --datasets webdataset` reads all shards once and writes `index.json`; runs need it.
    """

    Config = WebDatasetConfig

    def __init__(self, root: Path, config: WebDatasetConfig) -> None:
        """Keep root and config; no file is read before `spec` or `digest`."""
        self.config, self.folder = config, root / os.path.expanduser(config.path)

    def spec(self) -> DataSpec:
        """Return shapes, classes and counts, from the index.

        Raises:
            DataMissingError: There is no index, or it is of other shards.
        """
        config = self.config
        labels = [label for part in self._shards.values() for shard in part for label in shard.labels or ()]
        return DataSpec(
            shape=(1 if config.grey else 3, config.size, config.size),
            splits={split: sum(shard.items for shard in part) for split, part in self._shards.items()},
            num_classes=max(labels) + 1 if labels else None,
            mean=None if config.grey else (0.485, 0.456, 0.406),
            std=None if config.grey else (0.229, 0.224, 0.225),
            views=config.views,
        )

    def digest(self) -> str:
        """Return the SHA-256 of the digests of all shards, in their order, and of their numbers of items."""
        content = {
            split: [[shard.sha256, shard.items] for shard in part] for split, part in sorted(self._shards.items())
        }
        return digest_of(json.dumps(content))

    def check_files(self) -> None:
        """Read all shards again and write the index."""
        self.__dict__.pop("_shards", None)
        write_index(self.folder, self._patterns)

    def load(self, split: str) -> Split:
        """Return one split, whose images are read in sequence.

        Raises:
            RequestError: No split has this name.
        """
        if split not in self._patterns:
            raise RequestError(f"no split named {shown(split)}; there are: {', '.join(self._patterns)}.")
        shards, config = self._shards[split], self.config
        labels = [label for shard in shards for label in shard.labels or ()]
        images = Samples(shards, config.size, config.grey, config.shuffle_buffer)
        return Split(images, torch.tensor(labels) if labels else None)

    @property
    def _patterns(self) -> dict[str, str]:
        """The shards of each split, as the parameters name them."""
        return {"train": self.config.train} | ({} if self.config.test is None else {"test": self.config.test})

    @cached_property
    def _shards(self) -> dict[str, list[Shard]]:
        """The shards of each split, as the index has them."""
        return read_index(self.folder, self._patterns)


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {NAME: WebDataset}
