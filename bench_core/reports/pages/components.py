"""Generated sections of docs/methods/NAME.md and docs/tasks/NAME.md: parameters, our numbers, the reported ones.

People write the page: idea, equations, where paper and code differ. The content of the markers `parameters`,
`numbers` and, for a method, `published` is generated from the code and the records.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from bench_core.errors import RequestError
from bench_core.files import paths_in
from bench_core.planning.describe import describe_component
from bench_core.plugins import Registry
from bench_core.reports.pages.markers import Sections
from bench_core.reports.pages.published_board import PublishedBoard
from bench_core.reports.pages.reported_numbers import ReportedNumber, load_reported, render_reported, shipped_numbers
from bench_core.reports.tables import escape
from bench_core.reports.tables.build import build
from bench_core.reports.tables.model import Table, TableCell
from bench_core.reports.tables.part import part_of
from bench_core.reports.tables.render import render

_WHERE = "Board [{board}](../../leaderboards/{board}/README.md), where protocol, seeds and provenance stand:"
REFERENCE_ROWS = ("random",)  # rows that a method's page shows with the method's own


def component_pages(docs: Path, boards: Sequence[PublishedBoard], registry: Registry) -> Sections:
    """Return what stands between the markers of the pages of methods and tasks.

    Args:
        docs: The folder in which methods/NAME.md and tasks/NAME.md lie.
        boards: All published boards.
        registry: Plugins.

    Raises:
        RequestError: A page is named after no method or task.
    """
    numbers = load_reported(shipped_numbers())
    pages = {path: method_sections(path.stem, boards, numbers, registry) for path in _pages(docs / "methods")}
    return pages | {path: task_sections(path.stem, boards, registry) for path in _pages(docs / "tasks")}


def _pages(folder: Path) -> list[Path]:
    return [path for path in paths_in(folder, ".md") if path.name != "README.md"]


def task_sections(name: str, boards: Sequence[PublishedBoard], registry: Registry) -> dict[str, str]:
    """Return marker -> content for the page of a task: its parameters, and all its scores on the boards.

    Args:
        name: Name of the task.
        boards: All published boards.
        registry: Plugins.

    Raises:
        RequestError: There is no such task.
    """
    (described,) = _described(name, "task", registry)
    return {
        "parameters": _parameter_table(name, described["parameters"]) if described["parameters"] else "None.",
        "numbers": "\n\n".join(_task_numbers(name, boards, registry)) or "No board has a number of this task yet.",
    }


def _task_numbers(name: str, boards: Sequence[PublishedBoard], registry: Registry) -> Iterator[str]:
    """Yield from each board a link, and the table of the task with its default parameters and all its scores."""
    component = registry.get("evaluator", name)
    for board in boards:
        if not any(cell.names["task"] == name and cell.task.plugin == component for cell in board.plan.cells):
            continue
        for table in build(board.entries, columns=[f"{name}:*"]):
            rows = {row.name for row in table.rows if any(map(has_number, row.cells))}
            if rows:
                yield _WHERE.format(board=board.folder.name)
                yield render([_only(table, rows)], "md").strip()


def _described(name: str, kind: str, registry: Registry) -> list[dict[str, Any]]:
    described = [component for component in describe_component(name, registry) if component["kind"] == kind]
    if not described:
        raise RequestError(f"docs page {name!r} is about no {kind}; name it after one of `bench list`.")
    return described


def method_sections(
    name: str, boards: Sequence[PublishedBoard], numbers: Sequence[ReportedNumber], registry: Registry
) -> dict[str, str]:
    """Return marker -> content for the page of a method: parameters, our numbers, reported numbers.

    Args:
        name: Name of the method.
        boards: All published boards.
        numbers: All reported numbers.
        registry: Plugins.

    Raises:
        RequestError: There is no such method.
    """
    described = _described(name, "method", registry)[0]
    of_method = [number for number in numbers if number.method == name]
    reported = render_reported(sorted(of_method, key=lambda n: (n.dataset, n.metric, -n.value)), "md")
    return {
        "parameters": "\n\n".join(_method_parameters(described)),
        "numbers": "\n\n".join(_method_numbers(name, boards, registry)) or "No board has a number of this method yet.",
        "published": reported.partition("\n\n")[2] or "None that we could verify.",
    }


def _method_parameters(described: Mapping[str, Any]) -> Iterator[str]:
    """Yield the tables of parameters and recipe, and a line for each variant."""
    name = described["name"]
    if described["parameters"]:
        yield _parameter_table(name, described["parameters"])
    yield f"Recipe, by default ({escape.markdown(described['recipe_source'])}):"
    yield _parameter_table(f"{name}.recipe", described["recipe"])
    for variant in described["variants"]:
        settings = ", ".join(escape.code(f"{k} = {json.dumps(v)}") for k, v in variant["settings"].items())
        help, source = escape.markdown(variant["help"]), escape.markdown(variant["source"])
        yield f"**`{name}:{variant['name']}`**: {help} ({source}): {settings}"


def _parameter_table(prefix: str, rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        [
            f"`{prefix}.{row['name']}`",
            escape.code("none" if row["default"] is None else json.dumps(row["default"])),
            escape.markdown("; ".join(filter(None, (row["help"], row["range"])))),
            escape.markdown(row["source"]),
        ]
        for row in rows
    ]
    headers = ["`--set`", "default", "meaning", "source"]
    return tabulate(lines, headers=headers, tablefmt="pipe", disable_numparse=True)


def _method_numbers(name: str, boards: Sequence[PublishedBoard], registry: Registry) -> Iterator[str]:
    """Yield from each board a link, and the tables in which a row of this method has a number."""
    component = registry.get("objective", name)
    for board in boards:
        rows = {chain.method.name for chain in board.plan.chains if chain.method.plugin == component}
        if not rows:
            continue
        tables = []
        for table in board.tables:
            cells = [cell for row in table.rows if row.name in rows for cell in row.cells]
            if any(map(has_number, cells)):
                tables.append(_only(table, {*rows, *REFERENCE_ROWS}))
        if tables:
            yield _WHERE.format(board=board.folder.name)
            yield render(tables, "md").strip()


def has_number(cell: TableCell) -> bool:
    """Return whether a cell shows a number; that of a stale record is in its text alone."""
    return cell.mean is not None or cell.state == "stale"


def _only(table: Table, names: set[str]) -> Table:
    """Return these rows and the chance level, with the columns of tasks. Bold stays as it is on the board."""
    return part_of(table, names, lambda column: column.kind == "task")
