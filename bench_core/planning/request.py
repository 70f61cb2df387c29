"""A request -> components under the names of its rows, with every parameter resolved.

What is said last wins: a plugin's defaults, its variant, the board's budget, the board's row, `--epochs` and
`--batch-size`, `--set`, and the values of a sweep, each of which makes a row of its own.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench_core.config import build, plain
from bench_core.contracts import Recipe, Variant
from bench_core.devices import find_device
from bench_core.errors import ConfigError, RequestError, UnknownNameError, shown
from bench_core.planning import boards
from bench_core.planning.boards import Board, Named, initial
from bench_core.plugins import Component, Registry

SECTIONS = {"datasets": "dataset", "encoders": "encoder", "methods": "objective", "tasks": "evaluator"}
PRECISIONS = ("auto", "fp32", "bf16")
ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks for; None means what the board says.

    Attributes:
        settings: "NAME.PARAM", "NAME.recipe.PARAM" or "NAME.init" -> value; NAME is a row or column of this request.
        sweeps: The same paths -> values, each of which makes a row of its own; of several, all combinations.
        device: Where it will run; decides what precision "auto" is, and nothing else that defines a number.
        data_root: Where data sets lie.
    """

    datasets: Sequence[str] | None = None
    encoders: Sequence[str] | None = None
    methods: Sequence[str] | None = None
    tasks: Sequence[str] | None = None
    seeds: Sequence[int] | None = None
    board: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    precision: str | None = None
    device: str = "auto"
    settings: Mapping[str, Any] = field(default_factory=dict)
    sweeps: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    data_root: Path


@dataclass(frozen=True)
class Part:
    """A component under the name it has in this plan, with every parameter resolved."""

    name: str
    component: Component
    config: Any

    def document(self) -> dict[str, Any]:
        """What of this part defines a result."""
        return {"id": self.component.id, "revision": self.component.cls.revision, "config": plain(self.config)}


@dataclass(frozen=True)
class Resolved:
    """All that a request comes to: parts by section; each method's recipe and initial encoder; precision and seeds.

    `sources` are the board's rows that are not asked for, but that others start from.
    """

    board: Board
    parts: Mapping[str, Sequence[Part]]
    sources: Sequence[Part]
    recipes: Mapping[str, Recipe]
    inits: Mapping[str, str]
    precision: str
    seeds: tuple[int, ...]


def resolve(request: Request, registry: Registry) -> Resolved:
    """Look up every name and fit every value.

    Raises:
        RequestError: A name, parameter or value that does not fit.
    """
    board = _board(request)
    asked = {section: _rows(section, request, board, registry) for section in SECTIONS}
    settings, sweeps = (_by_row(paths, asked) for paths in (request.settings, request.sweeps))
    rows: dict[str, list[Named]] = {section: [] for section in SECTIONS}
    for section, selected in asked.items():
        for row in selected:
            known = _with(row, section, _budget(request) if section == "methods" else {})
            known = _with(known, section, settings.get((section, row.name), {}))
            rows[section] += _swept(known, section, sweeps.get((section, row.name), {}))
    sources = _sources(rows["methods"], board, request)
    methods = [*rows["methods"], *sources]
    return Resolved(
        board,
        {section: [_part(row, section, registry) for row in rows[section]] for section in SECTIONS},
        [_part(row, "methods", registry) for row in sources],
        {row.name: _recipe(row, board, registry) for row in methods},
        {row.name: row.init for row in methods if row.init},
        _precision(request, board),
        _seeds(request, board),
    )


def _sources(rows: Sequence[Named], board: Board, request: Request) -> list[Named]:
    """Rows of the board that rows of the request start from without being among them, however far back."""
    found: dict[str, Named] = {}
    names = {row.name for row in rows}
    wanted = [row.init for row in rows]
    while wanted:
        name = wanted.pop()
        if name in board.methods and name not in names | found.keys():
            found[name] = _with(board.methods[name], "methods", _budget(request))
            wanted.append(found[name].init)
    return list(found.values())


def _precision(request: Request, board: Board) -> str:
    """`auto` is bf16 on CUDA and fp32 elsewhere: other numbers, so it is settled before keys are made."""
    precision = request.precision or board.precision
    if precision not in PRECISIONS:
        raise RequestError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}.")
    if precision == "auto":
        return "bf16" if find_device(request.device).type == "cuda" else "fp32"
    return precision


def _seeds(request: Request, board: Board) -> tuple[int, ...]:
    """One where no board is named and no seed either."""
    seeds: Any = (
        request.seeds if request.seeds is not None else (board.seeds if request.board is not None else ()) or (0,)
    )
    if isinstance(seeds, str) or not all(isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in seeds):
        raise RequestError(f"seeds must be whole numbers from 0, like [0, 1, 2], got {seeds!r}.")
    if not seeds:
        raise RequestError("seeds are empty; give at least one.")
    return tuple(dict.fromkeys(seeds))


def _board(request: Request) -> Board:
    """The board asked for; without one, the default board where its own data is meant, else plain defaults."""
    if request.board is not None:
        return boards.load_board(request.board)
    default = boards.load_board(boards.DEFAULT)
    others = set(request.datasets or ()) - set(default.datasets)
    if not others:
        return default
    if len(others) < len(set(request.datasets or ())):
        raise RequestError(
            f"{', '.join(default.datasets)} has a board of its own, which fixes its recipes; ask for it apart from "
            f"{', '.join(sorted(others))}, or say which recipes hold for all with --board FILE."
        )
    tasks = dict.fromkeys(row.use for row in default.tasks.values())
    return Board(encoders=default.encoders, tasks={name: Named(name, name) for name in tasks})


def _rows(section: str, request: Request, board: Board, registry: Registry) -> list[Named]:
    """The rows of a section that the request selects: the board's by their names, others with their defaults."""
    known: Mapping[str, Named] = getattr(board, section)
    asked: Sequence[str] | None = getattr(request, section)
    if asked is None:
        if section == "methods" and request.board is None:
            names = ", ".join(c.name for c in registry.of_kind("objective"))
            raise RequestError(f"say which methods: --methods nac,sela or --methods all. Known: {names}.")
        if not known:
            raise RequestError(f"board {board.name!r} has no [{section}]; add it, or say --{section}.")
        return list(known.values())
    if isinstance(asked, str) or not all(isinstance(name, str) for name in asked):
        raise RequestError(f"{section} must be names, like ['nac', 'sela'], got {asked!r}.")
    if list(asked) == [ALL]:
        names_of_kind = [c.name for c in registry.of_kind(SECTIONS[section])]
        rows = list(known.values())
        return rows if request.board is not None else rows + [Named(n, n) for n in names_of_kind if n not in known]
    rows = []
    for name in dict.fromkeys(asked):
        rows.append(known.get(name) or _row_of_component(section, name, known, registry))
    if not rows:
        raise RequestError(f"--{section} is empty; name at least one.")
    return rows


def _row_of_component(section: str, name: str, known: Mapping[str, Named], registry: Registry) -> Named:
    """A row for a component that the board does not name; the full id of one that it does name is that row."""
    kind = SECTIONS[section]
    try:
        component, variant = find(kind, name, registry)
    except UnknownNameError as error:
        if ":" in name and error.name != name.partition(":")[0]:
            raise  # the method is known, its variant is not
        raise UnknownNameError(section.removesuffix("s"), name, {*error.known, *known}, "See `bench list`.") from None
    row = known.get(component.name)
    if row and variant is None and registry.get(kind, row.use.partition(":")[0]) == component:
        return row
    return Named(name, name)


def find(kind: str, use: str, registry: Registry) -> tuple[Component, Variant | None]:
    """The component that `NAME` or `NAME:VARIANT` means, and the variant.

    Raises:
        UnknownNameError: No such component, or no such variant of it.
    """
    name, colon, wanted = use.partition(":")
    component = registry.get(kind, name)
    if not colon:
        return component, None
    variants: Mapping[str, Variant] = getattr(component.cls, "variants", {})
    if wanted not in variants:
        raise UnknownNameError(f"variant of {name}", wanted, variants, f"See `bench show {name}`.")
    return component, variants[wanted]


def _by_row(settings: Mapping[str, Any], rows: Mapping[str, Sequence[Named]]) -> dict[tuple[str, str], dict[str, Any]]:
    """(section, name) -> {param: value}; a name that stands in two sections needs its section in front."""
    sorted_settings: dict[tuple[str, str], dict[str, Any]] = {}
    if not isinstance(settings, Mapping):
        raise ConfigError(f"settings must map NAME.PARAM to a value, got {settings!r}")
    for path, value in settings.items():
        first, _, rest = path.partition(".")
        sections = list(SECTIONS)
        if first in SECTIONS and "." in rest:
            sections = [first]
            first, _, rest = rest.partition(".")
        owners = [s for s in sections if any(row.name == first for row in rows[s])]
        if not owners:
            names = {row.name for section in sections for row in rows[section]}
            raise UnknownNameError("dataset, encoder, method or task in this request", first, names)
        if len(owners) > 1:
            options = " or ".join(f"{section}.{path}" for section in owners)
            raise ConfigError(f"--set {path}: {first!r} is the name of {' and '.join(owners)}; write {options}.")
        sorted_settings.setdefault((owners[0], first), {})[rest] = value
    return sorted_settings


def _budget(request: Request) -> dict[str, int]:
    asked = {"recipe.epochs": request.epochs, "recipe.batch_size": request.batch_size}
    return {path: value for path, value in asked.items() if value is not None}


def _with(row: Named, section: str, settings: Mapping[str, Any]) -> Named:
    """The row with these values over its own."""
    values, recipe, init = dict(row.values), dict(row.recipe), row.init
    for path, value in settings.items():
        if section == "methods" and path.startswith("recipe."):
            recipe[path.removeprefix("recipe.")] = value
        elif section == "methods" and path == "init":  # of every method's row, not of its Config
            init = initial(value, f"{row.name}.{path}")
        else:
            values[path] = value
    return replace(row, values=values, recipe=recipe, init=init)


def _swept(row: Named, section: str, sweep: Mapping[str, Any]) -> list[Named]:
    """A row for each combination of a sweep's values, `NAME (PARAM=VALUE)`; the row itself without a sweep."""
    for path, values in sweep.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise ConfigError(f"a sweep of {row.name}.{path} needs a list of values, got {shown(values)}")
        if any(value in values[:place] for place, value in enumerate(values)):
            raise ConfigError(f"a sweep of {row.name}.{path} has a value twice: {shown(values)}")
    combinations = [dict(zip(sweep, values, strict=True)) for values in itertools.product(*sweep.values())]
    return [replace(_with(row, section, chosen), name=_swept_name(row.name, chosen)) for chosen in combinations]


def _swept_name(name: str, chosen: Mapping[str, Any]) -> str:
    shown = [f"{path}={value if isinstance(value, str) else json.dumps(value)}" for path, value in chosen.items()]
    return f"{name} ({', '.join(shown)})" if shown else name


def _part(row: Named, section: str, registry: Registry) -> Part:
    component, variant = find(SECTIONS[section], row.use, registry)
    values = {**(variant.config if variant else {}), **row.values}
    return Part(row.name, component, build(component.cls.Config, values, row.name))


def _recipe(row: Named, board: Board, registry: Registry) -> Recipe:
    """The method's own or its variant's, then the board's budget, then what this row says.

    A method whose own recipe has no epochs is not trained, and no budget makes it so.
    """
    component, variant = find("objective", row.use, registry)
    default: Recipe = component.cls.recipe
    asked = {**(variant.recipe if variant else {}), **board.recipe, **row.recipe}
    recipe = build(Recipe, asked, f"{row.name}.recipe", base=default)
    return default if default.epochs == 0 else recipe
