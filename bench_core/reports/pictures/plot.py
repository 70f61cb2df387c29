"""All pictures that the records of a store can fill, for `bench plot`."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench_core.errors import RequestError, UnknownNameError
from bench_core.planning.boards import Board, Picture
from bench_core.reports.pictures.draw import draw
from bench_core.reports.pictures.kinds import KINDS
from bench_core.reports.tables.entries import Entry, distinct
from bench_core.store import Store

ALL = ("tradeoff", *KINDS, "similarity")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What `bench plot` was asked for.

    Attributes:
        kind: "" for all that records hold.
        methods: Rows; all where it is empty.
        x: TASK:METRIC, of a trade-off.
        y: As `x`.
    """

    kind: str = ""
    methods: tuple[str, ...] = ()
    x: str = ""
    y: str = ""

    def __post_init__(self) -> None:
        """Check that there is such a kind and the options fit together."""
        if self.kind not in ("", *ALL):
            raise UnknownNameError("kind of picture", self.kind, ALL)
        if (self.x or self.y) and self.kind not in ("", "tradeoff"):
            raise RequestError(f"--x and --y are of the kind tradeoff, not of {self.kind}.")
        if bool(self.x) != bool(self.y):
            raise RequestError("a trade-off needs both --x TASK:METRIC and --y TASK:METRIC.")


@dataclass(frozen=True)
class Outcome:
    """What was drawn, and what was not or only in part, with the reason."""

    drawn: tuple[Path, ...]
    left_out: tuple[str, ...]


def plot_all(entries: Sequence[Entry], store: Store, board: Board, wanted: Wanted, out: Path) -> Outcome:
    """Draw all that is wanted and there: for each data set and encoder its own files.

    Args:
        entries: Of the store's cells, or of a board's.
        store: Its embeddings are read for the kind similarity, and for no other.
        board: Its pictures are drawn, too.
        wanted: What was asked for.
        out: Folder of the files.

    Raises:
        RequestError: Nothing could be drawn; says why.
    """
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in distinct(list(entries)):
        groups.setdefault((entry.names["dataset"], entry.names["encoder"]), []).append(entry)
    drawn, left_out = list[Path](), list[str]()
    for where, group in groups.items():
        prefix = "_".join(where)
        for picture in _pictures(group, board, wanted):
            path = _free(out / f"{_file(f'{prefix}_{picture.name}')}.svg", drawn)
            try:
                draw(group, picture, path)
                drawn.append(path)
            except RequestError as error:
                left_out.append(f"{prefix}, {picture.name}: {error}")
        if wanted.kind == "similarity":
            path = _free(out / f"{_file(prefix)}_similarity.svg", drawn)
            try:
                left_out += _similarity(group, store, ", ".join(where), wanted, path)
                drawn.append(path)
            except RequestError as error:
                left_out.append(f"{prefix}, similarity: {error}")
    if not drawn:
        raise RequestError("; ".join(left_out) or _nothing(store, wanted))
    return Outcome(tuple(drawn), tuple(left_out))


def _pictures(entries: Sequence[Entry], board: Board, wanted: Wanted) -> Iterator[Picture]:
    """The trade-off that is asked for, or a board's pictures and one of each kind, task and name."""
    if wanted.x:
        yield Picture(name=f"tradeoff_{wanted.x}_{wanted.y}", x=wanted.x, y=wanted.y, methods=wanted.methods)
        return
    for picture in board.pictures.values():
        if wanted.kind in ("", picture.kind):
            yield replace(picture, methods=wanted.methods or picture.methods)
    for kind, how in KINDS.items():
        if wanted.kind not in ("", kind):
            continue
        held: dict[tuple[str, str], None] = {}
        for entry in entries:
            if entry.state == "done" and entry.record is not None:
                for name in how.read(entry.record):
                    held[entry.names["task"], name if how.apart else ""] = None
        for task, curve in held:
            name = "_".join(dict.fromkeys((task, curve or kind)))
            yield Picture(name=name, kind=kind, task=task, curve=curve, methods=wanted.methods)  # type: ignore[arg-type]  # a key of KINDS


def _similarity(entries: Sequence[Entry], store: Store, title: str, wanted: Wanted, path: Path) -> list[str]:
    """Draw the heat map; says which rows it lacks."""
    from bench_core.reports.pictures.similarity import compare, draw_similarity  # reads tensors, the others do not

    shown = [entry for entry in entries if not wanted.methods or entry.names["method"] in wanted.methods]
    found = compare(shown, store)
    draw_similarity(found, title, path)
    return [f"{title}, similarity: no embeddings here of {', '.join(found.gone)}"] if found.gone else []


def _nothing(store: Store, wanted: Wanted) -> str:
    if wanted.kind in KINDS:
        kind = KINDS[wanted.kind]
        return f"no record in {store.path} holds {kind.what}; {kind.hint}."
    if wanted.kind == "tradeoff":
        return "a trade-off needs --x TASK:METRIC and --y TASK:METRIC, or a board that asks for one (--board)."
    return (
        f"no record in {store.path} holds a curve or an image; tasks such as projection, retrieval and distribution "
        "leave some: `bench run --tasks projection`."
    )


def _file(name: str) -> str:
    """A file's name that stays in its folder, whatever the names in a record are."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_")[:200]


def _free(path: Path, taken: Sequence[Path]) -> Path:
    """The path, with a number where two names come to the same file."""
    numbered = (path.with_stem(f"{path.stem}_{n}") for n in itertools.count(2))
    return path if path not in taken else next(other for other in numbered if other not in taken)
