"""Boards: rows and columns with everything that is held fixed so that rows compare, read from a board.toml.

base = "mnist"               # sections that this file does not have are that board's, whole sections at a time
only = ["random", "nac"]     # keeps these rows of the methods
title = "Handwritten digits, 8x8"
description = "..."
seeds = [0, 1, 2, 3, 4]
precision = "fp32"
tuned = "tuned.toml"         # rows get the values that `bench tune` found; see bench_core.planning.tuning
front = ["linear", "knn"]    # columns of the table in the project's README; all are on the board's page
validation = 0.2             # scores on a part of train, which is not trained on; the test split stays closed

[recipe]                     # the budget that every method gets
epochs = 200

[datasets.digits]
[encoders.convnet]
[methods.nac]                # a row; its name is the method's, unless `use` names the method
flip = 0.2
recipe.learning_rate = 3e-3
[methods.nac_without_noise]
use = "nac"                  # or a variant, "nac:hashing"
noise = false
[methods.vae_from_nac]
use = "vae"
init = "nac"                 # starts from the encoder that the row nac has trained
[methods.student]
use = "mimkd"
encoder.widths = [16, 32]    # an encoder of its own: the board's with other parameters, or encoder.use = "mlp"
teacher = "supervised"       # learns from the row supervised
[tasks.linear]               # a column
[pictures.cost]              # drawn by `bench publish`; see bench_core.reports.pictures
x = "linear:top1"
y = "retrieval:map_cosine"
[pictures.plane]
kind = "projection"
[tuning]                     # how `bench tune` tunes the rows
epochs = 20
metrics.features = "knn:top1"
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench_core.config import build, param
from bench_core.errors import RequestError, UnknownNameError, one_line, shown
from bench_core.planning.board_documents import read_over_base, table_of
from bench_core.planning.board_files import board_file, tuned_file
from bench_core.planning.tuning import Tuned, TunedRow, Tuning, read_tuned, read_tuning

DEFAULT = "digits"
_KEYS = {
    "title", "description", "seeds", "precision", "validation", "recipe", "datasets", "encoders", "methods", "tasks",
    "pictures", "tuning", "tuned", "front",
}  # fmt: skip
STARTS = ("init", "teacher")  # keys of a method's row beside its parameters and recipe, that name what it needs
INIT_OPTIONS = {"init_part": str, "init_partial": bool}  # keys beside `init` that say what of a file is loaded
OWN_ENCODERS = ("encoder", "teacher_encoder")  # keys of a method's row that are encoders
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class OwnEncoder:
    """The encoder that a row has in place of the board's.

    Attributes:
        use: The encoder's name or id, or a row of the board's encoders; "" is the board's encoder.
        values: Parameter -> value, in place of the encoder's own.
    """

    use: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Return True if it differs from the board's encoder."""
        return bool(self.use or self.values)


@dataclass(frozen=True)
class NamedComponent:
    """One row or column of a board: a component under a name, with the parameters that differ from its defaults.

    Attributes:
        name: The name in tables.
        use: The component's name or id; for a method also with a variant, "nac:hashing".
        values: Parameter -> value.
        recipe: For a method, parameter of the training recipe -> value.
        init: For a method, what its encoder starts from: a row, a chain's folder or a file; "" initialises it from the
            seed. See `bench_core.planning.initial_weights`.
        init_part: For a method that starts from a file, which part of it is loaded, such as "teacher"; "" leaves the
            choice to the names in the file.
        init_partial: For a method that starts from a file, whether what fits is loaded where the rest does not.
        encoder: For a method, the encoder that it has in place of the board's.
        teacher: For a method, the trained method that it learns from: a row, a chain's folder or a file; "" is none.
            See `bench_core.planning.teachers`.
        teacher_encoder: For a method, the encoder of a teacher that is a file.
    """

    name: str
    use: str
    values: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    init: str = ""
    init_part: str = ""
    init_partial: bool = False
    encoder: OwnEncoder = OwnEncoder()
    teacher: str = ""
    teacher_encoder: OwnEncoder = OwnEncoder()

    @property
    def starts(self) -> dict[str, Any]:
        """Values beside a row's parameters and recipe: {"init": "nac", "encoder.widths": [16, 32]}."""
        starts = {name: getattr(self, name) for name in (*STARTS, *INIT_OPTIONS) if getattr(self, name)}
        for name in OWN_ENCODERS:
            own: OwnEncoder = getattr(self, name)
            starts |= {name: own.use} if own.use else {}
            starts |= {f"{name}.{param}": value for param, value in own.values.items()}
        return starts


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture beside a board's page: its kind and options.

    Reports know the kinds and check the options against them, see `bench_core.reports.pictures.kinds.check_pictures`.
    A picture's fingerprint leaves out parameters that are `added` and have their default, so that older pictures
    keep theirs.
    """

    name: str
    x: str = param("", "TASK:METRIC on the x axis of a trade-off", "ours")
    y: str = param("", "TASK:METRIC on the y axis of a trade-off", "ours")
    title: str = param("", "title of the picture, and its text on the page", "ours")
    x_label: str = param("", "label of the x axis; by default the name of the score or curve", "ours")
    y_label: str = param("", "label of the y axis; by default the name of the score or curve", "ours")
    connect: bool = param(False, "draw a line through the points of a trade-off, in the board's order", "ours")
    kind: str = param("tradeoff", "kind of the picture; `bench plot --help` lists the kinds", "ours", added=True)
    task: str = param("", "task whose curves are drawn; needed where several tasks have some", "ours", added=True)
    curve: str = param("", "name of the only curve to draw; by default all of the kind", "ours", added=True)
    methods: tuple[str, ...] = param((), "rows to draw; by default all", "ours", added=True)


@dataclass(frozen=True)
class Board:
    """The content of a board.toml.

    Attributes:
        name: The name of its folder, or of its file without the ending.
        title: The heading of its page.
        description: Markdown below the heading.
        seeds: Seeds of the trainings.
        precision: "auto", "fp32" or "bf16".
        recipe: The budget of every method: parameter of the training recipe -> value.
        datasets: Name -> dataset.
        encoders: Name -> encoder; each pair of dataset and encoder has its own table.
        methods: Name -> method, the rows of the tables.
        tasks: Name -> task, the columns.
        pictures: Name -> picture.
        front: Columns of the board's table in a README, as `bench table --columns` names them; empty for all.
        validation: Part of the train split that is held out and scored on in place of the test split; 0 is none.
        tuning: How its rows are tuned.
        tuned: What came out of tuning, with which its rows have their values; None where they were not tuned.
        written: The board whose rows were tuned, as its file writes it: this one, or its base with all rows; None where
            nothing was tuned.
    """

    name: str = ""
    title: str = ""
    description: str = ""
    seeds: tuple[int, ...] = ()
    precision: str = "auto"
    recipe: Mapping[str, Any] = field(default_factory=dict)
    datasets: Mapping[str, NamedComponent] = field(default_factory=dict)
    encoders: Mapping[str, NamedComponent] = field(default_factory=dict)
    methods: Mapping[str, NamedComponent] = field(default_factory=dict)
    tasks: Mapping[str, NamedComponent] = field(default_factory=dict)
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    front: tuple[str, ...] = ()
    validation: float = 0.0
    tuning: Tuning = field(default_factory=Tuning)
    tuned: Tuned | None = None
    written: "Board | None" = None

    def tuned_row(self, name: str) -> TunedRow | None:
        """Return what tuning found for one of the rows; None where it was not tuned."""
        return self.tuned.rows.get(name) if self.tuned and name in self.methods else None


def load_board(file_or_name: str, *, tuned: bool = True) -> Board:
    """Read a board by the name of a shipped one, or from a file.

    Args:
        file_or_name: The name or the file.
        tuned: Whether its rows get the values of its tuned.toml; without them they are as the board writes them.

    Raises:
        UnknownNameError: There is neither such a file nor such a shipped board.
        RequestError: The file is not TOML, or has a key that boards do not have.
    """
    path = board_file(file_or_name)
    name = path.resolve().parent.name if path.name == "board.toml" else path.stem
    document, owner = read_over_base(path)
    file = document.pop("tuned", None)
    board = read_board(document, name, str(path))
    if file is None or not tuned:
        return board
    written = board if owner == path else load_board(str(owner), tuned=False)
    return with_tuned(board, read_tuned(tuned_file(owner, file)), written)


def load_with_trials(file_or_name: str) -> Board:
    """Read a board with its tuned.toml, also where that lies in its folder and the board does not name it yet.

    Raises:
        UnknownNameError: There is neither such a file nor such a shipped board.
        RequestError: The board or its tuned.toml cannot be read.
    """
    board, path = load_board(file_or_name), board_file(file_or_name)
    beside = path.with_name("tuned.toml")
    found = board.tuned is None and path.name == "board.toml" and beside.is_file()
    return with_tuned(board, read_tuned(beside)) if found else board


def files_of_board(file_or_name: str) -> dict[str, Path]:
    """Return the files of a board by their names in its folder: its board.toml, and a tuned.toml of its own.

    Raises:
        UnknownNameError: There is neither such a file nor such a shipped board.
        RequestError: The board cannot be read, or its tuned.toml is missing; says how to make it.
    """
    path = board_file(file_or_name)
    document, owner = read_over_base(path)
    tuned = document.get("tuned") if owner == path else None
    return {"board.toml": path, **({} if tuned is None else {tuned: tuned_file(path, tuned)})}


def with_tuned(board: Board, tuned: Tuned, written: Board | None = None) -> Board:
    """Return a board whose rows have the values that were found for them, over their own.

    Args:
        board: The board, without tuned values.
        tuned: The values.
        written: The board for whose rows they were found, likewise, such as its base; None is the same one.
    """
    methods = {}
    for name, row in board.methods.items():
        found = tuned.rows[name].values if name in tuned.rows else {}
        recipe = {key.removeprefix("recipe."): value for key, value in found.items() if key.startswith("recipe.")}
        values = {key: value for key, value in found.items() if not key.startswith("recipe.")}
        methods[name] = replace(row, values={**row.values, **values}, recipe={**row.recipe, **recipe})
    return replace(board, methods=methods, tuned=tuned, written=written or board)


def read_board(document: Mapping[str, Any], name: str, where: str) -> Board:
    """Build a board from its parsed TOML document; `where` is the file that messages name.

    Raises:
        RequestError: A key does not exist, or a value does not fit.
    """
    unknown = sorted(set(document) - _KEYS)
    if unknown:
        known = ", ".join(sorted(_KEYS | {"base", "only"}))
        raise RequestError(f"{where}: {', '.join(map(one_line, unknown))} unknown; a board has {known}.")
    for key in ("title", "description", "precision"):
        if not isinstance(document.get(key, ""), str):
            raise RequestError(f"{where}: {key} must be text, got {shown(document[key])}.")
    seeds = document.get("seeds", [])
    if not isinstance(seeds, list) or not all(isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in seeds):
        raise RequestError(f"{where}: seeds must be a list of whole numbers >= 0, got {shown(seeds)}.")
    front = document.get("front", [])
    if not isinstance(front, list) or not all(isinstance(column, str) for column in front):
        raise RequestError(f"{where}: front must be a list of columns, like ['linear', 'knn'], got {shown(front)}.")
    validation = document.get("validation", 0.0)
    if isinstance(validation, bool) or not isinstance(validation, int | float) or not 0 <= validation < 1:
        raise RequestError(f"{where}: validation must be a part of train, from 0 to below 1, got {shown(validation)}.")
    return Board(
        name=name,
        title=document.get("title", name),
        description=document.get("description", ""),
        seeds=tuple(seeds),
        precision=document.get("precision", "auto"),
        recipe=table_of(document.get("recipe", {}), f"{where}: recipe"),
        datasets=_section(document, "datasets", where),
        encoders=_section(document, "encoders", where),
        methods=_section(document, "methods", where),
        tasks=_section(document, "tasks", where),
        pictures=_pictures(document.get("pictures", {}), list(document.get("methods", {})), f"{where}: pictures"),
        front=tuple(front),
        validation=float(validation),
        tuning=read_tuning(table_of(document.get("tuning", {}), f"{where}: tuning"), f"{where}: tuning"),
    )


def _section(document: Mapping[str, Any], section: str, where: str) -> dict[str, NamedComponent]:
    """Return the rows or columns of a section; `recipe`, `init`, `encoder` and the like are keys of methods only."""
    components: dict[str, NamedComponent] = {}
    for name, table in table_of(document.get(section, {}), f"{where}: {section}").items():
        if not _NAME.fullmatch(name):
            raise RequestError(f"{where}: {section}.{shown(name)} must be letters, digits, '_' and '-'.")
        key = f"{where}: {section}.{name}"
        values = dict(table_of(table, key))
        use = values.pop("use", name)
        if not isinstance(use, str):
            raise RequestError(f"{key}.use must be the name of a component, got {shown(use)}.")
        of_method: dict[str, Any] = {}
        if section == "methods":
            of_method = {
                "recipe": table_of(values.pop("recipe", {}), f"{key}.recipe"),
                **{start: check_start(values.pop(start, "none"), f"{key}.{start}") for start in STARTS},
                **{
                    option: check_init_option(option, values.pop(option), f"{key}.{option}")
                    for option in INIT_OPTIONS
                    if option in values
                },
                **{own: _own_encoder(values.pop(own, {}), f"{key}.{own}") for own in OWN_ENCODERS},
            }
        components[name] = NamedComponent(name, use, values, **of_method)
    return components


def _own_encoder(value: Any, where: str) -> OwnEncoder:
    """Read `encoder = "mlp"`, or a table of parameters with or without `use`."""
    if isinstance(value, str):
        return OwnEncoder("" if value == "none" else value)
    values = dict(table_of(value, where))
    use = values.pop("use", "")
    if not isinstance(use, str):
        raise RequestError(f"{where}.use must be the name of an encoder, got {shown(use)}.")
    return OwnEncoder(use, values)


def check_start(value: Any, where: str) -> str:
    """Check that a value of `init` or `teacher` is text; return it, or "" for `none`.

    Raises:
        RequestError: It is no text, or empty; `where` is the parameter that the message names.
    """
    if not isinstance(value, str) or not value:
        raise RequestError(
            f"{where} must be a row's name, a chain's folder, a file of weights or 'none', got {shown(value)}."
        )
    return "" if value == "none" else value


def check_init_option(option: str, value: Any, where: str) -> str | bool:
    """Check a value of `init_part` or `init_partial`; return it, with "" for an `init_part` of `none`.

    Raises:
        RequestError: It has another type, or is empty; `where` is the parameter that the message names.
    """
    if not isinstance(value, str | bool) or not isinstance(value, INIT_OPTIONS[option]) or value == "":
        right = "true or false" if option == "init_partial" else "words before the names in the file, or 'none'"
        raise RequestError(f"{where} must be {right}, got {shown(value)}.")
    return "" if value == "none" else value


def _pictures(value: Any, rows: Sequence[str], where: str) -> dict[str, Picture]:
    """Return the pictures by name; their kinds are checked where the kinds are known."""
    pictures = {}
    for name, table in table_of(value, where).items():
        if not _NAME.fullmatch(name):
            raise RequestError(f"{where}.{shown(name)} must be letters, digits, '_' and '-'.")
        values = {**table_of(table, f"{where}.{name}"), "name": name}
        picture = build(Picture, values, f"{where}.{name}")
        for row in picture.methods:
            if row not in rows:
                raise UnknownNameError("row", row, rows, f"({where}.{name})")
        pictures[name] = picture
    return pictures
