"""Tables as Markdown: on a board's page many tasks are split by family, and notes lie below a fold."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bench_core.reports.tables.build import build
from bench_core.reports.tables.entries import entries_of
from bench_core.reports.tables.markdown import page_tables, whole_tables
from bench_core.reports.tables.model import Table
from bench_core.store.record import record_from_json

FAMILIES = {"classification": 3, "retrieval": 2, "outliers": 1, "geometry": 1, "": 1}


@pytest.fixture
def table(make_record: Callable[..., dict[str, Any]]) -> Table:
    """A table of eight tasks: two families of several tasks, two of one, and a task of which no family is known."""
    tasks = [(f"{family or 'unknown'}_{n}", family) for family, many in FAMILIES.items() for n in range(many)]
    records = [
        make_record(method, task, seed, 0.5 + seed / 50)
        for method in ("nac", "sela")
        for task, _ in tasks
        for seed in range(2)
    ]
    [table] = build(entries_of(map(record_from_json, records)))
    family = dict(tasks)
    columns = (replace(column, family=family.get(column.task, "")) for column in table.columns)
    return replace(table, columns=tuple(columns), notes=("cannot sample",))


def with_tasks(table: Table, count: int) -> Table:
    """Return the table with its first tasks alone."""
    return replace(
        table,
        columns=table.columns[:count],
        rows=tuple(replace(row, cells=row.cells[:count]) for row in table.rows),
    )


def headers(page: str) -> list[list[str]]:
    """Return the words of the header of each table that name a column."""
    lines = page.splitlines()
    return [
        [cell.split()[0] for cell in lines[number - 1].strip("|").split("|")]
        for number, line in enumerate(lines)
        if line.startswith("|:--")
    ]


def test_many_tasks_are_split_by_family_after_what_is_over_all_of_them(table: Table) -> None:
    page = page_tables([table])
    over_all, *families = headers(page)
    assert [head[0] for head in (over_all, *families)] == ["method"] * 4
    assert not set(over_all) & {column.task for column in table.columns if column.task}
    assert families == [
        ["method", "classification_0", "classification_1", "classification_2"],
        ["method", "retrieval_0", "retrieval_1"],
        ["method", "geometry_0", "outliers_0", "unknown_0"],
    ]
    titles = [line for line in page.splitlines() if line.startswith("**")]
    assert titles == [
        f"**digits, convnet: {part}**" for part in ("all tasks", "classification", "retrieval", "other tasks")
    ]


def test_each_part_has_the_same_rows_and_all_parts_together_have_all_cells(table: Table) -> None:
    rows = [line for line in page_tables([table]).splitlines() if line.startswith("| ") and "method" not in line]
    names = [row.split("|")[1].strip() for row in rows]
    assert names == [row.name for row in table.rows] * 4
    assert sum(row.count("|") - 2 for row in rows) == len(table.rows) * len(table.columns)


def test_few_tasks_stay_in_one_table(table: Table) -> None:
    assert len(headers(page_tables([with_tasks(table, 6)]))) == 1
    assert len(headers(page_tables([with_tasks(table, 7)]))) > 1
    assert len(headers(whole_tables([table]))) == 1


def test_a_family_of_too_many_tasks_is_cut_into_even_parts(table: Table) -> None:
    columns = tuple(replace(column, family="one") for column in table.columns if column.kind == "task")
    page = page_tables([replace(with_tasks(table, len(columns)), columns=columns)])
    assert [len(head) - 1 for head in headers(page)] == [4, 4]


def test_notes_and_what_tells_how_numbers_were_made_lie_below_a_fold(table: Table) -> None:
    shown, fold = page_tables([table]).split("<details><summary>How the numbers were made</summary>\n\n")
    assert fold.startswith("- [1] cannot sample\n")
    assert fold.endswith("\n\n</details>\n")
    assert all(f"- {line.split(':')[0]}" in fold for line in table.footer)
    assert not [line for line in shown.splitlines() if line.startswith("- ")]
    assert "<details>" not in whole_tables([table])


def test_no_tables_give_a_line_that_says_so() -> None:
    assert page_tables([]) == whole_tables([]) == "No records.\n"
