"""Data flows one way: which file may import which, read off the source of every file."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = (  # of bench_core, from the command line down; a file imports only from rooms after its own
    "__main__", "cli", "serving", "api", "tuning", "engines", "running", "export", "reports", "planning", "conformance",
    "evaluation", "plugins", "plugin_checks", "entry_points", "training", "nn", "data", "views", "store", "devices",
    "hookspecs", "contracts", "config", "ranges", "files", "regular_files", "keys", "seeds", "process_settings",
    "output", "errors",
)  # fmt: skip
PUBLIC = (  # what plugins may import, ours as those of other packages; a module after it serves as well
    "bench_core", "bench_core.data", "bench_core.views", "bench_core.nn", "bench_core.evaluation",
    "bench_core.conformance", "bench_core.errors",
)  # fmt: skip
ONLY_ITSELF = ("bench_core", "bench_core.data", "bench_core.views", "bench_core.conformance", "bench_core.errors")


def core_files() -> dict[str, Path]:
    """Dotted name of each module of the core, packages by their own name, and its file."""
    files = {}
    for path in sorted((ROOT / "bench_core").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        files[name.removesuffix(".__init__")] = path
    return files


def imported_modules(path: Path, modules: Mapping[str, Path]) -> set[str]:
    """Modules of the core that a file imports, at any depth; a name of a package that is a module counts as that."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & modules.keys()
            if any(f"{node.module}.{alias.name}" not in modules for alias in node.names):
                found.add(node.module)
    return found & modules.keys()


def room(module: str) -> str:
    """The room that a module of the core belongs to: the folder or file under bench_core."""
    return module.split(".")[1] if "." in module else "__init__"


def imports(path: Path) -> Iterator[str]:
    """Every dotted name that a file imports, relative imports left out."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_every_file_of_the_core_belongs_to_a_room() -> None:
    assert {room(module) for module in core_files()} == {"__init__", *ROOMS}


def test_no_file_of_the_core_imports_from_a_room_above_its_own() -> None:
    modules = core_files()
    upward = {
        f"{module} imports {other}"
        for module, path in modules.items()
        if module != "bench_core"  # the public names, loaded on first use
        for other in imported_modules(path, modules)
        if other != "bench_core" and ROOMS.index(room(other)) < ROOMS.index(room(module))
    }
    assert not upward


def test_files_of_the_core_import_each_other_in_no_circle() -> None:
    modules = core_files()
    graph = {
        module: {other for other in imported_modules(path, modules) if other != "bench_core"} - {module}
        for module, path in modules.items()
        if module != "bench_core"
    }
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise AssertionError(f"a circle of imports: {' -> '.join(error.args[1])}") from error


def test_the_core_imports_no_plugin() -> None:
    plugins = {path.name for path in (ROOT / "plugins").iterdir()}
    for path in (ROOT / "bench_core").rglob("*.py"):
        assert not {name.partition(".")[0] for name in imports(path)} & plugins, path


def test_a_plugin_imports_no_other_plugin() -> None:
    plugins = {path.name for path in (ROOT / "plugins").iterdir()}
    files = list((ROOT / "plugins").rglob("*.py"))
    assert len(files) > 10
    for path in files:
        assert not {name.partition(".")[0] for name in imports(path)} & plugins, path


def test_plugins_import_public_paths_of_the_core_only() -> None:
    internal = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / "plugins").rglob("*.py")
        for name in imports(path)
        if name.partition(".")[0] == "bench_core"
        and name not in PUBLIC
        and not any(name.startswith(f"{public}.") for public in PUBLIC if public not in ONLY_ITSELF)
    }
    assert not internal


def test_a_relative_import_stays_in_its_plugin() -> None:
    deep = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "plugins").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        and (node.level > 1 or (node.level and len(path.parts) - len(ROOT.parts) < 4))
    }
    assert not deep


def test_only_the_main_module_imports_the_command_line() -> None:
    modules = core_files()
    users = {
        module
        for module, path in modules.items()
        if room(module) != "cli" and any(room(other) == "cli" for other in imported_modules(path, modules))
    }
    assert users == {"bench_core.__main__"}


def long_files(folders: Iterable[Path], limit: int = 400) -> dict[Path, int]:
    """Return the Python files below some folders that have more lines than the limit, and their numbers of lines."""
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for f in folders for path in f.rglob("*.py")}
    return {path: count for path, count in sorted(lines.items()) if count > limit}


def test_long_files_are_found_and_those_of_the_project_are_printed_but_not_refused(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text("pass\n" * 401)
    (tmp_path / "at_the_limit.py").write_text("pass\n" * 400)
    assert long_files([tmp_path]) == {tmp_path / "long.py": 401}
    for path, count in long_files([ROOT / "bench_core", ROOT / "plugins"]).items():
        print(f"{path.relative_to(ROOT)} has {count} lines: is it one idea?")
