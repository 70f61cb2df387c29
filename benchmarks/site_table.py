"""Time the table of a board's page in Chromium: `python -m benchmarks.site_table [--save]`.

A board of 1,000 rows x 30 scores is sorted, filtered and narrowed in headless Chromium. Beside it, in the same browser
and in turns, plain code does the same to a bare table of the same texts, without styles, marks, filters or state. Times
are from the press to the end of the layout; what follows paints the part in sight. CPU seconds are those of the page's
main thread, with what the browser takes to be asked for them.
"""

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_core.errors import RequestError
from bench_core.plugins import Registry
from bench_core.reports.site.board_page import write_boards
from bench_core.reports.site.build import write_assets
from bench_core.reports.site.content import SiteBoard, SiteContent
from bench_core.reports.site.writer import SiteWriter
from bench_core.reports.tables.model import Column, Row, Table, TableCell
from benchmarks.contest import Budget, Contest, Goal, Timing, main

if TYPE_CHECKING:
    from playwright.sync_api import Browser, CDPSession, Page

ROWS, COLUMNS, BOARD = 1_000, 30, "large"
LIMIT_S = 0.1  # what a reader takes as at once
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
EMPTY = "an empty task"
WORKS = ("sort", "filter half of the rows", "all rows again", "hide 25 columns, or show them")
SIX = 6  # families of tasks

# Each work is done by `ours` through the page's own controls, and by `bare` by the shortest code that does it.
_OURS = """
const press = (node) => node.click();
const set = (node, value, name) => { node.value = value; node.dispatchEvent(new Event(name)); };
const heads = [...document.querySelectorAll(".board thead th[data-column] button")];
const text = document.querySelector(".board input[type=search]");
const families = [...document.querySelectorAll(".board .controls .panel input")];
const works = {
  "sort": (round) => press(heads[round % heads.length]),
  "filter half of the rows": () => set(text, "odd", "input"),
  "all rows again": () => set(text, "", "input"),
  "hide 25 columns, or show them": () => press(families[0]),
};
"""
_BARE = """
const body = document.querySelector("tbody");
const rows = [...body.rows];
const values = rows.map((row) => [...row.cells].map((cell) => parseFloat(cell.textContent)));
const works = {
  "sort": (round) => {
    const order = rows.map((row, place) => place).sort((a, b) => values[b][round % 30 + 1] - values[a][round % 30 + 1]);
    body.append(...order.map((place) => rows[place]));
  },
  "filter half of the rows": () => rows.forEach((row) => (row.hidden = !row.cells[0].textContent.includes("odd"))),
  "all rows again": () => rows.forEach((row) => (row.hidden = false)),
  "hide 25 columns, or show them": () => {
    for (const row of document.querySelectorAll("tr")) {
      [...row.cells].forEach((cell, place) => (cell.hidden = place % 6 !== 1 && place > 0 && !cell.hidden));
    }
  },
};
"""
_MEASURE = """
window.measure = (name, round) => {
  document.body.offsetHeight; // the layout of what was before is not ours
  const start = performance.now();
  if (works[name]) works[name](round);
  document.body.offsetHeight;
  return (performance.now() - start) / 1000;
};
"""


@dataclass(frozen=True)
class _Made(SiteBoard):
    """A board with a table that no record made."""

    made: Table | None = None

    @cached_property
    def tables(self) -> list[Table]:
        return [self.made] if self.made else []

    @cached_property
    def full_tables(self) -> list[Table]:
        return self.tables

    @cached_property
    def rows(self) -> Any:
        return {(table.dataset, table.encoder): {row.name: [] for row in table.rows} for table in self.tables}


def made_table(rows: int, columns: int) -> Table:
    """Return a table of random scores of six families; half of the rows are called "odd"."""
    rng = random.Random(0)
    heads = tuple(
        Column(
            name=f"task_{number}",
            kind="task",
            task=f"task_{number}",
            metric="top1",
            unit="fraction",
            higher_is_better=True,
            family=f"family_{number % SIX}",
            seeds=5,
        )
        for number in range(columns)
    )
    lines = tuple(
        Row(name=f"{'odd' if row % 2 else 'even'}_{row}", cells=tuple(_cell(rng) for _ in heads)) for row in range(rows)
    )
    return Table(dataset="made", encoder="convnet", columns=heads, rows=lines, notes=(), footer=())


def _cell(rng: random.Random) -> TableCell:
    mean, half = rng.random(), rng.random() / 50
    text = f"{100 * mean:.1f} ± {100 * half:.1f}"
    return TableCell(text=text, mean=mean, halfwidth=half, n=5, bold=rng.random() < 0.1)


def write_pages(folder: Path, rows: int = ROWS, columns: int = COLUMNS) -> tuple[Path, Path]:
    """Write our page of a board, and the bare one; return both."""
    table = made_table(rows, columns)
    site = SiteWriter(folder)
    write_assets(site)
    board = _Made(BOARD, "Large", "", "", (), made=table)
    write_boards(site, SiteContent([board], [], Registry([]), None))
    head = "".join(f"<th>{escape(text)}" for text in ("method", *(column.title for column in table.columns)))
    lines = [[row.name, *(cell.text for cell in row.cells)] for row in table.rows]
    body = "".join(f"<tr>{''.join(f'<td>{escape(text)}' for text in line)}" for line in lines)
    bare = folder / "bare.html"
    page = f"<!doctype html><meta charset=utf-8><table><thead><tr>{head}</thead><tbody>{body}</tbody></table>"
    bare.write_text(page, encoding="utf-8")
    return folder / "boards" / f"{BOARD}.html", bare


@contextmanager
def chromium() -> "Iterator[Browser]":
    """Start a headless Chromium.

    Raises:
        RequestError: There is none on this machine.
    """
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        raise RequestError("there is no Chromium on this machine; on Debian: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


def pages(browser: "Browser", folder: Path, rows: int = ROWS, columns: int = COLUMNS) -> "dict[str, Page]":
    """Open both pages; each has `measure(work, round)`, which returns seconds."""
    ours, bare = write_pages(folder, rows, columns)
    opened = {}
    for name, path, works in (("ours", ours, _OURS), ("bare", bare, _BARE)):
        opened[name] = browser.new_page(viewport={"width": 1280, "height": 900})
        opened[name].goto(path.resolve().as_uri(), timeout=120_000)
        opened[name].evaluate(f"() => {{ {works} {_MEASURE} }}")
    return opened


def measure(opened: "dict[str, Page]", rounds: int) -> list[Timing]:
    """Do all works in turns, ours before the bare one and the other way round; the first round warms up."""
    ways = [(f"{work}, {name}", work, page) for work in WORKS for name, page in opened.items()]
    timings = {name: Timing(name, 1.0) for name in (*(way for way, _, _ in ways), EMPTY)}
    sessions = {page: page.context.new_cdp_session(page) for page in opened.values()}
    for session in sessions.values():
        session.send("Performance.enable")
    for turn in range(rounds + 1):
        order = sorted(ways, key=lambda way: (WORKS.index(way[1]), way[0].endswith("ours") == bool(turn % 2)))
        for name, work, page in [*order, (EMPTY, "nothing", opened["bare"])]:
            page.bring_to_front()
            before = _thread_seconds(sessions[page])
            wall = page.evaluate("([work, round]) => measure(work, round)", [work, turn])
            cpu = _thread_seconds(sessions[page]) - before
            if turn:
                timings[name].cpu_s.append(cpu)
                timings[name].wall_s.append(wall)
    return list(timings.values())


def _thread_seconds(session: "CDPSession") -> float:
    """Return the CPU seconds of a page's main thread since its session began to count."""
    metrics = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
    return float(metrics["ThreadTime"])


def contests(folder: Path) -> Iterator[Contest]:
    """Yield the one contest, while its pages are open."""
    with chromium() as browser:
        yield Contest(
            f"A board of {ROWS:,} rows x {COLUMNS} columns in Chromium",
            [],
            goals=[Goal(f"{work}, ours", f"{work}, bare", 1.0) for work in WORKS],
            budgets=[Budget(f"{work}, ours", EMPTY, LIMIT_S) for work in WORKS],
            notes=[
                f"Chromium {browser.version}",
                "ours keeps the view in the address, marks the sorted column, and says what is hidden; TanStack Table "
                "core sorts and filters",
                "what takes the time in both is the browser's layout. Ours lays out the first 60 rows, and adds others "
                "as somebody scrolls to them",
            ],
            measure=partial(measure, pages(browser, folder)),
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make: Callable[[], Any] = partial(contests, folder)
        main("site_table", make)
