"""Boards: what is held fixed so that rows compare, read from a board.toml.

base = "mnist"               # what this file does not say is that board's, whole sections at a time
only = ["random", "nac"]     # of the methods, these rows
title = "Handwritten digits, 8x8"
description = "..."
seeds = [0, 1, 2, 3, 4]
precision = "fp32"

[recipe]                     # the budget that every method gets
epochs = 200

[datasets.digits]
[encoders.convnet]
[methods.nac]                # a row; its name is the method's, or `use` says which
flip = 0.2
recipe.learning_rate = 3e-3
[methods.nac_without_noise]
use = "nac"                  # or a variant, "nac:hashing"
noise = false
[methods.vae_from_nac]
use = "vae"
init = "nac"                 # starts from the encoder of that row's chain
[tasks.linear]               # a column
[pictures.cost]              # drawn by `bench publish`; see bench_core.pictures
x = "linear:top1"
y = "retrieval:map_hamming"
[pictures.plane]
kind = "projection"
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench_core.config import build, param, read_toml
from bench_core.errors import RequestError, UnknownNameError, one_line, shown
from bench_core.files import checkout, shipped_files

DEFAULT = "digits"
_KEYS = {
    "title", "description", "seeds", "precision", "recipe", "datasets", "encoders", "methods", "tasks", "pictures",
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Named:
    """One row or column of a board: a component under a name, with the values that differ from its defaults.

    Attributes:
        use: The component's name or id, of a method also with a variant.
        init: Of a method: where its encoder starts from, "" for a fresh one; see `bench_core.planning.initial_weights`.
    """

    name: str
    use: str
    values: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    init: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What is drawn beside a board's page; see `bench_core.reports.pictures`.

    What is `added` leaves the fingerprints of older pictures as they were.
    """

    name: str
    x: str = param("", "TASK:METRIC of a trade-off", "ours")
    y: str = param("", "TASK:METRIC of a trade-off", "ours")
    title: str = param("", "above the picture; the page's text for it", "ours")
    x_label: str = param("", "instead of the score's or curve's name", "ours")
    y_label: str = param("", "instead of the score's or curve's name", "ours")
    connect: bool = param(False, "a line through the points of a trade-off, in the board's order", "ours")
    kind: Literal["tradeoff", "projection", "pr", "histogram", "layers", "lines", "samples"] = param(
        "tradeoff", "what is drawn", "ours", added=True
    )
    task: str = param("", "whose curves; may be left out where one task has some", "ours", added=True)
    curve: str = param("", "of this name alone", "ours", added=True)
    methods: tuple[str, ...] = param((), "rows that are shown; all where it is left out", "ours", added=True)

    def __post_init__(self) -> None:
        """Check what the kind needs."""
        if self.kind == "tradeoff" and not (self.x and self.y):
            raise ValueError("a trade-off needs x and y, each TASK:METRIC")
        if self.kind != "tradeoff" and (self.x or self.y or self.connect):
            raise ValueError(f"x, y and connect are of the kind tradeoff, not of {self.kind}")


@dataclass(frozen=True)
class Board:
    """What a board.toml says; the sections map names to components."""

    name: str = ""
    title: str = ""
    description: str = ""
    seeds: tuple[int, ...] = ()
    precision: str = "auto"
    recipe: Mapping[str, Any] = field(default_factory=dict)
    datasets: Mapping[str, Named] = field(default_factory=dict)
    encoders: Mapping[str, Named] = field(default_factory=dict)
    methods: Mapping[str, Named] = field(default_factory=dict)
    tasks: Mapping[str, Named] = field(default_factory=dict)
    pictures: Mapping[str, Picture] = field(default_factory=dict)


def board_names() -> list[str]:
    """The boards that are shipped."""
    return sorted(_shipped())


def load_board(file_or_name: str) -> Board:
    """Read a board by the name of a shipped one, or from a file.

    Raises:
        UnknownNameError: Neither a file nor a shipped board.
        RequestError: Not TOML, or a key that boards do not have.
    """
    path = board_file(file_or_name)
    name = path.resolve().parent.name if path.name == "board.toml" else path.stem
    return read_board(_document(path), name, str(path))


def _document(path: Path, above: Sequence[Path] = ()) -> dict[str, Any]:
    """What the file says, over what its base says; of the methods, the rows of `only`."""
    document = read_toml(path)
    base, only = document.pop("base", None), document.pop("only", None)
    if base is not None:
        if not isinstance(base, str):
            raise RequestError(f"{path}: base must be the name or the path of a board, got {shown(base)}.")
        if path in above:
            raise RequestError(f"{path}: bases go in a circle.")
        document = _document(board_file(base), (*above, path)) | document
    if only is not None:
        rows = _table(document.get("methods", {}), f"{path}: methods")
        if not isinstance(only, list) or not all(isinstance(name, str) for name in only):
            raise RequestError(f"{path}: only must be a list of rows, like ['random', 'nac'], got {shown(only)}.")
        if unknown := [name for name in only if name not in rows]:
            raise UnknownNameError("row", unknown[0], rows, f"{path}: only names rows of the board or of its base.")
        document["methods"] = {name: rows[name] for name in only}
    return document


def board_file(file_or_name: str) -> Path:
    """Where a board lies: a shipped one by name, or a file, or a folder with a board.toml."""
    shipped = _shipped()
    path = shipped.get(file_or_name, Path(file_or_name))
    try:
        if path.is_dir():
            path /= "board.toml"
        found = path.is_file()
    except (OSError, ValueError):  # too long for a path, or no path at all
        found = False
    if not found:
        raise UnknownNameError("board", file_or_name, shipped, "Or give the path of a board.toml.")
    return path


def read_board(document: Mapping[str, Any], name: str, where: str) -> Board:
    """A board from its parsed document; `where` is named in errors."""
    unknown = sorted(set(document) - _KEYS)
    if unknown:
        there = ", ".join(sorted(_KEYS | {"base", "only"}))
        raise RequestError(f"{where}: {', '.join(map(one_line, unknown))} unknown; a board has {there}.")
    for key in ("title", "description", "precision"):
        if not isinstance(document.get(key, ""), str):
            raise RequestError(f"{where}: {key} must be text, got {shown(document[key])}.")
    seeds = document.get("seeds", [])
    if not isinstance(seeds, list) or not all(isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in seeds):
        raise RequestError(f"{where}: seeds must be a list of whole numbers >= 0, got {shown(seeds)}.")
    return Board(
        name=name,
        title=document.get("title", name),
        description=document.get("description", ""),
        seeds=tuple(seeds),
        precision=document.get("precision", "auto"),
        recipe=_table(document.get("recipe", {}), f"{where}: recipe"),
        datasets=_section(document, "datasets", where),
        encoders=_section(document, "encoders", where),
        methods=_section(document, "methods", where),
        tasks=_section(document, "tasks", where),
        pictures=_pictures(document.get("pictures", {}), list(document.get("methods", {})), f"{where}: pictures"),
    )


def _section(document: Mapping[str, Any], key: str, where: str) -> dict[str, Named]:
    named: dict[str, Named] = {}
    for name, table in _table(document.get(key, {}), f"{where}: {key}").items():
        if not _NAME.fullmatch(name):
            raise RequestError(f"{where}: {key}.{shown(name)} must be letters, digits, '_' and '-'.")
        values = dict(_table(table, f"{where}: {key}.{name}"))
        use = values.pop("use", name)
        recipe = _table(values.pop("recipe", {}), f"{where}: {key}.{name}.recipe") if key == "methods" else {}
        if not isinstance(use, str):
            raise RequestError(f"{where}: {key}.{name}.use must be the name of a component, got {shown(use)}.")
        init = initial(values.pop("init", "none"), f"{where}: {key}.{name}.init") if key == "methods" else ""
        named[name] = Named(name, use, values, recipe, init)
    return named


def initial(value: Any, where: str) -> str:
    """What `init` says, "" for `none`."""
    if not isinstance(value, str) or not value:
        raise RequestError(
            f"{where} must be a row's name, a chain's folder, a safetensors file or 'none', got {shown(value)}."
        )
    return "" if value == "none" else value


def _pictures(value: Any, rows: Sequence[str], where: str) -> dict[str, Picture]:
    pictures = {}
    for name, table in _table(value, where).items():
        if not _NAME.fullmatch(name):
            raise RequestError(f"{where}.{shown(name)} must be letters, digits, '_' and '-'.")
        values = {**_table(table, f"{where}.{name}"), "name": name}
        if values.get("kind") == "similarity":
            raise RequestError(
                f"{where}.{name}: similarity reads embeddings, which are not published; draw it from a store with "
                "`bench plot --kind similarity`."
            )
        pictures[name] = build(Picture, values, f"{where}.{name}")
        for row in pictures[name].methods:
            if row not in rows:
                raise UnknownNameError("row", row, rows, f"({where}.{name})")
    return pictures


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RequestError(f"{where} must be a table, got {shown(value)}.")
    return value


def _shipped() -> dict[str, Path]:
    """The boards that come with the project: in a checkout under leaderboards/, in a wheel among its files."""
    if root := checkout():
        return {path.parent.name: path for path in (root / "leaderboards").glob("*/board.toml")}
    return {path.stem: path for path in shipped_files().glob("*.toml") if path.name != "published.toml"}
