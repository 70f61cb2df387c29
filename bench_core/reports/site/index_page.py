"""Writes the first page of a site: all boards by kind of data, with what they hold and their best rows."""

from collections.abc import Sequence
from typing import Any

from bench_core.reports.site.content import SiteBoard, SiteContent
from bench_core.reports.site.writer import SiteWriter
from bench_core.reports.tables.model import Table
from bench_core.reports.tables.statistics import FEWEST_SEEDS

_MOST_BEST = 3  # rows that the index names of a board with one table
_MOST_TABLES = 3  # tables of which it names the best row

# Kind of data -> heading; others come under their own names, and a store comes last.
_GROUPS = {
    "image": "Images",
    "vector": "Points and vectors",
    "nodes": "Nodes of a graph",
    "graphs": "Graphs",
    "pairs": "Pairs",
}
_OF_A_STORE = "Cells of a store"


def write_index(site: SiteWriter, content: SiteContent) -> None:
    """Write index.html."""
    groups: dict[str, list[SiteBoard]] = {heading: [] for heading in _GROUPS.values()}
    for board in content.boards:
        groups.setdefault(_group(board), []).append(board)
    seeds = sorted({len(_seeds(board)) for board in content.boards if board.published})
    told = f"{seeds[0]} to {seeds[-1]} seeds" if len(seeds) > 1 else "few seeds"
    values = {
        "groups": [
            {"title": heading, "boards": [_line(board) for board in boards]}
            for heading, boards in groups.items()
            if boards
        ],
        "seeds": told,
        "any_stale": any("stale" in _states(board) for board in content.boards),
        "any_missing": any("missing" in _states(board) for board in content.boards),
        "fewest": FEWEST_SEEDS,
    }
    site.page("index.html", "index.html", values)


def _group(board: SiteBoard) -> str:
    if board.published is None:
        return _OF_A_STORE
    chains = board.published.plan.chains
    kind = chains[0].data.kind if chains else "other"
    return _GROUPS.get(kind, kind)


def _line(board: SiteBoard) -> dict[str, Any]:
    states = _states(board)
    seeds = _seeds(board)
    return {
        "name": board.name,
        "title": board.title,
        "best": _best(board.tables),
        "rows": len({row.name for table in board.tables for row in table.rows if row.kind != "chance"}),
        "tasks": len({column.task for table in board.tables for column in table.columns if column.kind == "task"}),
        "seeds": len(seeds),
        "records": states.count("done"),
        "stale": states.count("stale"),
        "missing": states.count("missing"),
    }


def _states(board: SiteBoard) -> list[str]:
    return [entry.state for entry in board.entries]


def _seeds(board: SiteBoard) -> set[int]:
    return {entry.seed for entry in board.entries}


def _best(tables: Sequence[Table]) -> str:
    """Name the rows of the best mean ranks: a few of one table, or the first of each of several."""
    if len(tables) == 1 and (ranked := _ranked(tables[0])):
        return f"{', '.join(ranked[:_MOST_BEST])} (of {len(ranked)} ranked)"
    told = [f"{table.dataset}: {ranked[0]}" for table in tables if (ranked := _ranked(table))]
    further = f"; and {len(told) - _MOST_TABLES} more tables" if len(told) > _MOST_TABLES else ""
    return "; ".join(told[:_MOST_TABLES]) + further


def _ranked(table: Table) -> list[str]:
    """Return the rows that have a mean rank, the best first: "nac 1.56"."""
    numbers = [number for number, column in enumerate(table.columns) if column.kind == "rank"]
    return [f"{row.told} {row.cells[numbers[0]].text}" for row in table.rows if numbers and row.cells[numbers[0]].text]
