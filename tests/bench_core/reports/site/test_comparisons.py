"""Pages that compare rows: every number is that of `bench compare`."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench_core.reports.comparison.all_pairs import compare_all
from bench_core.reports.comparison.rows import compare
from bench_core.reports.comparison.text import show_comparison
from bench_core.reports.site import comparisons
from bench_core.reports.site.comparisons import NO_ITEMS, NO_SPREAD, comparison_data, write_comparisons
from bench_core.reports.site.content import SiteBoard
from bench_core.reports.site.writer import SiteWriter, as_script

Make = Callable[..., dict[str, Any]]
BoardOf = Callable[..., SiteBoard]
ITEMS = 60


@pytest.fixture
def board(make_record: Make, make_score: Make, packed: Callable[..., Any], board_of: BoardOf) -> SiteBoard:
    """Rows a to d with hits of a task, numbers of another, and a tiny loss without items; e has no task of theirs."""
    rng = np.random.default_rng(0)
    records = []
    for k, method in enumerate("abcd"):
        for seed in range(2 + k % 2 * 2):
            hits = (rng.random(ITEMS) < 0.5 + 0.12 * k).tolist()
            fields = {"items": {"top1": packed(hits)}}
            records.append(make_record(method, "knn", seed, [make_score("top1", float(np.mean(hits)))], **fields))
            values = rng.random(ITEMS).round(3).tolist()
            fields = {"items": {"map": packed(values)}}
            records.append(
                make_record(method, "retrieval", seed, [make_score("map", float(np.mean(values)))], **fields)
            )
            loss = make_score("loss", 1e-6 * (k + rng.random()), unit="nats", higher_is_better=False)
            records.append(make_record(method, "likelihood", seed, [loss]))
    records.append(make_record("e", "linear", 0, 0.5))
    return board_of(records)


@pytest.fixture
def site(tmp_path: Path) -> SiteWriter:
    return SiteWriter(tmp_path / "site")


def data_of(site: SiteWriter, board: SiteBoard) -> dict[str, Any]:
    [pairs] = compare_all([board.entries], [[row.name for table in board.tables for row in table.rows]])
    data: dict[str, Any] = json.loads(json.dumps(comparison_data(site, board, pairs)))
    return data


def shown(value: float | str | None, digits: int | None) -> str:
    """Return a number as static/compare_pairs.js shows it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.{0 if digits is None else digits}f}"


def difference(values: list[Any], digits: int | None) -> str:
    mean, low, high = values
    finer = None if digits is None else digits + 1
    text = shown(mean, finer)
    return text if low is None else f"{text} [{shown(low, finer)}, {shown(high, finer)}]"


def p_text(p: float | None) -> str:
    return "" if p is None else "< 1e-4" if p == 0 else f"{p:.2g}"


def test_lines_of_all_pairs_are_those_of_bench_compare(site: SiteWriter, board: SiteBoard) -> None:
    data = data_of(site, board)
    names = [row["name"] for row in data["rows"]]
    assert sorted(names) == ["a", "b", "c", "d"]
    assert len(data["pairs"]) == 6
    for key, (lines, notes) in data["pairs"].items():
        first, second = (names[int(number)] for number in key.split("-"))
        comparison = compare(board.entries, first, second)
        assert [data["texts"][note] for note in notes] == list(comparison.notes)
        text = show_comparison(comparison, "md")
        over_seeds, over_items = [], []
        for table, column, seeds, table_seeds, digits, means, *numbers, verdict, ahead, items in lines:
            title = data["tables"][table]["columns"][column]["title"]
            cells = [data["tables"][table]["title"], title, *(shown(mean, digits) for mean in means)]
            few = f"{seeds} of {table_seeds}" if seeds < table_seeds else str(seeds)
            cells += [few, difference(numbers[:3], digits), p_text(numbers[3]), data["texts"][verdict]]
            over_seeds.append(cells)
            assert ahead == {f"{first} better": 1, f"{second} better": 2}.get(cells[-1].partition(" on ")[0], 0)
            if items:
                split, n, item_seeds, mean, low, high, p, *_ = items
                cells = [*cells[:2], str(item_seeds), f"{n} of {data['texts'][split]}"]
                over_items.append([*cells, difference([mean, low, high], digits), p_text(p)])
        rows = [
            [cell.strip().replace("\\", "") for cell in line.split("|")[1:-1]]
            for line in text.splitlines()
            if line.startswith("| ")
        ]
        rows = [row for row in rows if row[0] != "data"]
        assert rows == [*over_seeds, *over_items]
        assert len(over_items) == 2


def test_hits_and_differences_of_items_are_counted(site: SiteWriter, board: SiteBoard) -> None:
    data = data_of(site, board)
    tasks = [column["task"] for column in data["tables"][0]["columns"]]
    for lines, _ in data["pairs"].values():
        for line in lines:
            task, seeds, items = tasks[line[1]], line[2], line[-1]
            if task == "likelihood":
                assert items == 0
                continue
            right, end, counts = items[7:]
            assert sum(counts) == ITEMS
            if task == "retrieval":
                assert right == 0
                continue
            assert sum(right) == ITEMS * seeds
            assert len(counts) == 2 * seeds + 1
            mean = 100 * (right[1] - right[2]) / (ITEMS * seeds)
            assert items[3] == pytest.approx(mean, abs=0.006)
            steps = np.linspace(-end, end, len(counts) + 1)
            middles = (steps[1:] + steps[:-1]) / 2
            assert float((middles * counts).sum()) / ITEMS == pytest.approx(mean, abs=0.01)


def test_parts_that_take_too_much_room_are_left_out_and_the_page_says_so(
    site: SiteWriter, board: SiteBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sizes(data: dict[str, Any]) -> set[int]:
        return {len(line[-1]) for lines, _ in data["pairs"].values() for line in lines if line[-1]}

    whole = data_of(site, board)
    assert (sizes(whole), whole["left_out"]) == ({10}, [])
    packed = {name: whole[name] for name in ("rows", "tables", "texts", "pairs", "left_out")}
    monkeypatch.setattr(comparisons, "MOST_BYTES", len(gzip.compress(as_script(packed).encode(), 6)) - 1)
    less = data_of(site, board)
    assert (sizes(less), less["left_out"]) == ({7}, [NO_SPREAD])
    monkeypatch.setattr(comparisons, "MOST_BYTES", 1)
    least = data_of(site, board)
    assert (sizes(least), least["left_out"]) == (set(), [NO_ITEMS])


def test_pages_name_rows_without_a_script_and_escape_them(
    site: SiteWriter, board_of: BoardOf, make_record: Make
) -> None:
    hostile = "<script>alert(1)</script>"
    boards = [
        board_of([make_record(method, "knn", seed, 0.5 + seed / 10, names={"method": name})
                  for method, name in (("a", hostile), ("b", "b")) for seed in range(3)]),
        board_of([make_record("a", "knn", 0, 0.5)], name="alone"),
    ]  # fmt: skip
    write_comparisons(site, SimpleNamespace(boards=boards))  # type: ignore[arg-type]  # of the content it reads the boards alone
    page, alone = (site.out.joinpath(f"compare/{board.name}.html").read_text() for board in boards)
    assert hostile not in page
    assert "&lt;script&gt;" in page
    assert "bench compare &#39;&lt;script" in page
    assert "No two rows" in alone
    assert f"data/compare/{boards[0].name}.js" in site.written
    assert "data/compare/alone.js" not in site.written
    assert hostile not in site.out.joinpath(f"data/compare/{boards[0].name}.js").read_text()
