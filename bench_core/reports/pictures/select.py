"""Select from records the rows, curves and images that a picture shows."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any, Literal

from bench_core.errors import UnknownNameError
from bench_core.reports.pictures.model import Columns
from bench_core.reports.tables.entries import Entry
from bench_core.store.record import Record

MeanIf = Literal["same_x", "same_length", "never"]


def images_of(record: Record) -> dict[str, Columns]:
    """Return a record's grids of images by name, each as the single column {"png": base64 text}."""
    return {name: {"png": png} for name, png in record.images.items()}


def without_series(record: Record, names: Collection[str]) -> Record:
    """Return a record without the curves and images of these names."""
    stored = dict(record.stored)
    for field in ("curves", "images"):
        if series := stored.get(field):
            stored[field] = {name: values for name, values in series.items() if name not in names}
    return replace(record, stored=stored)


def select_rows(entries: Sequence[Entry], methods: Sequence[str]) -> list[Entry]:
    """Return the entries of these rows; all entries where no row is named.

    Raises:
        UnknownNameError: No entry belongs to a row of that name.
    """
    known = {entry.names["method"] for entry in entries}
    for name in methods:
        if name not in known:
            raise UnknownNameError("row", name, known)
    return [entry for entry in entries if not methods or entry.names["method"] in methods]


def mean_over_seeds(by_seed: Mapping[int, Columns], mean_if: MeanIf) -> tuple[Columns, tuple[int, ...]]:
    """Return the mean over seeds, point by point, where the seeds have the same points; else the first seed's values.

    Args:
        by_seed: Seed -> values of one row.
        mean_if: When the points of two seeds are the same ones: with equal x ("same_x"; x is then not averaged),
            with equally many points ("same_length"), or "never".

    Returns:
        The values, and the seeds that they are from.
    """
    seeds = tuple(sorted(by_seed))
    curves = [by_seed[seed] for seed in seeds]
    if len(seeds) == 1 or mean_if == "never" or len({_points(curve, mean_if) for curve in curves}) > 1:
        return curves[0], seeds[:1]
    x_key = next(iter(curves[0]))
    averaged = {}
    for key in curves[0]:
        is_shared = key == x_key and mean_if == "same_x"
        averaged[key] = curves[0][key] if is_shared else _mean([curve[key] for curve in curves])
    return averaged, seeds


def _points(curve: Columns, mean_if: MeanIf) -> Any:
    """Return a value that is equal for two curves whose points are the same ones."""
    x = next(iter(curve.values()))
    return tuple(curve), tuple(x) if mean_if == "same_x" else len(x)


def _mean(columns: Iterable[Sequence[float]]) -> list[float]:
    return [fmean(values) for values in zip(*columns, strict=True)]
