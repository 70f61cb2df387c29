"""Copies a board's records out of a store, and writes the pages that are generated from them.

leaderboards/<board>/board.toml       the board's file
leaderboards/<board>/records/*.json   the records behind the page, copied from a store
leaderboards/<board>/failed/*.json    cells that failed, and why
leaderboards/<board>/README.md        the page, between markers
leaderboards/<board>/<picture>.svg    the pictures that the board names
docs/methods/<method>.md              a method's parameters and numbers, between markers
docs/tasks/<task>.md                  a task's parameters and numbers, between markers
"""

import re
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench_core.errors import RequestError, StoreError
from bench_core.files import write_over, write_text
from bench_core.planning.boards import Board, Picture, board_file, board_names, load_board
from bench_core.planning.plan import Plan, board_plan
from bench_core.plugins import Registry, load_plugins
from bench_core.reports.pages.components import method_sections, task_sections
from bench_core.reports.pages.markers import begin_marker, page, placeholder, splice, stale_pages
from bench_core.reports.pages.reported_numbers import beside, load_reported, render_reported, shipped_numbers
from bench_core.reports.pictures.draw import draw, fingerprint, fingerprint_in
from bench_core.reports.pictures.kinds import check_pictures, has_never_averaged, without_never_averaged
from bench_core.reports.tables import escape
from bench_core.reports.tables.build import build
from bench_core.reports.tables.cell_states import plan_entries
from bench_core.reports.tables.entries import Entry
from bench_core.reports.tables.render import render
from bench_core.store import Store
from bench_core.store.record import Provenance, Record, record_from_json
from bench_core.store.store import latest_attempts, read_attempt, read_records

_LONGEST_DIFFERENCE = 1000  # characters of a page's difference in a message
_ATTEMPT_FIELDS = ("format", "key", "doc", "names", "kind", "error", "started")  # its log is not published


def publish_board(
    name: str, store: Store, leaderboards: Path, readme: Path, registry: Registry | None = None
) -> tuple[int, list[Path]]:
    """Copy a board's records out of a store and write the pages that show them.

    Paths of this machine in a record's command are left out, and so are images of all but a row's first seed. What was
    published before stays, as long as it is a cell of the board as it is now.

    Every number must lead to its code. So a record must come from an unchanged commit of a checkout, or from a wheel,
    whose version names its code. Its provenance tells them apart: a wheel has neither `commit` nor `dirty`; a checkout
    has `dirty`, and also `commit`, unless git could not name one. The last kind, and changed code, are refused.

    Args:
        name: A shipped board, or the path of a board.toml.
        store: The store in which its cells were run.
        leaderboards: Folder of the boards; the records go to `<leaderboards>/<board>/records`.
        readme: A page; if it has markers for this board, it gets the table, too. Beside it may be pages of methods
            and tasks, docs/methods/*.md and docs/tasks/*.md, which show numbers of all boards.
        registry: Plugins, for tests.

    Returns:
        Number of records copied, and the pages and pictures written.

    Raises:
        RequestError: The store has none of the board's cells, or records of code without a commit or with changes.
    """
    board, plan = load_board(name), board_plan(name, registry)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", board.name):  # it becomes a folder, and markers in pages
        raise RequestError(
            f"board {board.name!r} cannot be published under this name; give its file or folder another."
        )
    check_pictures(board)
    entries = plan_entries(plan, store.records(), store.attempts())
    records = [entry.finished_record for entry in entries if entry.finished_record]
    if not records:
        raise RequestError(f"{store.path} has no cell of board {board.name!r}; run `bench run --board {name}` first.")
    _check_provenance(records)
    folder = leaderboards / board.name
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "board.toml").exists():  # a shipped or a private board, published elsewhere
        shutil.copyfile(board_file(name), folder / "board.toml")
    _write_records(folder, plan, records)
    _write_failed(folder, plan, entries, store)
    pictures = _draw_pictures(board, plan, folder)
    pages = {folder / "README.md": {board.name: _board_page(board, plan, folder)}}
    if readme.is_file() and begin_marker(board.name) in readme.read_text(encoding="utf-8"):
        pages[readme] = {board.name: _board_table(plan, folder)}
    pages |= _component_pages(readme, leaderboards, registry or load_plugins())
    for path, sections in pages.items():
        text = path.read_text(encoding="utf-8") if path.is_file() else placeholder(board.name)
        for marker, content in sections.items():
            text = splice(text, marker, content)
        write_text(path, text)
    return len(records), [*pages, *pictures]


def check_pages(leaderboards: Path, readme: Path, registry: Registry | None = None) -> list[Path]:
    """Check that the pages of all published boards, methods and tasks agree with code and records.

    Returns:
        The pages and pictures that were checked.

    Raises:
        RequestError: There is no published board.
        StoreError: A page differs from its records; shows how.
    """
    registry = registry or load_plugins()
    pages: dict[Path, dict[str, str]] = {}
    pictures: list[Path] = []
    readme_text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    for folder in _published_boards(leaderboards):
        board, plan = load_board(str(folder)), board_plan(str(folder), registry)
        check_pictures(board)
        pages[folder / "README.md"] = {board.name: _board_page(board, plan, folder)}
        if begin_marker(board.name) in readme_text:
            pages.setdefault(readme, {})[board.name] = _board_table(plan, folder)
        for path, picture in _pictures(board, folder).items():
            if fingerprint_in(path) != fingerprint(_published_entries(plan, folder), picture):
                raise StoreError(f"{path} does not show what its records say; `bench publish {board.name}` again.")
            pictures.append(path)
    if not pages:
        raise RequestError(f"{leaderboards} holds no published board; `bench publish BOARD` makes one.")
    pages |= _component_pages(readme, leaderboards, registry)
    stale = stale_pages(pages)
    if stale:
        first, difference = next(iter(stale.items()))
        if len(difference) > _LONGEST_DIFFERENCE:
            difference = f"{difference[:_LONGEST_DIFFERENCE]}..."
        raise StoreError(
            f"{', '.join(map(str, stale))} differ from their records; run `bench publish BOARD` again. "
            f"The first difference, in {first}: {difference}"
        )
    return sorted([*pages, *pictures])


def _check_provenance(records: Sequence[Record]) -> None:
    """Refuse records whose code cannot be found again; `publish_board` gives the rule."""
    without_commit = [record.key[:12] for record in records if _lacks_commit(record.provenance)]
    dirty = [record.key[:12] for record in records if record.provenance.dirty]
    if without_commit:
        raise RequestError(
            f"{len(without_commit)} records were made by a checkout without a commit ({_first(without_commit)}): "
            "commit the code, see that `git rev-parse HEAD` works in it, then run them again into a new store."
        )
    if dirty:
        raise RequestError(
            f"{len(dirty)} records were made by changed, uncommitted code ({_first(dirty)}): "
            "commit, then run them again into a new store."
        )


def _lacks_commit(provenance: Provenance) -> bool:
    """Return whether the task or its training ran from a checkout whose commit is unknown."""
    sources = [provenance, provenance.pretrain] if provenance.pretrain else [provenance]
    return any(source.commit is None and source.dirty is not None for source in sources)


def _first(keys: Sequence[str]) -> str:
    return ", ".join([*keys[:3], "..."])


def _write_records(folder: Path, plan: Plan, records: Iterable[Record]) -> None:
    """Write the board's records: those of the store, and those published before that are still in the plan."""
    planned = {cell.key for cell in plan.cells}
    by_key = {record.key: record for record in read_records(folder / "records") if record.key in planned}
    by_key |= {record.key: _portable(record) for record in records}
    with_pictures = _first_seeds(by_key.values())
    contents = {}
    for key, record in by_key.items():
        contents[key] = record.stored if key in with_pictures else without_never_averaged(record).stored
    _replace(folder / "records", contents)


def _write_failed(folder: Path, plan: Plan, entries: Sequence[Entry], store: Store) -> None:
    """Write the attempts of the board's cells that failed, without their logs."""
    failed = {cell.key for cell, entry in zip(plan.cells, entries, strict=True) if entry.state == "failed"}
    contents = {}
    for key, attempt in latest_attempts(store.attempts()).items():
        if key in failed:
            contents[key] = {field: attempt[field] for field in _ATTEMPT_FIELDS if field in attempt}
    _replace(folder / "failed", contents)


def _first_seeds(records: Iterable[Record]) -> set[str]:
    """Return the keys of the records that keep the curves and images of which a picture shows one seed alone."""
    first: dict[tuple[str, ...], str] = {}
    for record in sorted(records, key=lambda record: record.seed):
        if has_never_averaged(record):
            first.setdefault(record.axes, record.key)
    return set(first.values())


def _portable(record: Record) -> Record:
    """Return a record without the paths of this machine: its commands are as anybody would type them."""
    provenance: dict[str, Any] = dict(record.stored["provenance"])
    provenance["command"] = _typed_command(provenance.get("command"))
    if "pretrain" in provenance:
        pretrain = provenance["pretrain"]
        provenance["pretrain"] = {**pretrain, "command": _typed_command(pretrain.get("command"))}
    return record_from_json({**record.stored, "provenance": provenance})


def _typed_command(command: str | None) -> str | None:
    """Return `bench run ...` without --store and --data-root; a call from Python stays as it is."""
    words = shlex.split(command or "")
    if words[1:2] != ["run"]:
        return command
    typed = ["bench"]
    is_value = False  # of an option that is left out
    for word in words[1:]:
        if is_value:
            is_value = False
        elif word in ("--store", "--data-root"):
            is_value = True
        elif not word.startswith(("--store=", "--data-root=")):
            typed.append(word)
    return shlex.join(typed)


def _replace(folder: Path, contents: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a JSON file for each name, and delete the other JSON files of the folder."""
    for path in folder.glob("*.json"):
        if path.stem not in contents:
            path.unlink()
    for name, content in contents.items():
        write_over(folder / f"{name}.json", content)


def _published_boards(leaderboards: Path) -> list[Path]:
    """Return the folders of the boards that have records."""
    return sorted(path.parent for path in leaderboards.glob("*/records"))


def _published_entries(plan: Plan, folder: Path) -> list[Entry]:
    failed = [read_attempt(path) for path in sorted((folder / "failed").glob("*.json"))]
    return plan_entries(plan, read_records(folder / "records"), failed)


def _board_page(board: Board, plan: Plan, folder: Path) -> str:
    """Return the whole page of a board, between its markers."""
    entries = _published_entries(plan, folder)
    head = page(board.title, board.description, f"bench run --board {_typed_board(board, folder)}", build(entries))
    pictures = [f"![{escape.markdown(picture.title or name)}]({name}.svg)" for name, picture in board.pictures.items()]
    reported = render_reported(beside(entries, load_reported(shipped_numbers())), "md")
    return "\n\n".join(block.strip() for block in (head, *pictures, reported) if block.strip()) + "\n"


def _board_table(plan: Plan, folder: Path) -> str:
    """Return the table of a board alone, for the project's README."""
    return render(build(_published_entries(plan, folder)), "md")


def _typed_board(board: Board, folder: Path) -> str:
    """Return what to type after --board: the name of a shipped board, else the path of its file."""
    return board.name if board.name in board_names() else (folder / "board.toml").as_posix()


def _component_pages(readme: Path, leaderboards: Path, registry: Registry) -> dict[Path, dict[str, str]]:
    """Return page -> marker -> content for the pages of methods and tasks."""
    docs = readme.parent / "docs"
    methods, tasks = _pages(docs / "methods"), _pages(docs / "tasks")
    if not methods and not tasks:
        return {}
    boards = {}
    for folder in _published_boards(leaderboards):
        plan = board_plan(str(folder), registry)
        boards[folder.name] = plan, _published_entries(plan, folder)
    numbers = load_reported(shipped_numbers())
    pages = {path: method_sections(path.stem, boards, numbers, registry) for path in methods}
    return pages | {path: task_sections(path.stem, boards, registry) for path in tasks}


def _pages(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.md") if path.name != "README.md")


def _pictures(board: Board, folder: Path) -> dict[Path, Picture]:
    return {folder / f"{name}.svg": picture for name, picture in board.pictures.items()}


def _draw_pictures(board: Board, plan: Plan, folder: Path) -> list[Path]:
    """Draw the board's pictures that are missing or out of date; return all of them."""
    pictures = _pictures(board, folder)
    entries = _published_entries(plan, folder) if pictures else []
    for path, picture in pictures.items():
        if fingerprint_in(path) != fingerprint(entries, picture):
            draw(entries, picture, path)
    return list(pictures)
