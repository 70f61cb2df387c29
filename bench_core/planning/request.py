"""Resolve a request: every name to a component, and every parameter to a value.

A parameter can be set in several places. The last of these places wins:

1. the default of the plugin
2. the variant of a method: `nac:hashing`
3. the board's budget: its [recipe]
4. the board's row: [methods.nac]
5. the board's tuned.toml, which `bench tune` wrote: the values that it found for the row
6. `--epochs` and `--batch-size`
7. `--set nac.flip=0.2`
8. `--sweep nac.flip=0.1,0.2`, where each value makes a row of its own

Where 6 to 8 ask for fewer epochs than 1 to 5 give, what is counted in epochs gets shorter by the same ratio, such as
a warm-up, unless 7 or 8 set it.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench_core.contracts import Recipe
from bench_core.devices import find_device
from bench_core.errors import ConfigError, RequestError, UnknownNameError, shown
from bench_core.planning import boards
from bench_core.planning.boards import Board, NamedComponent
from bench_core.planning.components import ConfiguredComponent, configure, find_component, is_registered
from bench_core.planning.initial_weights import FromFile
from bench_core.planning.origins import RecipeOrigin
from bench_core.planning.recipes import RECIPE, AskedRow, parameter_types, training_of, with_values
from bench_core.planning.row_encoders import USUAL_ENCODERS, RowEncoders
from bench_core.planning.settings import read_typed
from bench_core.plugins import OF_SECTION, Registry

PRECISIONS = ("auto", "fp32", "bf16")
ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Request:
    """The rows, columns and parameters that a user chose. None takes the board's.

    These choices decide the numbers and are in the keys. How a plan is run is in `RunSetting`, and in no key.

    Attributes:
        datasets: Names of datasets; likewise for encoders, methods and tasks. "all" alone names all that there are.
        seeds: Seeds of the trainings.
        board: Name of a shipped board, or path of a board.toml; None is the default board.
        epochs: Epochs of every method that is trained; fewer than it had shorten its warm-up by the same ratio.
        batch_size: Batch size of every method.
        precision: "auto", "fp32" or "bf16".
        device: The device of the run. It decides the precision where that is "auto", and nothing else in a key.
        settings: Parameter -> value, plain or as it was typed (`bench_core.planning.settings.Typed`). A parameter is
            "NAME.PARAM" where NAME is a row or column of this request; for a method also "NAME.recipe.PARAM",
            "NAME.init", "NAME.init_part", "NAME.init_partial", "NAME.encoder", "NAME.encoder.PARAM", "NAME.teacher"
            and "NAME.teacher_encoder".
        sweeps: Parameter -> values, each of which makes a row of its own; several sweeps make all combinations.
        at_epochs: Epochs after which each training is measured, in place of its end; empty for the end.
        validation: Part of the train split that is held out of training and scored in place of the test split; 0 is
            none.
        data_root: Folder of the datasets.
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
    at_epochs: Sequence[int] = ()
    validation: float | None = None
    data_root: Path


@dataclass(frozen=True)
class Resolved:
    """A request in which every name is a component and every parameter has a value.

    Attributes:
        board: The board of the request, or the default.
        components: Section of a board ("methods") -> its rows.
        ancestors: Rows of the board that were not requested, but that requested rows start from or learn from.
        recipes: Name of each method, ancestors included -> its training recipe.
        inits: Name of a method -> the text of its `init`; methods that start fresh are left out.
        teachers: Name of a method -> the text of its `teacher`; methods without a teacher are left out.
        from_files: Name of a method -> which part of its file of `init` is loaded; empty where a row does not say.
        row_encoders: Makes the encoders that rows have in place of the board's.
        usual_encoders: Kind of data -> the encoders of a dataset of this kind, in place of the board's; empty where
            the request names its encoders or a board.
        precision: "fp32" or "bf16".
        seeds: The seeds of the trainings.
        origins: Name of a method -> where its recipe comes from; empty where that is not known.
        validation: Part of every dataset's train split that is held out and scored; 0 is none.
    """

    board: Board
    components: Mapping[str, Sequence[ConfiguredComponent]]
    ancestors: Sequence[ConfiguredComponent]
    recipes: Mapping[str, Recipe]
    inits: Mapping[str, str]
    precision: str
    seeds: tuple[int, ...]
    origins: Mapping[str, RecipeOrigin] = field(default_factory=dict)
    teachers: Mapping[str, str] = field(default_factory=dict)
    from_files: Mapping[str, FromFile] = field(default_factory=dict)
    row_encoders: RowEncoders = field(default_factory=RowEncoders)
    usual_encoders: Mapping[str, Sequence[ConfiguredComponent]] = field(default_factory=dict)
    validation: float = 0.0


def resolve(request: Request, registry: Registry) -> Resolved:
    """Look up every name of a request, and check and fill in every parameter.

    Raises:
        RequestError: A name, parameter or value does not fit.
    """
    board = _choose_board(request)
    selected = {section: _select_rows(section, request, board, registry) for section in OF_SECTION}
    usual = _usual_encoders(request, selected["encoders"], registry)
    selected["encoders"] += usual.values()
    settings = _by_row(request.settings, selected)
    sweeps = _by_row(request.sweeps, selected)
    rows: dict[str, list[AskedRow]] = {section: [] for section in OF_SECTION}
    of_kind: dict[str, list[ConfiguredComponent]] = {}
    for section in OF_SECTION:
        for row in selected[section]:
            name = (section, row.name)
            budget = _epochs_and_batch_size(request) if section == "methods" else {}
            types = parameter_types(row, section, registry) if name in settings or name in sweeps else {}
            asked = {**budget, "--set": read_typed(settings.get(name, {}), types)}
            asked_rows = _sweep(row, section, asked, read_typed(sweeps.get(name, {}), types))
            if kind := next((kind for kind, encoder in usual.items() if encoder is row), None):
                of_kind[kind] = [configure(asked_row.after, section, registry) for asked_row in asked_rows]
            else:
                rows[section] += asked_rows
    ancestors = _ancestors(rows["methods"], board, request)
    trainings = {row.after.name: training_of(row, board, registry) for row in (*rows["methods"], *ancestors)}
    components = {
        section: [configure(row.after, section, registry) for row in rows[section]]
        for section in OF_SECTION
        if section != "methods"
    }
    methods = [row.after for row in (*rows["methods"], *ancestors)]
    return Resolved(
        board=board,
        components={**components, "methods": [trainings[row.after.name].method for row in rows["methods"]]},
        ancestors=[trainings[row.after.name].method for row in ancestors],
        recipes={name: training.recipe for name, training in trainings.items()},
        inits={row.name: row.init for row in methods if row.init},
        precision=_precision(request, board),
        seeds=_seeds(request, board),
        origins={name: training.origin for name, training in trainings.items()},
        teachers={row.name: row.teacher for row in methods if row.teacher},
        from_files={
            row.name: FromFile(row.init_part, row.init_partial) for row in methods if row.init_part or row.init_partial
        },
        row_encoders=RowEncoders(
            of_row={row.name: row.encoder for row in methods},
            of_teacher={row.name: row.teacher_encoder for row in methods},
            board_rows=board.encoders,
        ),
        usual_encoders=of_kind,
        validation=_validation(request, board),
    )


def _choose_board(request: Request) -> Board:
    """Return the board of the request.

    A request without a board takes the default board if its datasets are those of the default board. The recipes of
    the default board were not chosen for other datasets. There methods have their own recipes, and of the default
    board only the encoders are kept, and the tasks with their default parameters.
    """
    if request.board is not None:
        return boards.load_board(request.board)
    default = boards.load_board(boards.DEFAULT)
    requested = set(request.datasets or ())
    other_datasets = requested - set(default.datasets)
    if not other_datasets:
        return default
    if len(other_datasets) < len(requested):
        raise RequestError(
            f"{', '.join(default.datasets)} has a board, which fixes its recipes; request it without "
            f"{', '.join(sorted(other_datasets))}, or give a board for all of them with --board FILE."
        )
    tasks = dict.fromkeys(row.use for row in default.tasks.values())
    return Board(encoders=default.encoders, tasks={name: NamedComponent(name, name) for name in tasks})


def _select_rows(section: str, request: Request, board: Board, registry: Registry) -> list[NamedComponent]:
    """Return the rows of a section that the request names: the board's, or components with their defaults."""
    board_rows: Mapping[str, NamedComponent] = getattr(board, section)
    names: Sequence[str] | None = getattr(request, section)
    if names is None:
        return _all_board_rows(section, request, board, registry)
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise RequestError(f"{section} must be names, like ['nac', 'sela'], got {names!r}.")
    if not names:
        raise RequestError(f"--{section} is empty; name at least one.")
    if list(names) == [ALL]:
        rows = list(board_rows.values())
        if request.board is None:
            components = [component.name for component in registry.of_kind(OF_SECTION[section].name)]
            rows += [NamedComponent(name, name) for name in components if name not in board_rows]
        return rows
    rows = []
    for name in dict.fromkeys(names):
        rows.append(board_rows.get(name) or _row_of_component(section, name, board_rows, registry))
    return rows


def _usual_encoders(request: Request, rows: Sequence[NamedComponent], registry: Registry) -> dict[str, NamedComponent]:
    """Return kind of data -> the row of its usual encoder, for a request that names neither encoders nor a board."""
    if request.encoders is not None or request.board is not None:
        return {}
    usual = {kind: NamedComponent(name, name) for kind, name in USUAL_ENCODERS.items()}
    taken = {row.name for row in rows}
    return {
        kind: row for kind, row in usual.items() if row.name not in taken and is_registered(row, "encoders", registry)
    }


def _all_board_rows(section: str, request: Request, board: Board, registry: Registry) -> list[NamedComponent]:
    """Return the rows of a section that the request does not mention; methods need a name where no board is given."""
    rows: Mapping[str, NamedComponent] = getattr(board, section)
    if section == "methods" and request.board is None:
        names = ", ".join(component.name for component in registry.of_kind("objective"))
        raise RequestError(f"say which methods: --methods nac,sela or --methods all. Known: {names}.")
    if not rows:
        raise RequestError(f"board {board.name!r} has no [{section}]; add it, or say --{section}.")
    return list(rows.values())


def _row_of_component(
    section: str, name: str, board_rows: Mapping[str, NamedComponent], registry: Registry
) -> NamedComponent:
    """Return a row for a component that is no row of the board; the full id of a board's row is that row."""
    kind = OF_SECTION[section]
    try:
        component, variant = find_component(kind.name, name, registry)
    except UnknownNameError as error:
        if ":" in name and error.name != name.partition(":")[0]:
            raise  # the method is known, its variant is not
        listed = [row.name for row in board_rows.values() if is_registered(row, section, registry)]
        raise UnknownNameError(kind.word, error.name or name, {*error.known, *listed}, "See `bench list`.") from None
    row = board_rows.get(component.name)
    if row and variant is None and registry.get(kind.name, row.use.partition(":")[0]) == component:
        return row
    return NamedComponent(name, name)


def _by_row(
    settings: Mapping[str, Any], rows: Mapping[str, Sequence[NamedComponent]]
) -> dict[tuple[str, str], dict[str, Any]]:
    """Sort settings "NAME.PARAM" into (section, NAME) -> {PARAM: value}.

    A name that is in two sections needs its section in front: "methods.blobs.factor".
    """
    by_row: dict[tuple[str, str], dict[str, Any]] = {}
    if not isinstance(settings, Mapping):
        raise ConfigError(f"settings must map NAME.PARAM to a value, got {settings!r}")
    for path, value in settings.items():
        name, _, param = path.partition(".")
        sections = list(OF_SECTION)
        if name in OF_SECTION and "." in param:
            sections = [name]
            name, _, param = param.partition(".")
        matches = [section for section in sections if any(row.name == name for row in rows[section])]
        if not matches:
            known = {row.name for section in sections for row in rows[section]}
            raise UnknownNameError("dataset, encoder, method or task in this request", name, known)
        if len(matches) > 1:
            options = " or ".join(f"{section}.{path}" for section in matches)
            raise ConfigError(f"--set {path}: {name!r} is the name of {' and '.join(matches)}; write {options}.")
        of_row = by_row.setdefault((matches[0], name), {})
        if param in of_row:
            raise ConfigError(f"{name}.{param} is given twice, also as {matches[0]}.{name}.{param}; give it once")
        of_row[param] = value
    return by_row


def _epochs_and_batch_size(request: Request) -> dict[str, dict[str, int]]:
    """Return option -> the parameter that it sets, for those of the two that the request gives."""
    budget = {}
    if request.epochs is not None:
        budget["--epochs"] = {f"{RECIPE}epochs": request.epochs}
    if request.batch_size is not None:
        budget["--batch-size"] = {f"{RECIPE}batch_size": request.batch_size}
    return budget


def _sweep(
    row: NamedComponent, section: str, asked: Mapping[str, Mapping[str, Any]], sweep: Mapping[str, Any]
) -> list[AskedRow]:
    """Return a row for each combination of a sweep's values; the row alone where there is no sweep.

    The rows are called "NAME (PARAM=VALUE)".
    """
    for param, values in sweep.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise ConfigError(f"a sweep of {row.name}.{param} needs a list of values, got {shown(values)}")
        if any(value in values[:index] for index, value in enumerate(values)):
            raise ConfigError(f"a sweep of {row.name}.{param} has a value twice: {shown(values)}")
    rows = []
    for values in itertools.product(*sweep.values()):  # one combination, of no value, where there is no sweep
        settings = dict(zip(sweep, values, strict=True))
        named = replace(row, name=_sweep_name(row.name, settings)) if settings else row
        rows.append(_asked_row(named, section, {**asked, "--sweep": settings}))
    return rows


def _asked_row(row: NamedComponent, section: str, asked: Mapping[str, Mapping[str, Any]]) -> AskedRow:
    settings = {param: value for values in asked.values() for param, value in values.items()}
    return AskedRow(row, with_values(row, section, settings), asked)


def _sweep_name(name: str, settings: Mapping[str, Any]) -> str:
    texts = [
        f"{param}={value if isinstance(value, str) else json.dumps(value, default=str)}"  # str: dates, refused later
        for param, value in settings.items()
    ]
    return f"{name} ({', '.join(texts)})"


def _ancestors(rows: Sequence[AskedRow], board: Board, request: Request) -> list[AskedRow]:
    """Return the board's rows that are not requested, but that requested rows need: as start or as teacher."""
    ancestors: dict[str, AskedRow] = {}
    requested = {row.after.name for row in rows}
    names = [name for row in rows for name in (row.after.init, row.after.teacher)]
    while names:
        name = names.pop()
        if name in board.methods and name not in requested | ancestors.keys():
            ancestors[name] = _asked_row(board.methods[name], "methods", _epochs_and_batch_size(request))
            names += [ancestors[name].after.init, ancestors[name].after.teacher]
    return list(ancestors.values())


def _precision(request: Request, board: Board) -> str:
    """Return "fp32" or "bf16". "auto" is bf16 on CUDA and fp32 elsewhere.

    The two give different numbers, so "auto" is replaced before keys are made.
    """
    precision = request.precision or board.precision
    if precision not in PRECISIONS:
        raise RequestError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}.")
    if precision == "auto":
        return "bf16" if find_device(request.device).type == "cuda" else "fp32"
    return precision


def _validation(request: Request, board: Board) -> float:
    part: Any = board.validation if request.validation is None else request.validation
    if isinstance(part, bool) or not isinstance(part, int | float) or not 0 <= part < 1:
        raise RequestError(f"validation must be a part of train, from 0 to below 1, such as 0.2, got {shown(part)}.")
    return float(part)


def _seeds(request: Request, board: Board) -> tuple[int, ...]:
    """Return the seeds of the request, else those of the board that it names, else seed 0."""
    seeds: Any = request.seeds
    if seeds is None:
        seeds = (board.seeds if request.board is not None else ()) or (0,)
    if isinstance(seeds, str) or not all(isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in seeds):
        raise RequestError(f"seeds must be whole numbers from 0, like [0, 1, 2], got {seeds!r}.")
    if not seeds:
        raise RequestError("seeds are empty; give at least one.")
    return tuple(dict.fromkeys(seeds))
