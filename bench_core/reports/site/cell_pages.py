"""The pages of cells: one for each record of a site, and one page for all records beyond the first 2,000.

Both kinds show the same part, templates/cell.html. Of the records without a page it is data: data/cells/DIGITS.js holds
all of them whose keys begin with these digits, and static/cell.js puts the one of the address into cell.html. Logs are
data as well, data/logs/CHAIN16.js, since all cells of a chain have the same.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench_core.keys import key_or_none
from bench_core.reports.pages.published_logs import ChainLog, chain_log, published_log
from bench_core.reports.site.cell_content import (
    command_lines,
    cost_lines,
    curves_of,
    fact_lines,
    first_score,
    images_of,
    provenance_parts,
    recipe_parts,
    score_lines,
    warnings_of,
)
from bench_core.reports.site.cell_logs import LogSummary, log_data, summary_of
from bench_core.reports.site.content import SiteBoard, SiteContent, address_name
from bench_core.reports.site.writer import SiteWriter
from bench_core.reports.tables.entries import Entry
from bench_core.store.chain_files import WEIGHTS
from bench_core.store.record import AXES, Record

PAGES = 2000  # records with a page of their own; the others are data of one page
_DIGITS = 16  # of a record's key in addresses
_TOGETHER = 48  # records in one file of data, about
_FOLDERS = {"dataset": "datasets", "method": "methods", "task": "tasks"}  # of the pages of components


def cell_addresses(content: SiteContent) -> dict[str, str]:
    """Return key -> address of the page of each record of a site.

    The first records have a page of their own, "cells/KEY16.html"; the others are shown by one, "cell.html#KEY16".
    Boards count in their order and keys inside a board in theirs, so the same records always have pages.

    Args:
        content: The site; a record that several boards have counts for the first of them.
    """
    keys: dict[str, None] = {}
    for board in content.boards:
        keys |= dict.fromkeys(sorted(entry.record.key for entry in board.entries if entry.record))
    return {
        key: f"cells/{key[:_DIGITS]}.html" if number < PAGES else f"cell.html#{key[:_DIGITS]}"
        for number, key in enumerate(keys)
    }


@dataclass(frozen=True)
class _Cell:
    """A record with its place on a board.

    Attributes:
        board: The first board that has it.
        entry: The cell on this board.
        record: The record.
        chain: Key of its chain.
        boards: All boards that have it.
    """

    board: SiteBoard
    entry: Entry
    record: Record
    chain: str
    boards: list[SiteBoard]

    @property
    def row(self) -> tuple[str, ...]:
        """The parts of a page that cells of one task, row and board share, whatever their seed."""
        fold = self.entry.names.get("fold", "")
        return (self.board.name, *(self.entry.names[axis] for axis in AXES), fold)

    @property
    def of_chain(self) -> tuple[str, str]:
        """The parts of a page that cells of one chain and board share."""
        return self.board.name, self.chain


class _Cells:
    """All records of a site, and which of them belong together."""

    def __init__(self, content: SiteContent) -> None:
        self._content = content
        self.addresses = cell_addresses(content)

    @cached_property
    def all(self) -> dict[str, _Cell]:
        """Key -> cell, in the order of the addresses."""
        found: dict[str, _Cell] = {}
        for board in self._content.boards:
            for entry in board.entries:
                if (record := entry.record) is None:
                    continue
                if known := found.get(record.key):
                    known.boards.append(board)
                else:
                    chain = key_or_none(record.document.pretrain) or ""
                    found[record.key] = _Cell(board, entry, record, chain, [board])
        return {key: found[key] for key in self.addresses}

    @cached_property
    def seeds(self) -> Mapping[tuple[str, ...], list[_Cell]]:
        """Row -> its cells, by seed."""
        groups: dict[tuple[str, ...], list[_Cell]] = defaultdict(list)
        for cell in self.all.values():
            groups[cell.row].append(cell)
        return {
            row: sorted(cells, key=lambda cell: (cell.record.seed, cell.record.key)) for row, cells in groups.items()
        }

    @cached_property
    def chains(self) -> Mapping[tuple[str, str], list[_Cell]]:
        """Board and chain -> its cells, by task."""
        groups: dict[tuple[str, str], list[_Cell]] = defaultdict(list)
        for cell in self.all.values():
            groups[cell.of_chain].append(cell)
        return {
            chain: sorted(cells, key=lambda cell: (cell.entry.names["task"], cell.record.key))
            for chain, cells in groups.items()
        }


def write_cells(site: SiteWriter, content: SiteContent) -> None:
    """Write the page of each record, the data of those without one, and the logs of all chains.

    Call it after the pages of methods, tasks and datasets: links lead to those that are there.
    """
    cells = _Cells(content)
    logs = _write_logs(site, cells)
    further: dict[str, dict[str, str]] = defaultdict(dict)
    rest = len(cells.addresses) - PAGES
    digits = next(digits for digits in range(1, 9) if 16**digits * _TOGETHER >= rest)
    for key, cell in cells.all.items():
        address = cells.addresses[key]
        values = _values(cell, cells, logs.get(cell.chain), site)
        if "#" in address:
            part = site.rendered("cell.html", {**values, "root": ""})
            further[key[:digits]][key[:_DIGITS]] = part
        else:
            site.page(address, "cell_page.html", values)
    if rest > 0:
        for number in range(16**digits):
            start = f"{number:0{digits}x}"
            parts = json.dumps(further.get(start, {}), ensure_ascii=False, separators=(",", ":"))
            # Not by `site.data`, which writes "<" with six characters, and parts are full of tags. That is safe: a
            # script in a file of its own is not ended by "</script>", JSON is JavaScript since ES2019, and in the
            # parts all values are escaped, as in the pages of other cells.
            site.file(f"data/cells/{start}.js", f'bench.put("cells/{start}", {parts});\n'.encode())
        site.page("cell.html", "further_cells.html", {"digits": digits, "count": rest})


def _write_logs(site: SiteWriter, cells: _Cells) -> dict[str, LogSummary]:
    """Write the logs of all chains as data, and return chain -> what pages say of it."""
    logs: dict[str, LogSummary] = {}
    for (_, chain), of_chain in cells.chains.items():
        if chain in logs or not (log := _log_of(of_chain[0])) or not log.epoch_lines:
            continue
        summary = summary_of(log, f"log/{chain[:_DIGITS]}", f"data/logs/{chain[:_DIGITS]}.js")
        site.data(summary.address, summary.name, log_data(log))
        logs[chain] = summary
    return logs


def _log_of(cell: _Cell) -> ChainLog | None:
    """Return the log of a cell's chain, from the first of its boards that keeps one."""
    for board in cell.boards:
        if board.published:
            log = published_log(board.published.folder, cell.chain)
        else:
            log = chain_log(board.store, cell.chain) if board.store else None
        if log:
            return log
    return None


def _values(cell: _Cell, cells: _Cells, log: LogSummary | None, site: SiteWriter) -> dict[str, Any]:
    """Return all that templates/cell.html shows."""
    record, names = cell.record, cell.entry.names
    return {
        "title": " / ".join(names[axis] for axis in AXES),
        "seed": record.seed,
        "fold": f"fold {names['fold']}" if "fold" in names else "",
        "key": record.key,
        "stale": cell.entry.reason if cell.entry.state == "stale" else "",
        "first": first_score(record),
        "boards": [{"title": board.title, "href": f"boards/{board.name}.html"} for board in cell.boards],
        "names": _names(cell, site),
        "scores": score_lines(record),
        "protocol": record.protocol,
        "notes": record.notes,
        "recipe_from": record.recipe_from,
        "recipe": recipe_parts(record),
        "commands": command_lines(record, cell.board),
        "provenance": provenance_parts(record),
        "cost": cost_lines(record),
        "facts_of": fact_lines(record),
        "warnings": warnings_of(record),
        "curves": curves_of(record),
        "images": list(images_of(record)),
        "log": log,
        "trained": bool(record.document.recipe.get("epochs", True)),
        "weights": _weights(cell),
        "of_store": cell.board.store is not None,
        "seeds": _links(cells.seeds[cell.row], cell, cells, lambda other: f"seed {other.record.seed}"),
        "chain": _links(cells.chains[cell.of_chain], cell, cells, lambda other: other.entry.names["task"]),
    }


def _names(cell: _Cell, site: SiteWriter) -> list[dict[str, str]]:
    """Return the four names of a cell, each with the page of its component where the site has one."""
    lines = []
    for axis in AXES:
        name = str(cell.record.document.component(axis).get("id", "")).rpartition("/")[2]
        address = f"{_FOLDERS[axis]}/{address_name(name)}.html" if axis in _FOLDERS else ""
        href = address if address in site.written else ""
        lines.append({"axis": axis, "text": cell.entry.names[axis], "component": name, "href": href})
    return lines


def _links(group: Sequence[_Cell], cell: _Cell, cells: _Cells, label: Callable[[_Cell], str]) -> list[dict[str, Any]]:
    """Return the cells of a group with their first score; the page's own has no link."""
    return [
        {
            "label": label(other),
            "score": first_score(other.record),
            "href": "" if other is cell else cells.addresses[other.record.key],
        }
        for other in group
    ]


def _weights(cell: _Cell) -> str:
    """Return the command that prints the folder of the weights; "" where they are not at hand."""
    store = cell.board.store
    if store and (store.chain_folder(cell.chain) / WEIGHTS).is_file():
        return f"bench path {cell.chain[:12]} --store {store.path.name}"
    return ""
