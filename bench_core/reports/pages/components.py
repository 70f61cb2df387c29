"""What is generated in docs/methods/NAME.md and docs/tasks/NAME.md: parameters, our numbers, the published ones.

People write the page (idea, equations, where paper and code differ); between the markers `parameters`, `numbers` and,
of a method, `published` stands what follows from the code and the records.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tabulate import tabulate

from bench_core.errors import RequestError
from bench_core.planning.describe import describe_component
from bench_core.planning.plan import Plan
from bench_core.plugins import Registry
from bench_core.reports.pages.reported_numbers import Published, render_published
from bench_core.reports.tables import escape
from bench_core.reports.tables.build import build
from bench_core.reports.tables.entries import Entry
from bench_core.reports.tables.model import Table
from bench_core.reports.tables.render import render

_WHERE = "Board [{board}](../../leaderboards/{board}/README.md), where protocol, seeds and provenance stand:"
BESIDE = ("random",)  # rows that stand beside a method's own

Boards = Mapping[str, tuple[Plan, Sequence[Entry]]]


def task_sections(name: str, boards: Boards, registry: Registry) -> dict[str, str]:
    """Marker -> what stands between its two, for the page of a task: all its scores on the boards.

    Args:
        name: Of the task.
        boards: Board -> its plan and its published entries.
        registry: Plugins.

    Raises:
        RequestError: There is no such task.
    """
    (described,) = _described(name, "task", registry)
    return {
        "parameters": _parameter_table(name, described["parameters"]) if described["parameters"] else "None.",
        "numbers": "\n\n".join(_task_numbers(name, boards, registry)) or "No board has a number of this task yet.",
    }


def _task_numbers(name: str, boards: Boards, registry: Registry) -> Iterator[str]:
    """From each board the task's columns with its defaults, all scores, rows that have any."""
    component = registry.get("evaluator", name)
    for board, (plan, entries) in boards.items():
        if not any(c.names["task"] == name and c.task.component == component for c in plan.cells):
            continue
        for table in build(entries, task=name):
            rows = {row.name for row in table.rows if any(cell.mean is not None for cell in row.cells)}
            if rows:
                yield _WHERE.format(board=board)
                yield render([_only(table, rows)], "md").strip()


def _described(name: str, kind: str, registry: Registry) -> list[dict[str, Any]]:
    found = [part for part in describe_component(name, registry) if part["kind"] == kind]
    if not found:
        raise RequestError(f"docs page {name!r} is about no {kind}; name it after one of `bench list`.")
    return found


def sections(name: str, boards: Boards, numbers: Sequence[Published], registry: Registry) -> dict[str, str]:
    """Marker -> what stands between its two, for the page of a method.

    Args:
        name: Of the method.
        boards: Board -> its plan and its published entries.
        numbers: All published numbers.
        registry: Plugins.

    Raises:
        RequestError: There is no such method.
    """
    found = _described(name, "method", registry)
    own = [number for number in numbers if number.method == name]
    published = render_published(sorted(own, key=lambda n: (n.dataset, n.metric, -n.value)), "md")
    return {
        "parameters": "\n\n".join(_parameters(found[0])),
        "numbers": "\n\n".join(_numbers(name, boards, registry)) or "No board has a number of this method yet.",
        "published": published.partition("\n\n")[2] or "None that we could verify.",
    }


def _parameters(described: Mapping[str, Any]) -> Iterator[str]:
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
            escape.markdown(row["help"]),
            escape.markdown(row["source"]),
        ]
        for row in rows
    ]
    headers = ["`--set`", "default", "meaning", "source"]
    return tabulate(lines, headers=headers, tablefmt="pipe", disable_numparse=True)


def _numbers(name: str, boards: Boards, registry: Registry) -> Iterator[str]:
    """From each board the rows of this method, and what stands beside; nothing where no row has a number yet."""
    component = registry.get("objective", name)
    for board, (plan, entries) in boards.items():
        rows = {c.method.name for c in plan.chains if c.method.component == component}
        if not rows:
            continue
        tables = [_only(table, {*rows, *BESIDE}) for table in build(entries)]
        tables = [t for t in tables if any(c.mean is not None for row in t.rows if row.name in rows for c in row.cells)]
        if not tables:
            continue
        yield _WHERE.format(board=board)
        yield render(tables, "md").strip()


def _only(table: Table, names: set[str]) -> Table:
    """These rows and the chance level, the columns of tasks, no footer; bold stays as it is on the board."""
    kept = [k for k, column in enumerate(table.columns) if column.kind == "task"]
    rows = [row for row in table.rows if row.name in names or row.kind == "chance"]
    noted = sorted({row.cells[k].note or 0 for row in rows for k in kept} - {0})
    number = {old: new for new, old in enumerate(noted, 1)}
    cells = [[replace(row.cells[k], note=number.get(row.cells[k].note or 0)) for k in kept] for row in rows]
    return replace(
        table,
        columns=tuple(table.columns[k] for k in kept),
        rows=tuple(replace(row, cells=tuple(own)) for row, own in zip(rows, cells, strict=True)),
        notes=tuple(table.notes[old - 1] for old in noted),
        footer=(),
    )
