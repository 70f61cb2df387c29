"""A board's records and the pages that are generated from them.

leaderboards/<board>/board.toml       what is held fixed
leaderboards/<board>/records/*.json   the records behind the page, copied from a store
leaderboards/<board>/failed/*.json    cells that failed, and why
leaderboards/<board>/README.md        the page, between markers
leaderboards/<board>/<picture>.svg    the pictures that the board asks for
docs/methods/<method>.md              a method's parameters and numbers, between markers; docs/tasks/ likewise
"""

import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench_core.errors import RequestError, StoreError
from bench_core.files import write_over, write_text
from bench_core.planning.boards import Board, Picture, board_file, board_names, load_board
from bench_core.planning.plan import Plan, board_plan
from bench_core.plugins import Registry, load_plugins
from bench_core.reports.pages.components import sections, task_sections
from bench_core.reports.pages.markers import page, placeholder, splice, stale_pages
from bench_core.reports.pages.reported_numbers import beside, load_published, render_published, shipped_numbers
from bench_core.reports.pictures.draw import draw, drawn, fingerprint
from bench_core.reports.pictures.kinds import shown_once, without_shown_once
from bench_core.reports.tables import escape
from bench_core.reports.tables.build import build
from bench_core.reports.tables.cell_states import plan_entries, seed_of
from bench_core.reports.tables.entries import Entry
from bench_core.reports.tables.render import render
from bench_core.store import Store
from bench_core.store.record_schema import AXES
from bench_core.store.store import latest_attempts, read_attempt, read_records

_KINDS = ("methods", "tasks")  # folders of docs/
_KEPT = ("format", "key", "doc", "names", "kind", "error", "started")  # of a failed attempt; its log stays at home


def publish_board(
    name: str, store: Store, leaderboards: Path, readme: Path, registry: Registry | None = None
) -> tuple[int, list[Path]]:
    """Copy a board's records out of a store and write the pages that show them.

    Paths of this machine in a record's command stay at home, and so do images of all but a row's first seed. What was
    published before stays, as long as it is a cell of the board as it stands now.

    Args:
        name: A shipped board, or the path of a board.toml.
        store: Where its cells were run.
        leaderboards: Folder of the boards; the records go to `<leaderboards>/<board>/records`.
        readme: A page with markers for this board gets the table, too; beside it may lie the methods' pages,
            docs/methods/*.md, which show numbers of all boards.
        registry: Plugins, for tests.

    Returns:
        Number of records copied, and the pages and pictures written.

    Raises:
        RequestError: The store has none of the board's cells, or records of changed, uncommitted code.
    """
    board, plan = load_board(name), board_plan(name, registry)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", board.name):  # it becomes a folder, and marks in pages
        raise RequestError(
            f"board {board.name!r} cannot be published under this name; give its file or folder another."
        )
    entries = plan_entries(plan, store.records(), store.attempts())
    records = [entry.record for entry in entries if entry.record is not None and entry.state == "done"]
    if not records:
        raise RequestError(f"{store.path} has no cell of board {board.name!r}; run `bench run --board {name}` first.")
    dirty = [record["key"][:12] for record in records if record["provenance"].get("dirty")]
    if dirty:
        raise RequestError(
            f"{len(dirty)} records were made by changed, uncommitted code ({', '.join(dirty[:3])}, ...): "
            "commit, then run them again into a new store."
        )
    folder = leaderboards / board.name
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "board.toml").exists():  # a shipped or a private board, published elsewhere
        shutil.copyfile(board_file(name), folder / "board.toml")
    planned = {cell.key for cell in plan.cells}
    published = {r["key"]: r for r in read_records(folder / "records") if r["key"] in planned}
    _replace(folder / "records", _light({**published, **{record["key"]: _portable(record) for record in records}}))
    failed = {a["key"]: {k: a[k] for k in _KEPT if k in a} for a in latest_attempts(store.attempts()).values()}
    wanted = {cell.key for cell, entry in zip(plan.cells, entries, strict=True) if entry.state == "failed"}
    _replace(folder / "failed", {key: attempt for key, attempt in failed.items() if key in wanted})
    pictures = _draw(board, plan, folder)
    pages: dict[Path, dict[str, str]] = {folder / "README.md": {board.name: _section(board, plan, folder, short=False)}}
    if readme.is_file() and _begin(board.name) in readme.read_text(encoding="utf-8"):
        pages[readme] = {board.name: _section(board, plan, folder, short=True)}
    pages |= _component_pages(readme, leaderboards, registry or load_plugins())
    for path, parts in pages.items():
        text = path.read_text(encoding="utf-8") if path.is_file() else placeholder(board.name)
        for marker, content in parts.items():
            text = splice(text, marker, content)
        write_text(path, text)
    return len(records), [*pages, *pictures]


def check_pages(leaderboards: Path, readme: Path, registry: Registry | None = None) -> list[Path]:
    """The pages of all published boards and methods, each of which must say what code and records say.

    Raises:
        RequestError: There is no published board.
        StoreError: A page differs from its records; shows how.
    """
    registry = registry or load_plugins()
    pages: dict[Path, dict[str, str]] = {}
    pictures: list[Path] = []
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    for folder in sorted(path.parent for path in leaderboards.glob("*/records")):
        board, plan = load_board(str(folder)), board_plan(str(folder), registry)
        pages[folder / "README.md"] = {board.name: _section(board, plan, folder, short=False)}
        if _begin(board.name) in text:
            pages.setdefault(readme, {})[board.name] = _section(board, plan, folder, short=True)
        for path, picture in _pictures(board, folder).items():
            if drawn(path) != fingerprint(_published(plan, folder), picture):
                raise StoreError(f"{path} does not show what its records say; `bench publish {board.name}` again.")
            pictures.append(path)
    if not pages:
        raise RequestError(f"{leaderboards} holds no published board; `bench publish BOARD` makes one.")
    pages |= _component_pages(readme, leaderboards, registry)
    stale = stale_pages(pages)
    if stale:
        shown = "\n".join(stale.values())
        raise StoreError(f"{', '.join(map(str, stale))} differ from their records; `bench publish` again. {shown}")
    return sorted([*pages, *pictures])


def _pictures(board: Board, folder: Path) -> dict[Path, Picture]:
    return {folder / f"{name}.svg": picture for name, picture in board.pictures.items()}


def _draw(board: Board, plan: Plan, folder: Path) -> list[Path]:
    """The pictures that are not there or no longer true."""
    pictures = _pictures(board, folder)
    entries = _published(plan, folder) if pictures else []
    for path, picture in pictures.items():
        if drawn(path) != fingerprint(entries, picture):
            draw(entries, picture, path)
    return list(pictures)


def _component_pages(readme: Path, leaderboards: Path, registry: Registry) -> dict[Path, dict[str, str]]:
    """The methods' and the tasks' pages, with what stands between their markers."""
    docs = readme.parent / "docs"
    methods, tasks = (sorted(set((docs / kind).glob("*.md")) - {docs / kind / "README.md"}) for kind in _KINDS)
    if not methods and not tasks:
        return {}
    boards = {}
    for folder in sorted(path.parent for path in leaderboards.glob("*/records")):
        plan = board_plan(str(folder), registry)
        boards[folder.name] = plan, _published(plan, folder)
    numbers = load_published(shipped_numbers())
    pages = {path: sections(path.stem, boards, numbers, registry) for path in methods}
    return pages | {path: task_sections(path.stem, boards, registry) for path in tasks}


def _light(records: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Key -> record, of which the first seed of a row keeps what a picture shows of one seed; see `kinds`."""
    first: dict[tuple[str, ...], str] = {}
    for record in sorted(records.values(), key=seed_of):
        if shown_once(record):
            first.setdefault(tuple(record["names"][axis] for axis in AXES), record["key"])
    return {key: record if key in first.values() else without_shown_once(record) for key, record in records.items()}


def _portable(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record whose commands are what anybody would type: without the paths of the machine that ran them."""
    made = dict(record["provenance"])
    made["command"] = _typed_command(made.get("command"))
    if "pretrain" in made:
        made["pretrain"] = {**made["pretrain"], "command": _typed_command(made["pretrain"].get("command"))}
    return {**record, "provenance": made}


def _typed_command(command: str | None) -> str | None:
    """`bench run ...` without --store and --data-root, however it was started; a call from Python stays as it is."""
    words = shlex.split(command or "")
    if words[1:2] != ["run"]:
        return command
    local = {place + k for place, word in enumerate(words) if word in ("--store", "--data-root") for k in (0, 1)}
    kept = [word for place, word in enumerate(words) if place and place not in local]
    return shlex.join(["bench", *(word for word in kept if not word.startswith(("--store=", "--data-root=")))])


def _section(board: Board, plan: Plan, folder: Path, short: bool) -> str:
    """What stands between the markers: the whole page, or for the project's README the table alone."""
    entries = _published(plan, folder)
    tables = build(entries)
    if short:
        return render(tables, "md")
    shown = page(board.title, board.description, f"bench run --board {_typed(board, folder)}", tables)
    pictures = [f"![{escape.markdown(picture.title or name)}]({name}.svg)" for name, picture in board.pictures.items()]
    reported = render_published(beside(entries, load_published(shipped_numbers())), "md")
    return "\n\n".join(block.strip() for block in (shown, *pictures, reported) if block.strip()) + "\n"


def _typed(board: Board, folder: Path) -> str:
    """How the board is asked for: by name where it is shipped, else by its file."""
    return board.name if board.name in board_names() else (folder / "board.toml").as_posix()


def _published(plan: Plan, folder: Path) -> list[Entry]:
    failed = [read_attempt(path) for path in sorted((folder / "failed").glob("*.json"))]
    return plan_entries(plan, read_records(folder / "records"), failed)


def _replace(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """The folder holds these files and no others."""
    for path in folder.glob("*.json"):
        if path.stem not in files:
            path.unlink()
    for name, value in files.items():
        write_over(folder / f"{name}.json", value)


def _begin(name: str) -> str:
    return placeholder(name).splitlines()[0]
