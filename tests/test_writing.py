"""Files are written in one place: no code but bench_core/files.py writes to a path that has its final name.

A call that writes is found by its name in the syntax tree. It may stand elsewhere if it writes to the temporary path
that `with new_file(...) as temporary` or `with new_folder(...) as temporary` gives.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOME = "bench_core/files.py"
TEMPORARY = {"new_file", "_new_file", "new_folder"}  # give a temporary path, which gets its final name at the end
WRITERS = {
    "copy2", "copyfile", "copyfileobj", "copytree", "dump", "extractall", "FileHandler", "hardlink_to", "imsave",
    "link", "link_to", "make_archive", "memmap", "mkstemp", "NamedTemporaryFile", "open_memmap", "rename", "renames",
    "save_file", "savefig", "savetxt", "savez", "savez_compressed", "serialize_file", "symlink", "symlink_to",
    "to_excel", "to_feather", "to_hdf", "to_parquet", "to_pickle", "to_sql", "tofile", "touch", "truncate",
    "unpack_archive", "urlretrieve", "write_bytes", "write_image", "write_text",
}  # fmt: skip
OF_MODULES = {  # the same names mean something else elsewhere
    "np": {"save"}, "numpy": {"save"}, "torch": {"save"}, "os": {"replace", "truncate", "mkfifo"},
    "shutil": {"copy", "move"}, "sqlite3": {"connect"},
}  # fmt: skip
ALLOWED = {
    ("bench_core/devices.py", "write_text"): "a switch of the kernel under /proc, no file on a disk",
    ("bench_core/data/mapped.py", "temporary.open"): "a temporary path, whose file move_once then gives its name",
    ("bench_core/data/mapped.py", "np.save"): "writes to that file",
    ("bench_core/store/claims.py", "path.open"): "adds a word to a claim that this process has just taken over",
    ("bench_core/store/index.py", "sqlite3.connect"): "opens an index read-only; a new one is a temporary path",
    ("bench_core/store/image_grid.py", "save"): "a buffer in memory",
    ("bench_core/reports/site/writer.py", "write_bytes"): "in a temporary folder that new_folder renames",
    ("bench_core/tuning/search.py", "_.open"): "an empty file that is locked",
    ("bench_core/tuning/tuned_file.py", "lock.open"): "an empty file that is locked",
}


def writing_calls(source: str) -> Iterator[str]:
    """Yield the name of each call that writes to a path which is not temporary."""
    tree = ast.parse(source)
    # `write_text(path, text)` of bench_core.files is a name, `path.write_text(text)` an attribute.
    ours = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "bench_core.files"
        for alias in node.names
    }
    yield from _calls(tree, frozenset(), ours)


def _calls(node: ast.AST, temporary: frozenset[str], ours: set[str]) -> Iterator[str]:
    if isinstance(node, ast.With):
        for item in node.items:
            yield from _calls(item, temporary, ours)
            if isinstance(item.optional_vars, ast.Name) and _names(item.context_expr) & (TEMPORARY | temporary):
                temporary |= {item.optional_vars.id}
        for statement in node.body:
            yield from _calls(statement, temporary, ours)
        return
    if isinstance(node, ast.Call):
        name = _writer(node)
        if name and name not in ours and not _names(node) & temporary:
            yield name
    for child in ast.iter_child_nodes(node):
        yield from _calls(child, temporary, ours)


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _writer(call: ast.Call) -> str:
    """Return the name of a call that writes, or ""."""
    name = _name(call.func)
    last = name.rpartition(".")[2]
    owner = name.rpartition(".")[0]
    if last == "open":
        return name if _opens_to_write(call, owner) else ""
    if owner in OF_MODULES and last in OF_MODULES[owner]:
        return name
    if last == "save":  # of a picture; checkpoints have a `save`, too
        return last if any(keyword.arg == "format" for keyword in call.keywords) else ""
    if last == "to_csv" or last == "to_json":  # without a path they return text
        return last if call.args else ""
    if last == "replace":  # of a path; that of a text has two arguments, that of a dataclass is no method
        return last if isinstance(call.func, ast.Attribute) and len(call.args) == 1 and not call.keywords else ""
    if last == "rename" and not call.args:  # of a table's columns
        return ""
    return last if last in WRITERS else ""


def _opens_to_write(call: ast.Call, owner: str) -> bool:
    if call.args and ast.unparse(call.args[0]) == "os.devnull":
        return False
    if owner == "os":
        return "O_WRONLY" in ast.unparse(call) or "O_RDWR" in ast.unparse(call) or "O_CREAT" in ast.unparse(call)
    position = 0 if owner else 1  # path.open(mode), open(path, mode)
    modes = [*call.args[position : position + 1], *(k.value for k in call.keywords if k.arg == "mode")]
    return any(isinstance(m, ast.Constant) and isinstance(m.value, str) and set(m.value) & set("wax+") for m in modes)


def _name(function: ast.expr) -> str:
    """Return the dotted name of what is called; of a value that has no name, the method alone."""
    if isinstance(function, ast.Name):
        return function.id
    if isinstance(function, ast.Attribute):
        owner = _name(function.value) if isinstance(function.value, ast.Name | ast.Attribute) else "_"
        return f"{owner}.{function.attr}"
    return ""


def test_files_are_written_in_one_place() -> None:
    found: set[tuple[str, str]] = set()
    for path in sorted([*(ROOT / "bench_core").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]):
        file = path.relative_to(ROOT).as_posix()
        if file != HOME:
            found |= {(file, call) for call in writing_calls(path.read_text(encoding="utf-8"))}
    assert sorted(found) == sorted(ALLOWED)


def test_calls_that_write_are_found() -> None:
    source = """
open(path, "w"); path.open("ab"); open(path, mode="r+"); path.write_text("x"); np.save(path, a); torch.save(a, path)
figure.savefig(path); frame.to_csv(path); sqlite3.connect(path); shutil.copyfile(a, b); shutil.move(a, b)
os.replace(a, b); a.replace(b); a.rename(b); image.save(path, format="PNG"); os.open(path, os.O_CREAT)
"""
    calls = ["open", "path.open", "open", "write_text", "np.save", "torch.save", "savefig", "to_csv", "sqlite3.connect"]
    calls += ["copyfile", "shutil.move", "os.replace", "replace", "rename", "save", "os.open"]
    assert list(writing_calls(source)) == calls


def test_calls_that_write_nothing_or_to_a_temporary_path_are_passed_over() -> None:
    source = """
from bench_core.files import new_file, write_text
open(os.devnull, "w")
open(path); path.open("rb"); text.replace("a", "b"); replace(record, a=1); frame.to_csv(); frame.rename(columns={})
write_text(path, "x")
with new_file(path) as temporary, temporary.open("wb") as file:
    figure.savefig(temporary)
with new_folder(path, "last") as folder:
    (folder / "a").write_text("x")
"""
    assert list(writing_calls(source)) == []
