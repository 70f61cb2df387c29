"""Writes the page of each board, with its data beside it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bench_core.reports.pages.published_board import BoardPicture
from bench_core.reports.pages.reported_numbers import NOTE, ReportedNumber, beside, load_reported, shipped_numbers
from bench_core.reports.site.boards_data import BoardTable, board_data, board_tables, seeds_data
from bench_core.reports.site.cell_pages import cell_addresses
from bench_core.reports.site.component_rows import placed_tables
from bench_core.reports.site.component_views import page_links
from bench_core.reports.site.content import SiteBoard, SiteContent
from bench_core.reports.site.plots import write_board_plots
from bench_core.reports.site.prose import PageLinks, to_html
from bench_core.reports.site.writer import HERE, SiteWriter
from bench_core.reports.tables.cells import show
from bench_core.reports.tables.entries import Entry
from bench_core.store.record import Provenance

_SCRIPTS = ("table.js", "downloads.js", "cell_dialog.js", "board_controls.js", "board.js")  # of the table
_MOST_NAMES = 6  # commits or machines that a page names


def write_boards(site: SiteWriter, content: SiteContent) -> None:
    """Write a page for each board, its data, and its values by seed, which are loaded on demand."""
    addresses = cell_addresses(content)
    reported = load_reported(shipped_numbers())
    pages = page_links(content, placed_tables(content), has_manual=site.has_manual)
    for board in content.boards:
        tables = board_tables(board)
        data = board_data(board, tables)
        site.data(f"data/boards/{board.name}.js", f"board/{board.name}", data)
        site.data(f"data/seeds/{board.name}.js", f"seeds/{board.name}", seeds_data(tables, addresses))
        address = f"boards/{board.name}.html"
        values = {
            "board": board,
            "scripts": [script for script in _SCRIPTS if (HERE / "static" / script).is_file()],
            "missing": board.published.missing.removeprefix("Partial: ") if board.published else "",
            "tables": [_table(of, shown) for of, shown in zip(tables, data["tables"], strict=True)],
            "description": to_html(board.description, links=_links(pages, board), shift=1),
            "command": board.command,
            "plots": write_board_plots(site, board, content.registry),
            "pictures": _pictures(site, board),
            "published": [_reported(number) for number in beside(board.entries, reported)],
            "published_note": NOTE,
            "facts": facts(board.entries),
        }
        site.page(address, "board.html", values)


def _links(pages: PageLinks, board: SiteBoard) -> Callable[[str], str | None]:
    """Return where links in the description of a board lead, which is written for the board's README.md."""
    return pages.from_file(f"leaderboards/{board.name}/README.md", "../")


def facts(entries: Iterable[Entry]) -> list[tuple[str, str]]:
    """Return in short where records come from: name and text of each fact; none without records."""
    records = [entry.record for entry in entries if entry.record]
    if not records:
        return []
    of_tasks = [record.provenance for record in records]
    of_all = [*of_tasks, *(source.pretrain for source in of_tasks if source.pretrain)]
    days = sorted({day for source in of_all if (day := (source.ended or source.started or "")[:10])})
    return [
        ("records", str(len({record.key for record in records}))),
        ("made", f"{days[0]} to {days[-1]}" if len(days) > 1 else "".join(days) or "unknown"),
        ("commits", _names(source.commit[:10] if source.commit else "not known" for source in of_all)),
        ("machines", _names(map(_machine, of_all))),
        ("versions", _names(f"bench {source.bench or '?'}, torch {source.torch or '?'}" for source in of_tasks)),
    ]


def _machine(source: Provenance) -> str:
    threads = f", {source.threads} thread{'s' * (source.threads != 1)}" if source.threads else ""
    return f"{source.device or 'unknown'}{threads}"


def _names(names: Iterable[str]) -> str:
    """Join different names, those of most records first, and say how many are left out."""
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    ordered = sorted(counts, key=lambda name: (-counts[name], name))
    further = f"; and {len(ordered) - _MOST_NAMES} more" if len(ordered) > _MOST_NAMES else ""
    return "; ".join(ordered[:_MOST_NAMES]) + further


def _table(of: BoardTable, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template shows of a table."""
    notes = {reason: number for number, reason in enumerate(data["notes"], 1)}
    first = [_best_mean(data, number) for number in range(len(data["columns"]))]
    rows = []
    for row, cells in zip(data["rows"], data["cells"], strict=True):
        shown = [
            _cell(cell, column, notes, first=cell.get("v") == first[number])
            for number, (column, cell) in enumerate(zip(data["columns"], cells, strict=True))
        ]
        rows.append({"data": row, "cells": shown, "href": row["href"]})
    return {"data": data, "rows": rows, "encoders": any(row.encoder for row in of.table.rows)}


def _best_mean(data: Mapping[str, Any], number: int) -> float | None:
    """Return the best mean of a column among the cells that are marked; None where none is."""
    marked = [cells[number]["v"] for cells in data["cells"] if cells[number].get("b")]
    return (max if data["columns"][number]["up"] else min)(marked, default=None)


def _cell(
    cell: Mapping[str, Any], column: Mapping[str, Any], notes: Mapping[str, int], *, first: bool
) -> dict[str, Any]:
    reason = cell.get("w", "")
    looks = {"best": "b" in cell, "first": "b" in cell and first, cell.get("s", ""): "s" in cell}
    return {
        "column": column,
        "text": cell.get("t", ""),
        "look": " ".join(look for look, holds in looks.items() if holds),
        "said": "; ".join(filter(None, (cell.get("c", ""), reason))),
        "note": notes.get(reason),
    }


def _pictures(site: SiteWriter, board: SiteBoard) -> list[dict[str, Any]]:
    """Copy the pictures of a board that are there, and return what the template shows of them."""
    pictures = board.published.pictures if board.published else ()
    return [_picture(site, board, picture) for picture in pictures if picture.path.is_file()]


def _picture(site: SiteWriter, board: SiteBoard, picture: BoardPicture) -> dict[str, Any]:
    file = f"{board.name}/{picture.path.name}"
    site.file(f"boards/{file}", picture.path.read_bytes())
    title = picture.picture.title or picture.picture.name
    caption = ". ".join(filter(None, (title.rstrip("."), picture.note)))
    return {"file": file, "alt": f"{title} ({picture.picture.kind} of {board.title})", "caption": caption, "size": None}


def _reported(number: ReportedNumber) -> dict[str, str]:
    percent = " %" if number.unit == "fraction" else ""
    text = show(number.value, number.unit, 1 if number.unit == "fraction" else 3) + percent
    names = ("method", "dataset", "setting", "metric", "source", "url", "verified")
    return {"text": text, **{name: getattr(number, name) for name in names}}
