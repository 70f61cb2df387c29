"""All pictures that the records of a store can fill, for `bench plot`."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench_core.errors import RequestError
from bench_core.planning.boards import Board, Picture
from bench_core.reports.pictures.draw import draw
from bench_core.reports.pictures.kinds import KINDS, check_pictures, get_kind
from bench_core.reports.pictures.model import PlotRequest
from bench_core.reports.tables.entries import Entry, with_distinct_names
from bench_core.reports.tables.folds import in_one_entry
from bench_core.store import Store


@dataclass(frozen=True)
class PlotResult:
    """The files that were drawn, and the reason for each picture that was not drawn or lacks rows."""

    drawn: tuple[Path, ...]
    left_out: tuple[str, ...]


def plot_all(entries: Sequence[Entry], store: Store, board: Board, request: PlotRequest, folder: Path) -> PlotResult:
    """Draw all pictures of a request that can be drawn; each pair of dataset and encoder has its own files.

    Args:
        entries: Cells of the store, or of a board.
        store: The store; its chains are read for the kinds similarity, filters and training, and for no other.
        board: A board whose pictures are drawn, too.
        request: The options of `bench plot`.
        folder: Folder of the files.

    Raises:
        RequestError: The kind does not exist, or nothing could be drawn; says why.
    """
    if request.kind:
        get_kind(request.kind)
    check_pictures(board)
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in with_distinct_names(in_one_entry(list(entries))):
        groups.setdefault((entry.names["dataset"], entry.names["encoder"]), []).append(entry)
    drawn: list[Path] = []
    left_out: list[str] = []
    for picture in _pictures((), board, request, of_board=True):
        path = folder / f"{file_name(f'{board.name}_{picture.name}')}.svg"
        draw((), picture, path, board=board)
        drawn.append(path)
    for (dataset, encoder), group in groups.items():
        if all(entry.state == "skipped" for entry in group):
            reasons = dict.fromkeys(entry.reason for entry in group)
            left_out.append(f"{dataset}, {encoder}: skipped, {'; '.join(reasons)}")
            continue
        for picture in _pictures(group, board, request, of_board=False):
            name = f"{dataset}_{encoder}_{picture.name}"
            path = _free_path(folder / f"{file_name(name)}.svg", drawn)
            where = f"{dataset}, {encoder}, {picture.name}"
            try:
                notes = draw(group, picture, path, store)
            except RequestError as error:
                left_out.append(f"{where}: {error}")
            else:
                drawn.append(path)
                left_out += [f"{where}: {note}" for note in notes]
    if not drawn:
        raise RequestError("; ".join(left_out) or _nothing_to_draw(store, request))
    return PlotResult(tuple(drawn), tuple(left_out))


def _pictures(entries: Sequence[Entry], board: Board, request: PlotRequest, *, of_board: bool) -> Iterator[Picture]:
    """Yield the trade-off of the request, if it names scores; else the board's pictures, then those of each kind.

    Args:
        entries: Cells of one dataset and encoder.
        board: The board.
        request: The options of `bench plot`.
        of_board: Yield only pictures of kinds that show the board; else only those of the others.
    """
    if request.x:
        if not of_board:
            yield from KINDS["tradeoff"].possible_pictures(entries, request)
        return
    for picture in board.pictures.values():
        if request.kind in ("", picture.kind) and get_kind(picture.kind).of_board == of_board:
            yield replace(picture, methods=request.methods or picture.methods)
    for kind in KINDS.values():
        if request.kind in ("", kind.name) and kind.of_board == of_board:
            yield from kind.for_board(board).possible_pictures(entries, request)


def _nothing_to_draw(store: Store, request: PlotRequest) -> str:
    if request.kind:
        return get_kind(request.kind).nothing_to_draw(store.path)
    return (
        f"no record in {store.path} holds a curve or an image; tasks such as projection, hashing and distribution "
        "leave some: `bench run --tasks projection`."
    )


def file_name(name: str) -> str:
    """Return a file's name that stays in its folder, whatever the names in a record are."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_")[:200]


def _free_path(path: Path, taken: Sequence[Path]) -> Path:
    """Return the path, with a number where an earlier picture has the same file name."""
    if path not in taken:
        return path
    numbered = (path.with_stem(f"{path.stem}_{number}") for number in itertools.count(2))
    return next(candidate for candidate in numbered if candidate not in taken)
