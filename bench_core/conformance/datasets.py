"""Checks of datasets. The docstring of each check is its line in `bench check`."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench_core.conformance.toys import require
from bench_core.contracts import DataSpec, Split
from bench_core.data import default_data_root
from bench_core.errors import DataMissingError


def _check_splits(cls: Any) -> None:
    """Every split has the size, shape and labels that spec() gives, and digest() is stable."""
    dataset = cls(default_data_root(), cls.Config())
    spec = dataset.spec()
    require("train" in spec.splits, f"there is no split 'train', only {sorted(spec.splits)}")
    for name, count in spec.splits.items():
        split = dataset.load(name)
        require(len(split) == count, f"split {name!r} has {len(split)} items, spec() says {count}")
        _require_inputs_as_described(name, split, spec)
        _require_labels_as_described(split, spec)
    digest = dataset.digest()
    second = cls(default_data_root(), cls.Config()).digest()
    require(bool(digest) and digest == second, "digest() is empty, or differs between two calls")


def _require_inputs_as_described(name: str, split: Split, spec: DataSpec) -> None:
    if isinstance(split.inputs, Tensor):
        shape = tuple(split.inputs.shape[1:])
        require(shape == spec.shape, f"split {name!r} has inputs of shape {shape}, spec() says {spec.shape}")
        require(not spec.is_image or split.inputs.dtype == torch.uint8, f"images are {split.inputs.dtype}, not uint8")


def _require_labels_as_described(split: Split, spec: DataSpec) -> None:
    if split.labels is None:
        return
    if spec.num_classes is not None:
        low, high = int(split.labels.min()), int(split.labels.max())
        require(low >= 0 and high < spec.num_classes, f"labels {low}..{high}, spec() says {spec.num_classes} classes")
    if spec.num_labels is not None:
        shape, dtype = tuple(split.labels.shape), split.labels.dtype
        expected = (len(split), spec.num_labels)
        require(shape == expected and dtype == torch.bool, f"labels are {dtype} {shape}, not bool {expected}")


def _check_missing_data(cls: Any) -> None:
    """load() works from an empty data folder, or names the files that are missing."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = cls(Path(folder), cls.Config())
        try:
            dataset.load("train")
        except DataMissingError as error:
            require(len(str(error)) > 20, "the error must name the path that was tried and say what to type")


CHECKS = (_check_splits, _check_missing_data)
