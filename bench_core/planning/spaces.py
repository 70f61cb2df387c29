"""Search spaces of a board's rows, and the digest by which one sees that a row has changed since it was tuned.

The space of a row is that of its recipe and of its method, without the parameters that tell rows of one method on the
board apart: these are what the row is.
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
    config_type = find_component("objective", row.use, registry)[0].cls.Config
    apart = _what_rows_are(row, board, registry)
    of_recipe = {f"{RECIPE}{name}": space for name, space in _spaces(Recipe).items()}
    return of_recipe | {name: space for name, space in _spaces(config_type).items() if name not in apart}


def _spaces(config_type: type) -> dict[str, SearchSpace]:
    spaces = {field.name: field.metadata.get("tune") for field in dataclasses.fields(config_type)}
    return {name: space for name, space in spaces.items() if space is not None}


def _what_rows_are(row: NamedComponent, board: Board, registry: Registry) -> set[str]:
    """Return the parameters in which rows of one method on the board differ from this row."""
    own = configure(row, "methods", registry)
    others = [
        configured.config
        for other in board.methods.values()
        if is_registered(other, "methods", registry)
        and (configured := configure(other, "methods", registry)).plugin.id == own.plugin.id
    ]
    names = [field.name for field in dataclasses.fields(own.config)]
    return {name for name in names if any(getattr(other, name) != getattr(own.config, name) for other in others)}


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
