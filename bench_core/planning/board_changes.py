"""Text of `bench show NAME --board BOARD`: the parameters that a board changes for a component."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from bench_core.config import parameters
from bench_core.errors import RequestError, UnknownNameError
from bench_core.planning.boards import Board, NamedComponent, load_board
from bench_core.planning.components import configure, find_component
from bench_core.planning.describe import WIDTH, as_toml, parameter_lines
from bench_core.planning.recipes import RECIPE, recipe_of
from bench_core.plugins import OF_SECTION, Registry

_TUNED = "tuned.toml"  # the place of values that tuning found
_START = "a row, a folder or a file; of an encoder its name"  # what names what a row needs


def board_changes(name: str, board_name: str, registry: Registry) -> list[dict[str, Any]]:
    """Describe what a board changes in every row and column of this name, or that uses the component of this name.

    Args:
        name: A row or column of the board; or a component by name, by id, or with a variant.
        board_name: Name of a shipped board, or path of a board.toml.
        registry: The plugins.

    Returns:
        For each row or column its board, section, row (the name), component (the id), and `changes`: name, type, range,
        value, default and `from` of each parameter whose value is not the component's default.

    Raises:
        UnknownNameError: There is no such board, or neither a component nor a row of this name.
        RequestError: The board does not use the component, or a value of the board does not fit.
    """
    board = load_board(board_name)
    found = []
    for section in OF_SECTION:
        for row in getattr(board, section).values():
            if name in _names(row, section, registry):
                found.append({"board": board_name, **_describe(row, section, board, registry)})
    if not found:
        raise _not_found(name, board, registry)
    return found


def _names(row: NamedComponent, section: str, registry: Registry) -> set[str]:
    """Return the names by which a row or column is found: its own and its component's, as far as that is known."""
    try:
        component, _ = find_component(OF_SECTION[section].name, row.use, registry)
    except RequestError:  # of a plugin that is not installed
        return {row.name, row.use}
    return {row.name, row.use, component.name, component.id}


def _not_found(name: str, board: Board, registry: Registry) -> RequestError:
    rows = list(dict.fromkeys(row for section in OF_SECTION for row in getattr(board, section)))
    bare = name.partition(":")[0]
    if any(bare in (component.name, component.id) for component in registry.components):
        return RequestError(f"board {board.name!r} does not use {name!r}; it has {', '.join(rows)}.")
    return UnknownNameError(f"component, row or column of board {board.name!r}", name, rows)


def _describe(row: NamedComponent, section: str, board: Board, registry: Registry) -> dict[str, Any]:
    component, variant = find_component(OF_SECTION[section].name, row.use, registry)
    here, of_variant = f"{section}.{row.name}", f"variant {row.use}"
    tuned = board.tuned_row(row.name) if section == "methods" else None
    found = tuned.values if tuned else {}
    places: dict[str, Collection[str]] = {
        of_variant: variant.config if variant else {},
        here: row.values,
        _TUNED: found,
    }
    changes = list(_changes("", component.cls.Config(), configure(row, section, registry).config, places))
    if section == "methods":
        places = {of_variant: variant.recipe if variant else {}, "recipe": board.recipe, f"{here}.recipe": row.recipe,
                  _TUNED: [name.removeprefix(RECIPE) for name in found if name.startswith(RECIPE)]}  # fmt: skip
        changes += _changes("recipe.", component.cls.recipe, recipe_of(row, board, registry), places)
    for name, value in row.starts.items():
        start = {"name": name, "type": "" if "." in name else _START, "range": "", "value": value, "default": "none"}
        changes.append({**start, "from": here})
    return {"section": section, "row": row.name, "component": component.id, "changes": changes}


def _changes(prefix: str, default: Any, config: Any, places: Mapping[str, Collection[str]]) -> Iterator[dict[str, Any]]:
    """Yield the parameters whose value is not the default.

    Args:
        prefix: Comes before the names of the parameters.
        default: Config or recipe of the component.
        config: The same in the row.
        places: Place that sets parameters -> their names; a later place wins.
    """
    place_of = {name: place for place, names in places.items() for name in names}
    for parameter in parameters(type(config)):
        value, usual = getattr(config, parameter.name), getattr(default, parameter.name)
        if value != usual:
            shown = {"name": prefix + parameter.name, "type": parameter.type, "range": parameter.range}
            yield {**shown, "value": value, "default": usual, "from": place_of[parameter.name]}


def print_board_changes(described: Sequence[Mapping[str, Any]], columns: int = WIDTH) -> str:
    """Format `board_changes` as `bench show` prints components: a way to set each value, and the default."""
    lines = []
    for row in described:
        changes = row["changes"]
        lines.append(f"[{row['section']}.{row['row']}] of board {row['board']}: {row['component']}")
        lines.append("" if changes else "      its defaults, unchanged\n")
        for change in changes:
            default = as_toml(change["default"])
            text = {**change, "default": change["value"], "help": f"instead of {default}", "source": change["from"]}
            lines += parameter_lines(row["row"], [text], columns)
        lines += [""] if changes else []
    board = described[0]["board"]
    sections = dict.fromkeys(row["section"] for row in described)
    names = {section: ",".join(row["row"] for row in described if row["section"] == section) for section in sections}
    return "\n".join([*lines, *(f"bench run --board {board} --{section} {rows}" for section, rows in names.items())])
