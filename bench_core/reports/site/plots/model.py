"""Classes that all plots of a board share: what a plot shows, its views, and the cells that it is made from."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bench_core.plugins import Registry
from bench_core.reports.site.content import SiteBoard
from bench_core.reports.tables.entries import Entry, by_table, with_distinct_names
from bench_core.reports.tables.folds import in_one_entry
from bench_core.reports.tables.model import Column, Table

DIGITS = 5  # significant digits of the numbers in a plot


@dataclass(frozen=True)
class View:
    """One drawing of a plot, for one choice of its table, score and so on.

    Attributes:
        picked: What the drawing is of, a text for each of the plot's choices.
        shape: How it is drawn: a name of `shapes` in static/plots.js.
        label: The drawing in one sentence, for people who do not see it.
        values: The numbers and the names of the axes, as its shape needs them.
        notes: What a reader must know of the numbers, a sentence each.
    """

    picked: tuple[str, ...]
    shape: str
    label: str
    values: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the view as the page gets it."""
        return {"picked": self.picked, "shape": self.shape, "label": self.label, "notes": self.notes, **self.values}


@dataclass(frozen=True)
class SitePlot:
    """One plot of a board's page.

    Attributes:
        kind: Its name in addresses, such as "quality_cost".
        title: Its title.
        read: One sentence on how to read it.
        choices: What a reader chooses, such as ("table", "score", "cost").
        views: A view for each combination that the records hold; the first is shown first.
        shared: What several views need, which stands in the data once; views with a key "of" say which is theirs.
        files: Further files: name -> content; `PlotSource.file_address` says where they lie.
    """

    kind: str
    title: str
    read: str
    choices: tuple[str, ...]
    views: tuple[View, ...]
    shared: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the plot as the page gets it."""
        return {
            "kind": self.kind,
            "title": self.title,
            "choices": self.choices,
            "shared": self.shared,
            "views": [view.as_json() for view in self.views],
        }


@dataclass(frozen=True)
class PlotSource:
    """A board's cells, as all plots read them.

    Attributes:
        board: The board.
        registry: The plugins; None knows none.
    """

    board: SiteBoard
    registry: Registry | None = None

    @cached_property
    def entries(self) -> list[Entry]:
        """The cells under distinct names, folds joined."""
        return with_distinct_names(in_one_entry(list(self.board.entries)))

    @cached_property
    def groups(self) -> dict[str, list[Entry]]:
        """Title of a table -> its cells, those of the first row first."""
        groups = {}
        for names, group in by_table(self.entries).items():
            title = ", ".join(names)
            places = {row.name: place for place, row in enumerate(self._rows(title))}
            groups[title] = sorted(group, key=lambda entry: places.get(entry.names["method"], len(places)))
        return groups

    @property
    def tables(self) -> Sequence[Table]:
        """The board's tables, as `bench table` shows them."""
        return self.board.tables

    def file_address(self, kind: str, name: str) -> str:
        """Return the address of a file of a plot of this kind."""
        return f"data/plots/{self.board.name}/{kind}_{name}"

    def _rows(self, title: str) -> Sequence[Any]:
        return next((table.rows for table in self.tables if table.title == title), ())


def rounded(value: float) -> float | int:
    """Return a number with few digits: 0.123456 is 0.12346, and 12.0 is 12."""
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() else short


def all_rounded(values: Iterable[float]) -> list[float | int | None]:
    """Return numbers with few digits; what is not finite is None."""
    return [rounded(value) if math.isfinite(value) else None for value in values]


def shown(value: float | None, column: Column) -> float | int | None:
    """Return a value of a column as tables show it: a fraction in per cent."""
    if value is None or not math.isfinite(value):
        return None
    return rounded(100 * value if column.unit == "fraction" else value)


def score_name(column: Column) -> str:
    """Return a column as an axis names it: "linear top1, % ↑"."""
    name = f"{column.task} {column.metric}" if column.kind == "task" else column.name
    unit = {"fraction": ", %", "": ""}.get(column.unit, f", {column.unit}")
    arrow = {True: " ↑", False: " ↓", None: ""}[column.higher_is_better]
    return f"{name.replace('_', ' ').strip()}{unit}{arrow}"


def axis_name(text: str) -> str:
    """Return the name of a curve's key as an axis shows it."""
    return text.replace("_", " ")
