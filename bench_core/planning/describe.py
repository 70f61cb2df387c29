"""Texts of `bench list` and `bench show`: what there is, and all that is known of one component or board."""

import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench_core.config import Parameter, parameters
from bench_core.contracts import Recipe
from bench_core.contracts.keywords import needs
from bench_core.errors import UnknownNameError
from bench_core.planning.board_files import board_names
from bench_core.planning.boards import Board, NamedComponent, load_board
from bench_core.planning.components import find_component, is_registered
from bench_core.planning.lines import fitted, hanging
from bench_core.planning.tuned_text import chosen_text, tuned_sentences
from bench_core.plugins import KINDS, OF_SECTION, Component, Registry, recipe_source

OURS = "bench-core"  # the distribution whose name and version `bench list` leaves out
SECTIONS = (
    "methods",
    "tasks",
    "encoders",
    "datasets",
    "boards",
)  # of `bench list`, in the order in which they are read
_INIT = (  # what every method's row takes beside its parameters and recipe, as `bench show` lists it
    {"name": "init", "default": None, "type": "text", "range": "", "source": "",
     "help": "weights that the encoder starts from: a row, a chain's folder, or a file "
     "(safetensors, .pt, .pth, .ckpt)"},
    {"name": "init_part", "default": None, "type": "text", "range": "", "source": "",
     "help": "words before the names of the encoder's tensors in the file, such as teacher; by default found by names"},
    {"name": "init_partial", "default": False, "type": "true or false", "range": "", "source": "",
     "help": "load the tensors that fit where others are missing or have other shapes"},
)  # fmt: skip
# What is said of a method for which it holds.
_FACTS = {
    "uses_labels": "Uses labels in training.",
    "uses_factors": "Uses ground-truth factors in training.",
    "needs_teacher": "Needs a teacher: --set NAME.teacher=ROW, a chain's folder, or a file with NAME.teacher_encoder.",
}
WIDTH = 100  # characters of a line where nobody says how wide the terminal is
NO_SOURCE = "no source given"
# A method's recipe fields that its paper or code decides in any case; the source of the recipe stands beside them.
_CHOSEN = ("optimizer", "learning_rate", "weight_decay", "schedule", "epochs", "batch_size")
# Paragraphs of a module's docstring that `bench show` prints.
_SOURCES = ("Paper:", "Papers:", "Code:", "Source:", "Sources:", "Note:", "Notes:")


def listing(registry: Registry, section: str | None = None) -> list[dict[str, str]]:
    """List what can be named, one line each: components, variants of methods, boards, and rows that boards name anew.

    Args:
        registry: The plugins.
        section: One of `SECTIONS`, or None for all.

    Returns:
        Lines with kind (the word users read), name, package, version, summary, and the board if it is a row of one.
    """
    lines = []
    boards = [load_board(name) for name in board_names()]
    for wanted in SECTIONS if section is None else (section,):
        if wanted == "boards":
            lines += [_line("board", board.name, "", "", board.title) for board in boards]
            continue
        kind = OF_SECTION[wanted]
        for component in registry.of_kind(kind.name):
            owner = (component.distribution, component.version)
            lines.append(_line(kind.word, component.name, *owner, summary(component.cls)))
            for variant, details in getattr(component.cls, "variants", {}).items():
                lines.append(_line(kind.word, f"{component.name}:{variant}", *owner, details.help))
        for board in boards:
            lines += _board_rows(board, wanted, registry)
    return lines


def _board_rows(board: Board, section: str, registry: Registry) -> Iterator[dict[str, str]]:
    """Yield a line for each row or column of a board that no component has the name of."""
    kind = OF_SECTION[section]
    names = {component.name for component in registry.of_kind(kind.name)}
    rows: Mapping[str, NamedComponent] = getattr(board, section)
    for row in rows.values():
        if row.name not in names and is_registered(row, section, registry):
            component, _ = find_component(kind.name, row.use, registry)
            changed = {**row.values, **{f"recipe.{k}": v for k, v in row.recipe.items()}, **row.starts}
            values = ", ".join(f"{name}={as_toml(value)}" for name, value in changed.items())
            text = textwrap.shorten(f"{row.use} with {values}" if values else row.use, WIDTH - 30, placeholder=" ...")
            yield _line(kind.word, row.name, component.distribution, component.version, text, board.name)


def _line(kind: str, name: str, package: str, version: str, text: str, board: str = "") -> dict[str, str]:
    return {"kind": kind, "name": name, "package": package, "version": version, "summary": text, "board": board}


def print_listing(lines: Sequence[Mapping[str, str]], columns: int = WIDTH) -> str:
    """Format `listing` for people: a heading for each kind, variants under their method, rows under their board.

    Args:
        lines: Lines of `listing`.
        columns: Characters of a line; a longer summary goes on in the next.
    """
    labels = [_label(line) for line in lines]
    width = max(map(len, labels), default=0)
    headings = {**{kind.word: kind.section for kind in KINDS.values()}, "board": "boards"}
    text, last, last_board = [], "", ""
    for line, label in zip(lines, labels, strict=True):
        if line["kind"] != last:
            last, last_board = line["kind"], ""
            text += ["", headings[last].capitalize()]
        if line["board"] != last_board:
            last_board = line["board"]
            text.append(f"  in board {last_board}:")
        owner = f"  ({line['package']} {line['version']})" if line["package"] not in ("", OURS) else ""
        text.append(hanging(f"{label:<{width}}  ", f"{line['summary']}{owner}", columns).rstrip())
    return "\n".join(text[1:])


def _label(line: Mapping[str, str]) -> str:
    """Return a line's name, indented as it stands in the list."""
    if line["board"]:
        return f"    {line['name']}"
    _, _, variant = line["name"].partition(":")
    return f"    :{variant}" if variant else f"  {line['name']}"


def describe_component(name: str, registry: Registry) -> list[dict[str, Any]]:
    """Describe every component of this name or id (with or without a variant), and the board of this name.

    Raises:
        UnknownNameError: There is none.
        PluginLoadError: The plugin of this name did not load.
    """
    bare, colon, variant = name.partition(":")
    components = [c for c in registry.components if bare in (c.name, c.id)]
    variants = {v for c in components for v in getattr(c.cls, "variants", {})}
    if components and colon and variant not in variants:
        raise UnknownNameError(f"variant of {bare}", variant, variants, f"See `bench show {bare}`.")
    described = [_describe(c) for c in components]
    if name in board_names():
        described.append(_describe_board(load_board(name)))
    if not described:
        for kind in KINDS:
            if any(broken.entry == name for broken in registry.broken):
                registry.get(kind, name)  # raises, with the reason why the plugin did not load
        known = {c.name for c in registry.components} | set(board_names())
        raise UnknownNameError("component or board", name, known, "See `bench list`.")
    return described


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
        "tuned": _tuned(board),
        **{section: {row.name: _row(row) for row in rows.values()} for section, rows in sections.items()},
    }


def _tuned(board: Board) -> list[str]:
    """Return how the rows were tuned, and what was chosen for each."""
    if board.tuned is None or not board.tuned.rows:
        return []
    chosen = {name: row for name in board.methods if (row := board.tuned_row(name))}
    return [*tuned_sentences(board.tuned), *(f"{name}: {chosen_text(row)}" for name, row in chosen.items())]


def _row(row: NamedComponent) -> dict[str, Any]:
    parts = ("name", "use", "values", "recipe", "init", "teacher", "starts")
    return {part: getattr(row, part) for part in parts}


def _describe(component: Component) -> dict[str, Any]:
    module = inspect.getmodule(component.cls)
    described: dict[str, Any] = {
        "kind": component.word,
        "name": component.name,
        "id": component.id,
        "version": component.version,
        "revision": component.cls.revision,
        "class": class_doc(component.cls),
        "module": inspect.getdoc(module) or "" if module else "",
        "parameters": [_parameter_row(p, p.default) for p in parameters(component.cls.Config)],
    }
    if component.kind == "dataset":
        described["licence"] = component.cls.licence
    if component.kind == "encoder":
        described["kinds"] = sorted(component.cls.kinds or ())
    if component.kind == "objective":
        source = recipe_source(component.cls) or NO_SOURCE
        described["uses_labels"] = component.cls.uses_labels
        described["uses_factors"] = component.cls.uses_factors
        described["needs_teacher"] = needs(component.cls.__init__, "teacher")
        described["keeps"] = component.cls.keeps
        described["recipe_source"] = source
        described["variants"] = [{"name": name, **vars(v)} for name, v in component.cls.variants.items()]
        described["recipe"] = list(_recipe_rows(component.cls.recipe, source))
    return described


def _recipe_rows(recipe: Recipe, source: str) -> Iterator[dict[str, Any]]:
    """Yield the parameters of a method's recipe with its values; each names the recipe's source where it decided."""
    values, usual = _jsonable(vars(recipe)), _jsonable(vars(Recipe()))
    for parameter in parameters(Recipe):
        name = parameter.name
        decided = name in _CHOSEN or values[name] != usual[name]
        yield {**_parameter_row(parameter, values[name]), "source": source if decided else parameter.source}


def _parameter_row(parameter: Parameter, default: Any) -> dict[str, Any]:
    """Return one parameter with a default of its own and its search space in words, as JSON has it."""
    tune = "" if parameter.tune is None else parameter.tune.text(default)
    return _jsonable({**vars(parameter), "default": default, "tune": tune})


def print_component(described: Mapping[str, Any], columns: int = WIDTH) -> str:
    """Format what `bench show` prints of one component or board, in lines of so many characters."""
    if described["kind"] == "board":
        return _print_board(described, columns)
    lines = [
        f"{described['kind']} {described['id']}  (version {described['version']}, revision {described['revision']})"
    ]
    lines += ["", fitted(described["class"], columns)]
    if sources := _source_paragraphs(described["module"], columns):
        lines += ["", sources]
    for fact, text in _FACTS.items():
        if described.get(fact):
            lines += ["", fitted(text, columns)]
    if described.get("keeps") == "least_loss":
        lines += ["", "Ends with the weights of the least training loss."]
    if described.get("kinds"):
        lines += ["", f"Reads {' and '.join(described['kinds'])}."]
    if described.get("licence"):
        lines += ["", hanging("Licence: ", described["licence"], columns)]
    for variant in described.get("variants", []):
        lines += [
            "",
            f"--methods {described['name']}:{variant['name']}",
            _indented(f"{variant['help']} [{variant['source']}]", columns),
            _indented(", ".join(f"{k}={json.dumps(v)}" for k, v in variant["settings"].items()), columns),
        ]
    lines += ["", *parameter_lines(described["name"], described["parameters"], columns)]
    if "recipe" in described:
        lines += ["", *parameter_lines(f"{described['name']}.recipe", described["recipe"], columns)]
        lines += ["", *parameter_lines(described["name"], _INIT, columns)]
    return "\n".join(lines)


def _source_paragraphs(module_doc: str, columns: int) -> str:
    """Return the lines of a module's docstring that name its paper and code, with the lines that continue them."""
    kept, inside = list[list[str]](), False
    for line in module_doc.splitlines():
        begins = line.startswith(_SOURCES)
        inside = begins or (inside and line.startswith("  "))
        if begins:
            kept.append([])
        if inside:
            kept[-1].append(line)
    return "\n".join(_source(lines, columns) for lines in kept)


def _source(lines: Sequence[str], columns: int) -> str:
    """Fill a paragraph after its first word, "Paper:  ", anew if it is too wide."""
    if all(len(line) <= columns for line in lines):
        return "\n".join(lines)
    word, _, rest = lines[0].partition(":")
    blanks = len(rest) - len(rest.lstrip())
    return hanging(f"{word}:{rest[:blanks]}", " ".join([rest.strip(), *map(str.strip, lines[1:])]), columns)


def _print_board(described: Mapping[str, Any], columns: int) -> str:
    title = fitted(f"board {described['name']}: {described['title']}", columns)
    facts = [f"seeds {described['seeds']}, precision {described['precision']}, recipe {described['recipe']}"]
    for section in OF_SECTION:
        for row in described[section].values():
            changed = {**row["values"], **{f"recipe.{k}": v for k, v in row["recipe"].items()}, **row["starts"]}
            facts.append(f"{section}.{row['name']}: {row['use']} {changed or ''}".rstrip())
    told = [hanging("", fact, columns, indent=4) for fact in [*facts, *described["tuned"]]]
    return "\n".join(
        [title, "", fitted(described["description"], columns), "", *told, "", f"bench run --board {described['name']}"]
    )


def parameter_lines(prefix: str, rows: Sequence[Mapping[str, Any]], columns: int = WIDTH) -> Iterator[str]:
    """Yield the lines of `bench show` for each parameter: how to set it, its type and range, its meaning and source."""
    if not rows:
        yield f"{prefix} has no parameters."
    for row in rows:
        setting = f"--set {prefix}.{row['name']}={as_toml(row['default'])}"
        in_epochs = "shortened with --epochs" if row.get("in_epochs") else ""
        allowed = f"({', '.join(filter(None, (row['type'], row['range'], in_epochs)))})"
        source = f" [{row['source']}]" if row["source"] else ""
        if len(setting) + len(allowed) + 2 <= columns:
            yield f"{setting}  {allowed}"
        else:
            yield setting
            yield _indented(allowed, columns)
        yield _indented(f"{row['help']}{source}", columns)
        if row.get("tune"):
            yield _indented(f"tuned: {row['tune']}", columns)


def as_toml(value: Any) -> str:
    """Spell a value as `--set` takes it."""
    return "none" if value is None else json.dumps(value)


def _indented(text: str, columns: int) -> str:
    """Wrap a text to lines that are indented below a parameter."""
    return hanging(" " * 6, text, columns)


def summary(cls: type) -> str:
    """Return the first line of a class's own docstring, "" where it has none."""
    return class_doc(cls).partition("\n")[0]


def class_doc(cls: type) -> str:
    """Return a class's own docstring, never the one of the interface that it derives from."""
    return inspect.cleandoc(cls.__doc__ or "")


def _jsonable(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
