"""Tables as plain text: they fit the width that they are given."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench_core.reports.tables.build import build
from bench_core.reports.tables.entries import entries_of
from bench_core.reports.tables.model import Table
from bench_core.reports.tables.screen import Screen, on_screen
from bench_core.store.record import record_from_json

GOLDEN = Path(__file__).parent / "golden" / "screen.txt"


@pytest.fixture
def tables(make_record: Callable[..., dict[str, Any]]) -> list[Table]:
    """A table of six tasks and three rows."""
    protocol = "a task that measures something of the embedding on the part test, and says so in far too many words"
    records = [
        make_record(method, task, seed, 0.5 + number / 10 + seed / 50, protocol=protocol)
        for number, method in enumerate(("nac", "sela", "random"))
        for task in ("knn", "linear", "retrieval", "clustering", "fewshot", "hashing")
        for seed in range(3)
    ]
    return build(entries_of(map(record_from_json, records)))


def test_screen_of_80_columns_equals_its_golden_file(tables: list[Table]) -> None:
    shown = on_screen(tables, Screen(80, protocols=False, cost=False))
    assert shown == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [60, 80, 100, 160])
@pytest.mark.parametrize("cost", [True, False])
def test_no_line_is_longer_than_the_screen(tables: list[Table], width: int, cost: bool) -> None:
    assert max(map(len, on_screen(tables, Screen(width, protocols=True, cost=cost)).splitlines())) <= width


def test_all_cells_are_shown_whatever_the_width_under_the_same_names_of_rows(tables: list[Table]) -> None:
    [table] = tables
    whole, narrow = on_screen(tables, Screen()), on_screen(tables, Screen(60))
    for row in table.rows:
        lines = [
            [part.split() for part in text.splitlines() if part.startswith(f"{row.name} ")] for text in (whole, narrow)
        ]
        one, several = ([word for words in of_text for word in words if word != row.name] for of_text in lines)
        assert (one, len(lines[0]), len(lines[1]) > 1) == (several, 1, True)


def test_cost_and_protocols_are_shown_when_asked_for(tables: list[Table]) -> None:
    short, full = on_screen(tables, Screen(80, protocols=False, cost=False)), on_screen(tables, Screen(80))
    assert ("memory" in short, "memory" in full) == (False, True)
    assert ("Cost: medians" in short, "Cost: medians" in full) == (False, True)
    assert ("far too many words" in " ".join(short.split()), "far too many words" in " ".join(full.split())) == (
        False,
        True,
    )
    assert "Protocols in full: bench table --notes." in short


def test_a_column_wider_than_the_screen_is_shown_alone(tables: list[Table]) -> None:
    [table] = tables
    long = replace(table, columns=(replace(table.columns[0], task="x" * 90), *table.columns[1:]))
    assert "x" * 90 in on_screen([long], Screen(80))
