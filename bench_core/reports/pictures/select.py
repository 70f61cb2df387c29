"""Select from records the curves and images that a picture shows."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from bench_core.errors import RequestError, UnknownNameError
from bench_core.planning.boards import Picture
from bench_core.reports.pictures.kinds import KINDS
from bench_core.reports.pictures.model import Found, Part, Values
from bench_core.reports.tables.entries import Entry, distinct


def find(entries: Sequence[Entry], picture: Picture) -> Found:
    """What the records hold for a picture, rows in the order of the entries.

    Raises:
        RequestError: They hold nothing of the kind; or of several tasks, data sets or encoders.
    """
    kind = KINDS[picture.kind]
    entries = rows(distinct(list(entries)), picture)
    held: dict[tuple[str, str, str], dict[tuple[str, str], dict[int, Values]]] = {}
    for entry in entries:
        if entry.record is None or entry.state != "done" or picture.task not in ("", *_spellings(entry)):
            continue
        where = (entry.names["dataset"], entry.names["encoder"], entry.names["task"])
        for name, values in kind.read(entry.record).items():
            if picture.curve in ("", name):
                by_seed = held.setdefault(where, {}).setdefault((entry.names["method"], name), {})
                by_seed[entry.seed] = values
    if not held:
        of = f" of task {picture.task!r}" if picture.task else ""
        named = f" named {picture.curve!r}" if picture.curve else ""
        raise RequestError(f"no record{of} here holds {kind.what}{named}; {kind.hint}.")
    if len({where[:2] for where in held}) > 1:
        raise RequestError(f"picture {picture.name!r}: a picture shows one data set with one encoder.")
    if len(held) > 1:
        tasks = ", ".join(repr(where[2]) for where in held)
        raise RequestError(f"picture {picture.name!r}: several tasks have {kind.what}; say task = one of {tasks}.")
    ((where, by_row),) = held.items()
    parts = [Part(*row, *_over_seeds(by_seed, kind.shared)) for row, by_seed in by_row.items()]
    return Found(*where, tuple(parts))


def rows(entries: Sequence[Entry], picture: Picture) -> list[Entry]:
    """The entries of the rows that are asked for; UnknownNameError where there is no such row."""
    known = {entry.names["method"] for entry in entries}
    for name in picture.methods:
        if name not in known:
            raise UnknownNameError("row", name, known)
    return [entry for entry in entries if not picture.methods or entry.names["method"] in picture.methods]


def _spellings(entry: Entry) -> set[str]:
    """A task's label, and the name under which it was asked for."""
    return {entry.names["task"], str((entry.record or {})["names"]["task"])}


def _over_seeds(by_seed: Mapping[int, Values], shared: str | None) -> tuple[Values, tuple[int, ...]]:
    """Point by point the mean over seeds, where their points are the same; else the first seed's.

    Args:
        by_seed: Of one row.
        shared: "x" where points are the same if their x is, "points" if there are as many, None where they never are.
    """
    seeds = tuple(sorted(by_seed))
    curves = [by_seed[seed] for seed in seeds]
    if len(seeds) == 1 or shared is None or len({_points(curve, shared) for curve in curves}) > 1:
        return curves[0], seeds[:1]
    x = next(iter(curves[0]))
    same = {x} if shared == "x" else set()
    return {key: curves[0][key] if key in same else _mean([c[key] for c in curves]) for key in curves[0]}, seeds


def _points(curve: Values, shared: str) -> Any:
    """What two curves have in common whose points are the same ones."""
    x = next(iter(curve.values()))
    return tuple(curve), tuple(x) if shared == "x" else len(x)


def _mean(columns: Iterable[Sequence[float]]) -> list[float]:
    return [fmean(values) for values in zip(*columns, strict=True)]
