"""Checks of data sets."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench_core.conformance.toys import need
from bench_core.data import default_data_root
from bench_core.errors import DataMissingError


def _loads(cls: Any) -> None:
    """Digest is stable, and every split is what spec says."""
    dataset = cls(default_data_root(), cls.Config())
    spec = dataset.spec()
    need("train" in spec.splits, f"no split 'train' among {sorted(spec.splits)}")
    for name, count in spec.splits.items():
        split = dataset.load(name)
        need(len(split) == count, f"split {name!r} has {len(split)} items, spec says {count}")
        if isinstance(split.inputs, Tensor):
            shape = tuple(split.inputs.shape[1:])
            need(shape == spec.shape, f"split {name!r} has inputs {shape}, spec says {spec.shape}")
            need(not spec.is_image or split.inputs.dtype == torch.uint8, f"images are {split.inputs.dtype}, not uint8")
        if split.labels is not None and spec.num_classes is not None:
            low, high = int(split.labels.min()), int(split.labels.max())
            need(low >= 0 and high < spec.num_classes, f"labels {low}..{high}, spec says {spec.num_classes} classes")
        if split.labels is not None and spec.num_labels is not None:
            shape, kind = tuple(split.labels.shape), split.labels.dtype
            expected = (count, spec.num_labels)
            need(shape == expected and kind == torch.bool, f"labels are {kind} {shape}, not bool {expected}")
    digest = dataset.digest()
    again = cls(default_data_root(), cls.Config()).digest()
    need(bool(digest) and digest == again, "digest() is empty or not the same twice")


def _says_what_is_missing(cls: Any) -> None:
    """In an empty folder it loads what it carries itself, or says what is missing."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = cls(Path(folder), cls.Config())
        try:
            dataset.load("train")
        except DataMissingError as error:
            need(len(str(error)) > 20, "the error must say where it was looked for and what to type")


CHECKS = (_loads, _says_what_is_missing)
