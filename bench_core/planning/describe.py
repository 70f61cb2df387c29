"""Lines for people: what there is, what a component is, why a cell has its key."""

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench_core.config import parameters
from bench_core.contracts import Recipe
from bench_core.errors import UnknownNameError
from bench_core.planning.boards import Board, board_names, load_board
from bench_core.planning.request import SECTIONS
from bench_core.plugins import KINDS, Component, Registry

_CHOSEN = ("optimizer", "learning_rate", "weight_decay", "schedule", "epochs", "batch_size")  # of any method's recipe
LABELS = {"encoder": "encoder", "objective": "method", "dataset": "dataset", "evaluator": "task"}


def listing(registry: Registry) -> list[dict[str, str]]:
    """One line for everything that can be named."""
    lines = [
        {
            "kind": LABELS[kind],
            "name": name,
            "package": component.distribution,
            "version": component.version,
            "summary": summary,
        }
        for kind in KINDS
        for component, name, summary in _named(kind, registry)
    ]
    boards = [(name, load_board(name).title) for name in board_names()]
    return lines + [{"kind": "board", "name": n, "package": "", "version": "", "summary": t} for n, t in boards]


def _named(kind: str, registry: Registry) -> Iterator[tuple[Component, str, str]]:
    """Every component of a kind with its name and summary, a method's variants after it."""
    for component in registry.of_kind(kind):
        yield component, component.name, _summary(component)
        for variant, what in getattr(component.cls, "variants", {}).items():
            yield component, f"{component.name}:{variant}", what.help


def describe_component(name: str, registry: Registry) -> list[dict[str, Any]]:
    """Every component of this name or id (with a variant or without), and the board of this name.

    Raises:
        UnknownNameError: There is none.
    """
    bare, colon, variant = name.partition(":")
    meant = [c for c in registry.components if bare in (c.name, c.id)]
    variants = {v for c in meant for v in getattr(c.cls, "variants", {})}
    if meant and colon and variant not in variants:
        raise UnknownNameError(f"variant of {bare}", variant, variants, f"See `bench show {bare}`.")
    found = [_describe(c) for c in meant]
    if name in board_names():
        found.append(_describe_board(load_board(name)))
    if not found:
        for kind in KINDS:
            if any(b.entry == name for b in registry.broken):
                registry.get(kind, name)  # says why it did not load
        known = {c.name for c in registry.components} | set(board_names())
        raise UnknownNameError("component or board", name, known, "See `bench list`.")
    return found


def _describe_board(board: Board) -> dict[str, Any]:
    sections = {"datasets": board.datasets, "encoders": board.encoders, "methods": board.methods, "tasks": board.tasks}
    return {
        "kind": "board",
        "name": board.name,
        "title": board.title,
        "description": board.description.strip(),
        "seeds": list(board.seeds),
        "precision": board.precision,
        "recipe": dict(board.recipe),
        **{section: {row.name: vars(row) for row in rows.values()} for section, rows in sections.items()},
    }


def _describe(component: Component) -> dict[str, Any]:
    module = inspect.getmodule(component.cls)
    described: dict[str, Any] = {
        "kind": LABELS[component.kind],
        "name": component.name,
        "id": component.id,
        "version": component.version,
        "revision": component.cls.revision,
        "class": _doc(component),
        "module": inspect.getdoc(module) or "" if module else "",
        "parameters": [_jsonable(vars(p)) for p in parameters(component.cls.Config)],
    }
    if component.kind == "objective":
        own, usual = (_jsonable(vars(recipe)) for recipe in (component.cls.recipe, Recipe()))
        source = component.cls.recipe_source
        described["uses_labels"] = component.cls.uses_labels
        described["recipe_source"] = source
        described["variants"] = [{"name": name, **vars(v)} for name, v in component.cls.variants.items()]
        described["recipe"] = [
            {
                **_jsonable(vars(p)),
                "default": own[p.name],
                "source": source if p.name in _CHOSEN or own[p.name] != usual[p.name] else p.source,
            }
            for p in parameters(Recipe)
        ]
    return described


def print_component(described: Mapping[str, Any]) -> str:
    """What `bench show` prints of one component or board."""
    if described["kind"] == "board":
        return _print_board(described)
    lines = [
        f"{described['kind']} {described['id']}  (version {described['version']}, revision {described['revision']})"
    ]
    lines += ["", described["module"] or described["class"]]
    if described.get("uses_labels"):
        lines += ["", "Uses labels in training."]
    for variant in described.get("variants", []):
        lines += [
            "",
            f"--methods {described['name']}:{variant['name']}",
            f"      {variant['help']} [{variant['source']}]",
        ]
        lines += [f"      {', '.join(f'{k}={json.dumps(v)}' for k, v in variant['settings'].items())}"]
    lines += ["", *_parameter_lines(described["name"], described["parameters"])]
    if "recipe" in described:
        lines += ["", *_parameter_lines(f"{described['name']}.recipe", described["recipe"])]
    return "\n".join(lines)


def _print_board(described: Mapping[str, Any]) -> str:
    lines = [f"board {described['name']}: {described['title']}", "", described["description"], ""]
    lines.append(f"seeds {described['seeds']}, precision {described['precision']}, recipe {described['recipe']}")
    for section in SECTIONS:
        for row in described[section].values():
            changed = {**row["values"], **{f"recipe.{k}": v for k, v in row["recipe"].items()}}
            lines.append(f"{section}.{row['name']}: {row['use']} {changed or ''}".rstrip())
    return "\n".join([*lines, "", f"bench run --board {described['name']}"])


def _parameter_lines(prefix: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not rows:
        yield f"{prefix} has no parameters."
    for row in rows:
        default = "none" if row["default"] is None else json.dumps(row["default"])  # as TOML spells it
        yield f"--set {prefix}.{row['name']}={default}  ({row['type']})"
        yield f"      {row['help']}" + (f" [{row['source']}]" if row["source"] else "")


def _summary(component: Component) -> str:
    """First line of the class's docstring."""
    return _doc(component).partition("\n")[0]


def _doc(component: Component) -> str:
    """What the class says of itself; the words of the contract that it fulfils are not its own."""
    return inspect.cleandoc(component.cls.__doc__ or "")


def _jsonable(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
