"""Finds rows of methods, columns of tasks and tables of datasets on all boards, for the pages about them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from bench_core.config import build
from bench_core.contracts import DataSpec
from bench_core.plugins import OF_WORD, Component, Registry
from bench_core.reports.pages.components import REFERENCE_ROWS, has_number
from bench_core.reports.pages.reported_numbers import component_name
from bench_core.reports.site.content import SiteBoard, SiteContent
from bench_core.reports.tables.entries import Entry
from bench_core.reports.tables.model import Column, Table
from bench_core.reports.tables.part import part_of

_MOST_CHOSEN = 3  # rows that a board's page marks at once


@dataclass(frozen=True)
class PlacedTable:
    """A table of a board, and the components behind its names.

    Attributes:
        board: The board.
        number: Position of the table on the board's page.
        methods: Label of a row -> short name of its method, "" where it is unknown.
        tasks: Label of a task -> short name of the task.
        dataset: Short name of the dataset.
        entries: All cells.
    """

    board: SiteBoard
    number: int
    methods: Mapping[str, str]
    tasks: Mapping[str, str]
    dataset: str
    entries: tuple[Entry, ...]

    @property
    def table(self) -> Table:
        """The table as `bench table` shows it."""
        return self.board.tables[self.number]

    @property
    def address(self) -> str:
        """The board's page."""
        return f"boards/{self.board.name}.html"


@dataclass(frozen=True)
class Part:
    """Some rows and columns of a board's table.

    Attributes:
        of: Where they are from.
        table: The rows and columns.
        whole: The table that they are from.
        view: What follows the board's address to show them there: "#q=nac"; "" shows all.
    """

    of: PlacedTable
    table: Table
    whole: Table
    view: str

    @property
    def address(self) -> str:
        """The board's page with the view of these rows."""
        return self.of.address + self.view


def placed_tables(content: SiteContent) -> list[PlacedTable]:
    """Return all tables of all boards."""
    return [_placed(board, number) for board in content.boards for number in range(len(board.tables))]


def names_of(kind: str, content: SiteContent, tables: Iterable[PlacedTable]) -> list[str]:
    """Return the names of all methods, tasks or datasets that plugins or records know, sorted.

    Args:
        kind: "method", "task" or "dataset".
        content: The site.
        tables: Its tables.
    """
    named: dict[str, Callable[[PlacedTable], Iterable[str]]] = {
        "method": lambda of: of.methods.values(),
        "task": lambda of: of.tasks.values(),
        "dataset": lambda of: [of.dataset],
    }
    installed = {component.name for component in content.registry.of_kind(OF_WORD[kind].name)}
    return sorted((installed | {name for of in tables for name in named[kind](of)}) - {""})


def parts_of_method(name: str, tables: Iterable[PlacedTable]) -> Iterator[Part]:
    """Yield the rows of a method beside those of reference, with the first metric of each task and the mean rank."""
    for of in tables:
        labels = [label for label, method in of.methods.items() if method == name]
        cells = [cell for row in of.table.rows if row.name in labels for cell in row.cells]
        if any(map(has_number, cells)):
            table = part_of(of.table, {*labels, *REFERENCE_ROWS}, lambda column: column.kind in ("task", "rank"))
            yield Part(of, table, of.table, rows_view(of, name, labels))


def parts_of_task(name: str, tables: Iterable[PlacedTable]) -> Iterator[Part]:
    """Yield all scores of a task, of the rows that have one."""
    for of in tables:
        labels = {label for label, task in of.tasks.items() if task == name}
        whole = of.board.full_tables[of.number]
        columns = [column for column in whole.columns if column.task in labels]
        if not columns:
            continue
        table = part_of(whole, of.methods, _of_tasks(labels))
        rows = {row.name for row in table.rows if any(map(has_number, row.cells))}
        if rows & set(of.methods):
            first = columns[0]
            view = view_of(of, {"sort": f"{'-' if first.higher_is_better else ''}{first.task}:{first.metric}"})
            yield Part(of, part_of(table, rows, lambda column: True), whole, view)


def _of_tasks(labels: Collection[str]) -> Callable[[Column], bool]:
    """Return the test of whether a column is of one of these tasks."""
    return lambda column: column.task in labels


def rows_view(of: PlacedTable, name: str, labels: list[str]) -> str:
    """Return the view of a board's table that shows the rows of a method, by its name where all of them have it."""
    common = name if all(name.casefold() in label.casefold() for label in labels) else ""
    if common or len(labels) == 1:
        return view_of(of, {"q": common or labels[0]})
    return view_of(of, {"rows": chosen_rows(labels)})


def chosen_rows(labels: Iterable[str]) -> str:
    """Return the first rows as the view of a board's page names those that it marks."""
    return ",".join(label.replace("%", "%25").replace(",", "%2C") for label in list(labels)[:_MOST_CHOSEN])


def view_of(of: PlacedTable, values: Mapping[str, str]) -> str:
    """Return a view of one table of a board's page as the end of an address; the first table has the plain names."""
    return "#" + urlencode({f"{of.number}.{key}" if of.number else key: value for key, value in values.items()})


def spec_of(registry: Registry, name: str, entries: Iterable[Entry] = ()) -> DataSpec | None:
    """Return what a dataset says of itself without its files; None where it is not installed, or needs them.

    Args:
        registry: The plugins.
        name: Short name of the dataset.
        entries: Cells on it, whose parameters it gets; without them it has its defaults.
    """
    component = next((one for one in registry.of_kind("dataset") if one.name == name), None)
    documents = [entry.document or (entry.record and entry.record.document) for entry in entries]
    config = next((dict(document.component("dataset")["config"]) for document in documents if document), {})
    return None if component is None else _spec(component, config)


def _spec(component: Component, config: Mapping[str, object]) -> DataSpec | None:
    try:
        values = build(component.cls.Config, dict(config), component.name)
        spec = component.cls(Path("no-such-folder"), values).spec()
    except Exception:  # a plugin's; a dataset of files has nothing to say without them
        return None
    return spec if isinstance(spec, DataSpec) else None


def _placed(board: SiteBoard, number: int) -> PlacedTable:
    table = board.tables[number]
    rows = board.rows[table.dataset, table.encoder]
    entries = tuple(entry for of_row in rows.values() for entry in of_row)
    return PlacedTable(
        board,
        number,
        {label: _first(of_row, "method") for label, of_row in rows.items()},
        {entry.names["task"]: component_name(entry, "task") for entry in entries if component_name(entry, "task")},
        _first(entries, "dataset"),
        entries,
    )


def _first(entries: Iterable[Entry], axis: str) -> str:
    return next((name for entry in entries if (name := component_name(entry, axis))), "")
