"""Search spaces of a board's rows, and the digest by which one sees that a row has changed since it was tuned.

The space of a row is that of its recipe and of its method, without the parameters that tell rows of one method on the
board apart: these are what the row is. A control that has a part of the method switched off, by a value outside the
space, leaves that parameter to the other rows: no trial of theirs can become the control.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from bench_core.contracts import Recipe
from bench_core.keys import key_of
from bench_core.planning.boards import Board, NamedComponent
from bench_core.planning.components import configure, find_component, is_registered
from bench_core.planning.recipes import RECIPE, recipe_of
from bench_core.plugins import Registry
from bench_core.ranges import SearchSpace


def space_of(row: NamedComponent, board: Board, registry: Registry) -> dict[str, SearchSpace]:
    """Return parameter -> search space of a row of a board; empty for a row that is not trained.

    Parameters of the recipe are called "recipe.NAME", and are in every space.

    Raises:
        RequestError: There is no such method, or a value of the row does not fit.
    """
    if recipe_of(row, board, registry).epochs == 0:
        return {}
    of_method = _spaces(find_component("objective", row.use, registry)[0].cls.Config)
    apart = _what_rows_are(row, of_method, board, registry)
    of_recipe = {f"{RECIPE}{name}": space for name, space in _spaces(Recipe).items()}
    return of_recipe | {name: space for name, space in of_method.items() if name not in apart}


def _spaces(config_type: type) -> dict[str, SearchSpace]:
    spaces = {field.name: field.metadata.get("tune") for field in dataclasses.fields(config_type)}
    return {name: space for name, space in spaces.items() if space is not None}


def _what_rows_are(
    row: NamedComponent, spaces: Mapping[str, SearchSpace], board: Board, registry: Registry
) -> set[str]:
    """Return the parameters that tell a row apart from other rows of its method on the board.

    A parameter in which rows differ is one of them, unless a search may reach this row's value and no other one's.
    """
    own = configure(row, "methods", registry)
    others = [
        configured.config
        for other in board.methods.values()
        if is_registered(other, "methods", registry)
        and (configured := configure(other, "methods", registry)).plugin.id == own.plugin.id
    ]

    def tells_apart(name: str) -> bool:
        value, space = getattr(own.config, name), spaces[name]
        different = [getattr(other, name) for other in others if getattr(other, name) != value]
        return bool(different) and (not space.holds(value, value) or any(space.holds(v, value) for v in different))

    return {name for name in spaces if tells_apart(name)}


def value_of(row: NamedComponent, parameter: str, board: Board, registry: Registry) -> Any:
    """Return the value that a row has on its board, of a parameter of its method or of its recipe ("recipe.NAME")."""
    if parameter.startswith(RECIPE):
        return getattr(recipe_of(row, board, registry), parameter.removeprefix(RECIPE))
    return getattr(configure(row, "methods", registry).config, parameter)


def written_space(
    space: Mapping[str, SearchSpace], row: NamedComponent, board: Board, registry: Registry
) -> dict[str, Any]:
    """Return a search space as files hold it: parameter -> list of choices, or text."""
    return {
        name: list(values.values) if values.kind == "choice" else values.text(value_of(row, name, board, registry))
        for name, values in space.items()
    }


def row_digest(row: NamedComponent, board: Board, registry: Registry) -> str:
    """Return the digest of all that was tuned: the row, the board's recipe, datasets and encoders, and the space.

    Args:
        row: The row as the board writes it, without tuned values (`load_board(..., tuned=False)`).
        board: The board, likewise.
        registry: The plugins, which declare the spaces.

    Raises:
        RequestError: There is no such method, or a value of the row does not fit.
    """
    space = space_of(row, board, registry)
    document = {
        "use": row.use,
        "values": row.values,
        "recipe": row.recipe,
        "starts": row.starts,
        "board": {
            "recipe": board.recipe,
            **{
                section: {name: [part.use, part.values] for name, part in getattr(board, section).items()}
                for section in ("datasets", "encoders")
            },
        },
        "space": written_space(space, row, board, registry),
    }
    return f"sha256:{key_of(document)}"
