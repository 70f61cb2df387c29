"""The training recipe of each method's row: whose values it has, and what a shorter run shortens.

A request that asks for fewer epochs than method and board give shortens by the same ratio what is counted in epochs,
such as a warm-up, unless it sets that itself.
"""

import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench_core.config import build, shortened
from bench_core.contracts import Recipe
from bench_core.errors import ConfigError, shown
from bench_core.planning.boards import (
    INIT_OPTIONS,
    OWN_ENCODERS,
    STARTS,
    Board,
    NamedComponent,
    OwnEncoder,
    check_init_option,
    check_start,
)
from bench_core.planning.components import ConfiguredComponent, configure, find_component
from bench_core.planning.origins import SHOWN, RecipeOrigin, recipe_origin_text, shortened_text
from bench_core.plugins import OF_SECTION, Registry

RECIPE = "recipe."  # in front of a parameter of a method's recipe


@dataclass(frozen=True)
class AskedRow:
    """A row or column of a request, without and with what the request asks for.

    Attributes:
        before: The board's row, or a component with its defaults.
        after: The same with the request's values in place of its own.
        asked: Option -> the values that it gives, by parameter; a later option wins.
    """

    before: NamedComponent
    after: NamedComponent
    asked: Mapping[str, Mapping[str, Any]]


def with_values(row: NamedComponent, section: str, settings: Mapping[str, Any]) -> NamedComponent:
    """Return the row with these values in place of its own."""
    values, recipe, of_method = dict(row.values), dict(row.recipe), dict[str, Any]()
    for param, value in sorted(settings.items(), key=lambda item: item[0] not in OWN_ENCODERS):
        name, _, rest = param.partition(".")
        if section == "methods" and name in OWN_ENCODERS:  # the encoder's name comes before its parameters
            own: OwnEncoder = of_method.get(name, getattr(row, name))
            of_method[name] = _changed_encoder(own, rest, value, f"{row.name}.{param}")
        elif section == "methods" and param in STARTS:
            of_method[name] = check_start(value, f"{row.name}.{param}")
        elif section == "methods" and param in INIT_OPTIONS:
            of_method[name] = check_init_option(param, value, f"{row.name}.{param}")
        elif section == "methods" and param.startswith(RECIPE):
            recipe[rest] = value
        else:
            values[param] = value
    return replace(row, values=values, recipe=recipe, **of_method)


def _changed_encoder(own: OwnEncoder, param: str, value: Any, where: str) -> OwnEncoder:
    """Return a row's own encoder with one value changed: its name where `param` is "", else a parameter."""
    if param not in ("", "use"):
        return replace(own, values={**own.values, param: value})
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{where} must be the name of an encoder, or 'none', got {shown(value)}")
    return OwnEncoder() if value == "none" else OwnEncoder(value)


def parameter_types(row: NamedComponent, section: str, registry: Registry) -> dict[str, Any]:
    """Return parameter -> its declared type, for all that a request may set of a row: of `with_values`' names."""
    component, _ = find_component(OF_SECTION[section].name, row.use, registry)
    types = typing.get_type_hints(component.cls.Config)
    if section != "methods":
        return types
    recipe = {f"{RECIPE}{name}": declared for name, declared in typing.get_type_hints(Recipe).items()}
    encoders = dict[str, Any]()
    for component in registry.of_kind("encoder"):  # which one it is is known when all values are read
        encoders |= typing.get_type_hints(component.cls.Config)
    own = {f"{name}.{param}": declared for name in OWN_ENCODERS for param, declared in encoders.items()}
    return {**types, **recipe, **own, **dict.fromkeys((*STARTS, *OWN_ENCODERS), str), **INIT_OPTIONS}


def recipe_of(row: NamedComponent, board: Board, registry: Registry) -> Recipe:
    """Return the recipe of a method's row: the method's, then the variant's, the board's and the row's values over it.

    A method whose own recipe has 0 epochs is not trained, whatever the board says; its recipe is returned unchanged,
    after the values have been checked.

    Raises:
        RequestError: There is no such method, or a value does not fit.
    """
    component, variant = find_component("objective", row.use, registry)
    default: Recipe = component.cls.recipe
    values = {**(variant.recipe if variant else {}), **board.recipe, **row.recipe}
    recipe = build(Recipe, values, f"{row.name}.recipe", base=default)
    return default if default.epochs == 0 else recipe


@dataclass(frozen=True)
class Training:
    """A method's row with all that decides how it is trained."""

    method: ConfiguredComponent
    recipe: Recipe
    origin: RecipeOrigin


def training_of(row: AskedRow, board: Board, registry: Registry) -> Training:
    """Resolve a method's row; what is counted in epochs gets shorter where the request asks for fewer of them.

    What the request sets itself stays as it is.
    """
    method, recipe = configure(row.after, "methods", registry), recipe_of(row.after, board, registry)
    if recipe.epochs == 0:
        return Training(method, recipe, RecipeOrigin())
    usual = recipe_of(row.before, board, registry).epochs
    shorter = {
        prefix + name: (getattr(part, name), value)
        for prefix, part in (("", method.config), (RECIPE, recipe))
        for name, value in shortened(part, recipe.epochs, usual).items()
        if not any(prefix + name in values for values in row.asked.values())
    }
    after = with_values(row.after, "methods", {param: value for param, (_, value) in shorter.items()})
    origin = RecipeOrigin(
        recipe_from=_recipe_from(row, board, registry), shortened=shortened_text(shorter, recipe.epochs, usual)
    )
    return Training(configure(after, "methods", registry), recipe_of(after, board, registry), origin)


def _recipe_from(row: AskedRow, board: Board, registry: Registry) -> str:
    """Say where the recipe of a method's row comes from: "board digits; --epochs", "board digits, tuned"."""
    _, variant = find_component("objective", row.before.use, registry)
    tuned = board.tuned_row(row.before.name)
    places: dict[str, Collection[str]] = {
        "the method": SHOWN,
        f"variant {row.before.use}": variant.recipe if variant else {},
        f"board {board.name}{', tuned' if tuned else ''}": {**board.recipe, **row.before.recipe},
    }
    for option, values in row.asked.items():
        places[option] = [param.removeprefix(RECIPE) for param in values if param.startswith(RECIPE)]
    return recipe_origin_text(places)
