"""Data of a board's page: every number is that of `bench table`."""

import json
from collections.abc import Callable
from statistics import fmean
from typing import Any

import pytest

from bench_core.reports.site.boards_data import board_data, board_tables, column_id, seeds_data
from bench_core.reports.site.content import SiteBoard
from bench_core.reports.tables.build import build
from bench_core.reports.tables.model import Column

Make = Callable[..., dict[str, Any]]
BoardOf = Callable[..., SiteBoard]


@pytest.fixture
def board(make_record: Make, make_score: Make, board_of: BoardOf) -> SiteBoard:
    """Two methods with three seeds on two tasks, of which one has two metrics; one seed of vae lacks retrieval."""
    records = []
    for method, offset in (("nac", 0.2), ("vae", 0.0)):
        for seed in range(3):
            top1 = make_score("top1", 0.5 + offset + seed / 100)
            loss = make_score("loss", 1.0 - offset, unit="nats", higher_is_better=False, chance=None)
            records.append(make_record(method, "linear", seed, [top1, loss], family="classification"))
            if (method, seed) != ("vae", 2):
                map_score = make_score("map", 0.3 + offset + seed / 100)
                records.append(make_record(method, "retrieval", seed, [map_score], family="retrieval"))
    return board_of(records)


@pytest.fixture
def data(board: SiteBoard) -> dict[str, Any]:
    """Its one table."""
    tables: list[dict[str, Any]] = board_data(board, board_tables(board))["tables"]
    return tables[0]


def number_of(table: dict[str, Any], name: str) -> int:
    (number,) = [number for number, column in enumerate(table["columns"]) if column["id"] == name]
    return number


def test_columns_are_all_metrics_and_those_of_bench_table_are_shown(data: dict[str, Any]) -> None:
    ids = [column["id"] for column in data["columns"]]
    assert ids[:3] == ["linear:top1", "linear:loss", "retrieval:map"]
    shown = [column["id"] for column in data["columns"] if column["shown"]]
    assert shown == ["linear:top1", "retrieval:map", "mean", "mean rank", "tasks"]
    loss = data["columns"][1]
    assert (loss["up"], loss["unit"], loss["family"], loss["embedding"]) == (
        False,
        "nats",
        "classification",
        "features",
    )


def test_cells_hold_what_bench_table_shows(board: SiteBoard, data: dict[str, Any]) -> None:
    (table,) = build(board.entries, columns=["linear:top1", "linear:loss", "retrieval", "mean", "rank"])
    names = ["linear:top1", "linear:loss", "retrieval:map", "mean", "mean rank"]
    for row, cells in zip(table.rows, data["cells"], strict=True):
        for name, cell in zip(names, row.cells, strict=True):
            shown = cells[number_of(data, name)]
            assert shown.get("t", "") == cell.text
            assert shown.get("b", 0) == cell.bold
            assert shown.get("v") == pytest.approx(cell.mean)
            assert shown.get("h") == pytest.approx(cell.halfwidth)
    top1 = data["cells"][0][0]
    assert (top1["v"], top1["n"], top1["r"]) == (0.71, 3, 1)
    partial = data["cells"][1][number_of(data, "retrieval:map")]
    assert partial["t"].endswith("(2 of 3 seeds)")
    assert "r" not in partial


def test_rank_in_each_family_averages_to_the_mean_rank(make_record: Make, board_of: BoardOf) -> None:
    scores = {"nac": (0.9, 0.8, 0.2), "vae": (0.8, 0.9, 0.3), "random": (0.1, 0.1, 0.1)}
    tasks = (("linear", "classification"), ("knn", "classification"), ("retrieval", "retrieval"))
    records = [
        make_record(method, task, 0, value, family=family)
        for method, values in scores.items()
        for (task, family), value in zip(tasks, values, strict=True)
    ]
    board = board_of(records)
    (table,) = board_data(board, board_tables(board))["tables"]
    ranks = {row["name"]: row["family_ranks"] for row in table["rows"] if row["kind"] == "method"}
    assert ranks["nac"] == {"classification": 1.5, "retrieval": 2.0}
    assert ranks["vae"] == {"classification": 1.5, "retrieval": 1.0}
    for row, cells in zip(table["rows"], table["cells"], strict=True):
        if row["kind"] == "method":
            assert cells[number_of(table, "mean rank")]["v"] == fmean(row["family_ranks"].values())
            assert cells[number_of(table, "rank in retrieval")]["v"] == row["family_ranks"]["retrieval"]


def test_values_by_seed_lead_to_the_pages_of_their_records(board: SiteBoard) -> None:
    record = next(entry.record for entry in board.entries if entry.names["method"] == "nac" and entry.record)
    (table,) = seeds_data(board_tables(board), {record.key: "cells/first.html"})
    assert table[0]["linear:top1"] == [[0, 0.7, "cells/first.html"], [1, 0.71, ""], [2, 0.72, ""]]
    assert len(table[1]["retrieval:map"]) == 2
    assert table[2] == {}  # the chance level
    assert set(table[0]) == {"linear:top1", "linear:loss", "retrieval:map"}


def test_a_row_that_is_called_chance_is_not_the_chance_level(make_record: Make, board_of: BoardOf) -> None:
    board = board_of([make_record("chance", "linear", 0, 0.5), make_record("nac", "linear", 0, 0.6)])
    tables = board_tables(board)
    (table,) = board_data(board, tables)["tables"]
    kinds = [(row["name"], row["kind"], row["seeds"]) for row in table["rows"]]
    assert kinds == [("nac", "method", 1), ("chance", "method", 1), ("chance", "chance", 0)]
    assert [list(row) for row in seeds_data(tables, {})[0]] == [["linear:top1"], ["linear:top1"], []]


def test_columns_of_one_name_have_different_ids(make_record: Make, make_score: Make, board_of: BoardOf) -> None:
    records = [
        make_record("nac", "linear", 0, [make_score("loss", 1.0, unit="nats", higher_is_better=False)]),
        make_record("vae", "linear", 0, [make_score("loss", 1.0, unit="bits", higher_is_better=False)]),
    ]
    (table,) = board_tables(board_of(records))
    assert len(set(table.ids)) == len(table.ids)
    assert [column_id(column) for column in table.table.columns[:2]] == ["linear:loss", "linear:loss"]


def test_data_are_json_without_empty_values(board: SiteBoard) -> None:
    data = board_data(board, board_tables(board))
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert all(value not in (None, "") for row in data["tables"][0]["cells"] for cell in row for value in cell.values())


def test_id_of_a_column_is_what_bench_table_takes() -> None:
    assert column_id(Column(name="linear", kind="task", task="linear", metric="top1")) == "linear:top1"
    assert column_id(Column(name="mean rank", kind="rank")) == "mean rank"
