"""The digest of a component's source code, by which a record knows the code that made it.

Example: `nnclr.py` and its record have one digest. A comment, a docstring, another layout or another place of the file
changes nothing; a changed loss, default or constant changes the digest.

Which files count: the component's own, and what that one imports of its own package, directly or through files that
count. For a plugin that is one file, these are modules beside it, and where it is installed only those that were
installed with it. For a built-in component also what they import of `bench_core.nn`, `bench_core.views` and
`bench_core.evaluation`. The rest of the core is left out: tests hold its numbers. An import inside a function counts
like any other. A name that an `__init__.py` takes from another file leads to that file; the `__init__.py` itself counts
only where it makes the name, or is imported by itself.

What counts in a file: the nodes of its syntax tree and their fields that are not empty, so that Python 3.11 to 3.13
agree. Docstrings do not count, nor the licence that a class states, nor import statements, except for a name that `as`
replaces.
"""

import ast
import hashlib
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from bench_core.planning.describe import OURS
from bench_core.plugins import Component

_CORE = "bench_core"
_COUNTED_IN_CORE = ("nn", "views", "evaluation")
_INSTALLED = ("site-packages", "dist-packages")  # folders in which all modules of other packages lie side by side
# Fields of syntax nodes that say how the code is written (`kind`: u"text"), or follow from its place (`ctx`).
_LAYOUT = {"kind", "type_comment", "type_ignores", "ctx"}


@cache  # what was imported is what runs, also where the file is edited while it runs
def source_digest(component: Component) -> str | None:
    """Return the digest of the code of a component, or None where it cannot be read, as that of a notebook.

    Args:
        component: A dataset, encoder, method or task.

    Returns:
        "sha256:" and 16 hexadecimal digits.
    """
    try:
        digests = sorted(_parse(path.read_bytes()).digest for path in source_files(component))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    return _sha256("".join(digests)) if digests else None


def source_digests(components: Mapping[str, Component]) -> dict[str, str]:
    """Return the digests of some components under the same names, without those whose code cannot be read."""
    digests = {name: source_digest(component) for name, component in components.items()}
    return {name: digest for name, digest in digests.items() if digest is not None}


def source_files(component: Component) -> list[Path]:
    """Return the files whose code counts for a component, its own first; none where it has no file.

    Raises:
        OSError: A file cannot be read.
        SyntaxError: A file is no Python.
    """
    module = sys.modules.get(component.cls.__module__)
    file = getattr(module, "__file__", None)
    if module is None or file is None:
        return []
    search = _Search(module.__name__, Path(file), component.distribution)
    search.count(module.__name__, Path(file))
    return list(search.files)


class _Search:
    """The files that one component uses, as far as they count."""

    def __init__(self, module: str, file: Path, distribution: str) -> None:
        package = module.partition(".")[0]
        self.files: dict[Path, None] = {}
        self.folders: dict[str, list[str]] = {}  # package -> its folders
        self.beside: Path | None = None  # where a plugin that is one file may have further modules
        self.others: set[str] | None = None  # the only ones that count there; None are all
        for name in (package, _CORE) if distribution == OURS else (package,):
            self.folders[name] = list(getattr(sys.modules.get(name), "__path__", []))
        if not self.folders[package]:
            self.beside = file.parent
            self.others = _modules_of(distribution) if file.parent.name in _INSTALLED else None

    def count(self, module: str, path: Path) -> None:
        """Count a file, and what it imports."""
        if path in self.files:
            return
        self.files[path] = None
        for taken in _parse(path.read_bytes()).imports:
            self.follow(taken, module, path)

    def follow(self, taken: "_Import", module: str, path: Path) -> None:
        """Count the file that an import of another file leads to."""
        source = _absolute(taken, module, path)
        found = self.find(source)
        if found is None:
            return
        if found.name != "__init__.py" or taken.name in (None, "*"):
            self.count(source, found)
            return
        bound = next((i for i in _parse(found.read_bytes()).imports if i.name and i.bound == taken.name), None)
        inner = self.find(f"{source}.{taken.name}")
        if bound is not None and found != path:
            self.follow(bound, source, found)
        elif inner is not None:
            self.count(f"{source}.{taken.name}", inner)
        else:
            self.count(source, found)

    def find(self, module: str) -> Path | None:
        """Return the file of a module that counts; None for any other module."""
        package, *rest = module.split(".")
        if package == _CORE and (not rest or rest[0] not in _COUNTED_IN_CORE):
            return None
        folders = list(map(Path, self.folders.get(package, [])))
        is_its_own = self.others is None or package in self.others
        if not folders and self.beside and is_its_own and package not in ("", _CORE):
            folders = [self.beside / package]
        for folder in folders:
            path = folder.joinpath(*rest)
            for file in (path / "__init__.py", path.with_name(f"{path.name}.py")):
                if file.is_file():
                    return file
        return None


def _modules_of(distribution: str) -> set[str]:
    """Return the names of the top-level modules that were installed with a package."""
    try:
        return {path.parts[0].removesuffix(".py") for path in files(distribution) or ()}
    except PackageNotFoundError:
        return set()


@dataclass(frozen=True)
class _Import:
    """One name of an import statement.

    Attributes:
        module: The module, without the leading dots of a relative import.
        level: Number of these dots.
        name: The name that is taken from the module; None for `import module`.
        bound: The name that the file has for it.
    """

    module: str
    level: int
    name: str | None
    bound: str


@dataclass(frozen=True)
class _Source:
    """Digest and imports of a file."""

    digest: str
    imports: tuple[_Import, ...]


@cache
def _parse(content: bytes) -> _Source:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the code of others, such as an invalid escape
        tree = ast.parse(content)
    imports: list[_Import] = []
    return _Source(_sha256(_spell(tree, imports)), tuple(imports))


def _absolute(taken: _Import, module: str, path: Path) -> str:
    """Return the whole name of the module that a file imports from; "" for a relative import that leads nowhere."""
    if not taken.level:
        return taken.module
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    try:
        return resolve_name("." * taken.level + taken.module, package)
    except ImportError:
        return ""


def _spell(node: Any, imports: list[_Import]) -> str:
    """Return a syntax tree as text: names of nodes, and their fields in alphabetical order.

    Args:
        node: A node of the tree, a list of nodes, or a value.
        imports: Gets all imports that are met; there is one walk over the tree, as there may be a hundred files.
    """
    if isinstance(node, ast.AST):
        texts = [type(node).__name__]
        for name in _without_layout(node._fields):
            value = getattr(node, name, None)
            if isinstance(node, ast.JoinedStr):  # Python 3.12 ends some f-strings with an empty text
                value = [part for part in node.values if not _is_text(part, "")]
            if isinstance(node, ast.ClassDef) and name == "body":
                value = [part for part in node.body if not _is_licence(part)]
            if value is not None and (text := _spell(value, imports)) != "[]":
                texts.append(f"{name}={text}")
        return f"({' '.join(texts)})"
    if isinstance(node, list):
        return f"[{' '.join(filter(None, (_spell_item(item, imports) for item in node)))}]"
    return ascii(node)


def _spell_item(node: Any, imports: list[_Import]) -> str:
    """Return a part of a list as text; "" for one that says nothing, such as a docstring."""
    if isinstance(node, ast.Import):
        imports += [_Import(alias.name, 0, None, alias.asname or alias.name) for alias in node.names]
        return ""
    if isinstance(node, ast.ImportFrom):
        found = [_Import(node.module or "", node.level, a.name, a.asname or a.name) for a in node.names]
        imports += found
        return " ".join(f"({taken.name} as {taken.bound})" for taken in found if taken.name != taken.bound)
    if isinstance(node, ast.Expr) and _is_text(node.value):
        return ""
    return _spell(node, imports)


@cache
def _without_layout(fields: tuple[str, ...]) -> tuple[str, ...]:
    """Return the fields of a node that say what it does, sorted."""
    return tuple(sorted(set(fields) - _LAYOUT))


def _is_text(node: ast.AST, text: str | None = None) -> bool:
    """Return True for the constant of a text: of any, or of this one."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and text in (None, node.value)


def _is_licence(node: ast.stmt) -> bool:
    """Return True for the attribute `licence` of a dataset's class, which is for readers as a docstring is."""
    names = [target.id for target in getattr(node, "targets", ()) if isinstance(target, ast.Name)]
    return isinstance(node, ast.Assign) and names == ["licence"]


def _sha256(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:16]}"
