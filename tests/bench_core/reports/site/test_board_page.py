"""Sentences of a board's page and of the index beside the scores."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench_core.reports.site.board_page import facts, write_boards
from bench_core.reports.site.boards_data import board_data, board_tables
from bench_core.reports.site.content import SiteBoard, SiteContent
from bench_core.reports.site.index_page import write_index
from bench_core.reports.site.writer import SiteWriter
from bench_core.reports.tables.entries import Entry

Make = Callable[..., dict[str, Any]]
BoardOf = Callable[..., SiteBoard]
ContentOf = Callable[..., SiteContent]


@pytest.fixture
def records(make_record: Make) -> list[dict[str, Any]]:
    """Two methods that cannot be told apart and one that is worse, with three seeds each."""
    values = {"nac": (0.8, 0.7, 0.9), "vae": (0.75, 0.78, 0.8), "random": (0.1, 0.1, 0.12)}
    return [
        make_record(method, "linear", seed, value) for method, row in values.items() for seed, value in enumerate(row)
    ]


def cells(html: str, row: str) -> dict[str, str]:
    """Return column -> tag and content of its cell."""
    (body,) = [line for line in re.findall(r"<tr data-row.*?</tr>", html) if f">{row}<" in line]
    return {found[1]: found[0] for found in re.findall(r'(<td data-column="([^"]+)".*?</td>)', body)}


def test_best_and_not_distinguishable_are_marked_apart(
    records: list[dict[str, Any]], content_of: ContentOf, tmp_path: Path
) -> None:
    write_boards(SiteWriter(tmp_path), content_of(records))
    html = (tmp_path / "boards" / "made.html").read_text(encoding="utf-8")
    assert 'class="best first"' in cells(html, "nac")["linear:top1"]
    assert 'class="best"' in cells(html, "vae")["linear:top1"]
    assert "class" not in cells(html, "random")["linear:top1"]
    assert "80.0 ± 24.8" in cells(html, "nac")["linear:top1"]
    assert " hidden>" in cells(html, "nac")["pretrain"]


def test_a_failed_cell_has_its_reason_among_the_notes(records: list[dict[str, Any]], board_of: BoardOf) -> None:
    made = board_of(records)
    names = {"dataset": "digits", "encoder": "convnet", "method": "nac", "task": "decode"}
    entries = [*made.entries, Entry(names, 0, "failed", "oom: memory ran out")]
    board = SiteBoard("made", "Made", "", "", entries)
    (table,) = board_data(board, board_tables(board))["tables"]
    assert table["notes"] == ["oom: memory ran out"]
    (failed,) = [cell for row in table["cells"] for cell in row if cell.get("s") == "failed"]
    assert failed == {"t": "failed", "s": "failed", "w": "oom: memory ran out"}


def test_facts_name_each_commit_and_machine_once_the_most_frequent_first(make_record: Make, board_of: BoardOf) -> None:
    records = [make_record("nac", "linear", seed, 0.5) for seed in range(9)]
    for number, record in enumerate(records[1:]):
        record["provenance"] |= {"commit": str(number) * 40}
    records[2]["provenance"]["commit"] = records[1]["provenance"]["commit"]
    told = dict(facts(board_of(records).entries))
    assert told["records"] == "9"
    assert told["made"] == "2026-01-01 to 2026-01-09"
    assert told["commits"].startswith("0000000000; ")
    assert told["commits"].endswith("; and 2 more")
    assert told["machines"] == "cpu: Test, 2 threads"
    assert facts([]) == []


def test_index_names_best_rows_and_counts_cells(
    records: list[dict[str, Any]], content_of: ContentOf, tmp_path: Path
) -> None:
    write_index(SiteWriter(tmp_path), content_of(records))
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "Cells of a store" in html
    assert "nac 1.00, vae 2.00, random 3.00 (of 3 ranked)" in html
    (line,) = re.findall(r"<tr><th scope=\"row\">.*?</tr>", html)
    assert re.findall(r'<td class="number">(.*?)</td>', line) == ["3", "1", "3", "9"]
    assert "missing" not in html.lower()  # no board has such cells, so none is explained
