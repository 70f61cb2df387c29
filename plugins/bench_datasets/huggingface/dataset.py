"""Images with labels from the Hugging Face hub, or from parquet files and folders that its library `datasets` reads.

Source: https://huggingface.co/docs/datasets. What becomes of the images is ours, as for `image_folder`.
Note:  The digest is of the bytes of the images and of their labels. Name, revision and the library's fingerprint are in
    no key: they only tell when to hash again. A dataset of the hub is copied below the data root by `--download`;
    everything else works without a network. Mean and std are the usual ones of ImageNet.

Shapes: (3, size, size); (1, size, size) if `grey`. Values are uint8.
"""

import json
import logging
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from bench_core import Dataset, DataSpec, Split, hookimpl, param
from bench_core.data import EncodedImages, Subsets, digest_of, fetching, missing_data, new_folder, subset, subset_counts
from bench_core.errors import ConfigError, RequestError, did_you_mean, shown

from .labels import number_labels
from .tables import NAME, ImageTable, library, open_splits

_log = logging.getLogger("bench")
_SOURCE = "bench-source.json"  # beside a copy of a dataset of the hub: where it came from


@dataclass(frozen=True, kw_only=True)
class HuggingFaceDatasetConfig(Subsets):
    """Parameters of the dataset: where it is, its splits and columns, and how images are decoded."""

    name: str | None = param(
        None,
        "name on the hub, or a folder or parquet file: absolute, or below the data root",
        "ours: any dataset",
        in_key=False,
    )
    config: str | None = param(None, "configuration of a dataset that has several", "ours: its default", in_key=False)
    revision: str | None = param(None, "branch, tag or commit on the hub; none: main", "usual", in_key=False)
    train: str = param("train", "its split to train on", "usual", in_key=False)
    test: str | None = param("test", "its split to test on; none: there is none", "usual", in_key=False)
    image: str | None = param(None, "column of the images; none: the only one", "ours", in_key=False)
    label: str | None = param(
        "auto", "column of the labels; auto: `label` or `labels`, if there; none: no labels", "ours", in_key=False
    )
    size: int = param(224, "side of the decoded images, in pixels", "ours: usual for ImageNet", ge=1)
    grey: bool = param(False, "decode to one grey channel instead of RGB", "ours: photographs have colour")
    depth: int = param(16, "bits of the values of images of 16 bits; 8 for others", "ours: all of them", ge=8, le=16)
    views: Literal["natural", "glyph", "bands"] = param(
        "natural", "which changes keep the meaning of an image", "ours: photographs"
    )

    def __post_init__(self) -> None:
        """Check ranges, and that queries have a test split to come from."""
        super().__post_init__()
        if self.test is None and (self.num_queries is not None or self.test_size is not None):
            raise ValueError("num_queries and test_size need a test split: set test to its name")


class HuggingFaceDataset(Dataset):
    """Images from the Hugging Face hub or its files.

    Reads a dataset of the hub, a folder of parquet files or images, or one parquet file, with the library `datasets`,
    and decodes its images to one size.
    """

    Config = HuggingFaceDatasetConfig

    def __init__(self, root: Path, config: HuggingFaceDatasetConfig) -> None:
        """Keep root and config; no file is read before `spec` or `digest`."""
        self.root, self.config = root, config
        self._trust_cache = True

    def spec(self) -> DataSpec:
        """Return shapes, classes and counts; the columns of labels are read.

        Raises:
            DataMissingError: The dataset is not there, or its splits or columns are not what they should be.
        """
        config, labels = self.config, self._labels
        counts = {name: len(table) for name, table in self._tables.items()}
        splits = subset_counts(config, counts["train"], counts.get("test", 0))
        if config.test is None:
            del splits["test"]
        single = next((found for found in labels.values() if found is not None), None)
        return DataSpec(
            shape=(1 if config.grey else 3, config.size, config.size),
            splits=splits,
            num_classes=len(self._classes) if single is not None and single.ndim == 1 else None,
            num_labels=len(self._classes) if single is not None and single.ndim == 2 else None,
            mean=None if config.grey else (0.485, 0.456, 0.406),
            std=None if config.grey else (0.229, 0.224, 0.225),
            views=config.views,
        )

    def digest(self) -> str:
        """Return the SHA-256 of the bytes of all images and of all labels."""
        parts: list[Tensor | str] = []
        for name in sorted(self._tables):
            labels = self._labels[name]
            parts += [name, self._content(name), "no labels" if labels is None else labels]
        return digest_of(*parts)

    def check_files(self) -> None:
        """Read all images again for `digest`."""
        self._trust_cache = False
        for name in ("_tables", "_labels", "_classes", "_labelled", "_contents"):
            self.__dict__.pop(name, None)

    def load(self, split: str) -> Split:
        """Read one split: `train` or `test`, or those that the config draws from them.

        Raises:
            RequestError: No split has this name.
        """
        if self.config.test is None and split != "train":
            raise RequestError(f"no split named {shown(split)}; there are: train.")
        return subset(self.config, split, self._whole)

    def download(self) -> None:
        """Copy a dataset of the hub below the data root, unless it is there."""
        if self._place.exists() or not self._is_of_hub:
            return
        datasets = library()
        with fetching(NAME, self._place):
            from huggingface_hub import HfApi

            name, config = str(self.config.name), self.config.config
            commit = HfApi().dataset_info(name, revision=self.config.revision).sha
            found = datasets.load_dataset(name, config, revision=commit)
            with new_folder(self._place, _SOURCE) as temporary:
                found.save_to_disk(str(temporary))
                (temporary / _SOURCE).write_text(json.dumps({"name": name, "config": config, "commit": commit}))
        _log.info("%s: copied commit %s of %s to %s", NAME, commit, name, self._place)

    @property
    def _is_of_hub(self) -> bool:
        """True if the name is none of a local file or folder, but may be one of the hub."""
        name = self.config.name or ""
        words = name.split("/")
        return len(words) <= 2 and all(words) and name[:1] not in "~." and not (self.root / name).exists()

    @cached_property
    def _place(self) -> Path:
        """The folder or file of the dataset; of one of the hub, its copy below the data root."""
        config = self.config
        if config.name is None:
            why = f"set {NAME}.name to a name on the hub (uoft-cs/cifar10), or to a folder or parquet file"
            raise missing_data(NAME, self.root / NAME, why, fetch=False)
        if not self._is_of_hub:
            return self.root / os.path.expanduser(config.name)
        parts = (config.name, config.config or "default", config.revision or "main")
        return self.root.joinpath("huggingface", *(part.replace("/", "--") for part in parts))

    @property
    def _existing(self) -> Path:
        """The place; DataMissingError with what to do if a dataset of the hub is not there."""
        if self._is_of_hub and not self._place.exists():
            why = f"holds no copy of {self.config.name} of the hub; nor is that a file or folder below the data root"
            raise missing_data(NAME, self._place, why, fetch=True)
        return self._place

    @cached_property
    def _tables(self) -> dict[str, ImageTable]:
        """The images of `train` and `test`, and their columns."""
        config, found = self.config, open_splits(self._existing, self.config.config)
        wanted = {"train": config.train} | ({} if config.test is None else {"test": config.test})
        for ours, theirs in wanted.items():
            if theirs not in found:
                none = " or to none" if ours == "test" else ""
                raise ConfigError(
                    f"{NAME}: {self._place} has no split {shown(theirs)}{did_you_mean(theirs, found)} Its splits are: "
                    f"{', '.join(found)}; set {NAME}.{ours} to one of them{none}."
                )
        return {
            ours: ImageTable(found[theirs], self._image_column(found[theirs]), theirs)
            for ours, theirs in wanted.items()
        }

    def _image_column(self, table: Any) -> str:
        """Return the column of the images."""
        columns, name = list(table.features), self.config.image
        images = [column for column in columns if type(table.features[column]).__name__ == "Image"]
        if name is None and len(images) == 1:
            return str(images[0])
        if name is None:
            what = f"{len(images)} columns of images" if images else "no column of images"
            raise ConfigError(
                f"{NAME}: {self._place} has {what}; its columns are: {', '.join(columns)}. Set {NAME}.image to one."
            )
        if name not in columns:
            raise self._no_column("image", name, columns)
        feature = table.features[name]
        if name not in images and getattr(feature, "dtype", None) not in ("binary", "large_binary"):
            raise ConfigError(
                f"{NAME}: {self._place}: the column {shown(name)} holds no images, but {feature}. Columns of images "
                f"are: {', '.join(images) or 'none'}; set {NAME}.image to one."
            )
        return str(name)

    def _no_column(self, parameter: str, name: str, columns: list[str]) -> ConfigError:
        return ConfigError(
            f"{NAME}: {self._place} has no column {shown(name)}{did_you_mean(name, columns)} Its columns are: "
            f"{', '.join(columns)}; set {NAME}.{parameter} to one of them."
        )

    @property
    def _labels(self) -> dict[str, Tensor | None]:
        """Labels of each split: classes (N,) int64, multi-hot labels (N, L) bool, or None."""
        return self._labelled[1]

    @property
    def _classes(self) -> list[Any]:
        """The classes, or the labels that an image may have."""
        return self._labelled[0]

    @cached_property
    def _labelled(self) -> tuple[list[Any], dict[str, Tensor | None]]:
        """Classes, and the labels of each split."""
        columns = list(self._tables["train"].table.features)
        name = self.config.label
        if name == "auto":
            name = next((column for column in ("label", "labels") if column in columns), None)
        if name is None:
            return [], dict.fromkeys(self._tables)
        cells = {}
        for split, images in self._tables.items():
            if name not in images.table.features:
                raise self._no_column("label", name, list(images.table.features))
            cells[split] = list(images.table.with_format(None)[name])
        feature = self._tables["train"].table.features[name]
        names = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
        return number_labels(self._place, name, cells, len(names) if names else None)

    def _content(self, split: str) -> str:
        """Return the digest of all images of a split; from the cache while no file has changed since it was made."""
        if split not in self._contents:
            self._contents[split] = self._tables[split].content(trust_cache=self._trust_cache)
        return self._contents[split]

    @cached_property
    def _contents(self) -> dict[str, str]:
        return {}

    def _whole(self, split: str) -> Split:
        config = self.config
        images = EncodedImages(
            NAME, self._tables[split], config.size, content=self._content(split), grey=config.grey, depth=config.depth
        )
        return Split(images.load(), self._labels[split])


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"huggingface_dataset": HuggingFaceDataset}
