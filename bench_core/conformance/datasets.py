"""Checks of datasets. The docstring of each check is its line in `bench check`."""

import tempfile
from pathlib import Path
from typing import Any

from bench_core.conformance.toys import require
from bench_core.data import default_data_root
from bench_core.data.split_faults import first_items_fault, split_fault
from bench_core.errors import DataMissingError


def _check_splits(cls: Any) -> None:
    """Every split has the size, shape, values and labels that spec() gives, and digest() is stable."""
    dataset = cls(default_data_root(), cls.Config())
    spec = dataset.spec()
    require("train" in spec.splits, f"there is no split 'train', only {sorted(spec.splits)}")
    for name in spec.splits:
        split = dataset.load(name)
        fault = split_fault(split, spec, name) or first_items_fault(split, spec)
        require(fault is None, f"split {name!r}: {fault}")
    digest = dataset.digest()
    second = cls(default_data_root(), cls.Config()).digest()
    require(bool(digest) and digest == second, "digest() is empty, or differs between two calls")


def _check_missing_data(cls: Any) -> None:
    """load() works from an empty data folder, or names the files that are missing."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = cls(Path(folder), cls.Config())
        try:
            dataset.load("train")
        except DataMissingError as error:
            require(len(str(error)) > 20, "the error must name the path that was tried and say what to type")


CHECKS = (_check_splits, _check_missing_data)
