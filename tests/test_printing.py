"""Everything that is printed, and every CSV file, goes through bench_core/output.py, read off the source of every file.

Benchmarks and tests are free: they are run by those who wrote them, and print nothing of strangers.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOME = ROOT / "bench_core" / "output.py"
# Whatever they are called on: `print`, `click.echo`, `console.print`, `frame.to_csv`, `csv.writer`.
FORBIDDEN = frozenset(
    {"print", "pprint", "echo", "echo_via_pager", "secho", "confirm", "prompt", "to_csv", "DictWriter", "breakpoint"}
)
MODULES = frozenset({"csv", "pprint"})
STREAMS = frozenset({"stdout", "stderr", "__stdout__", "__stderr__"})
ALLOWED = {
    "bench_core/data/image_table.py": {"an import"},  # reads CSV
    "bench_core/running/loggers.py": {
        "an import",
        "DictWriter",
    },  # a log for other programs: names of parts and numbers
    "bench_core/cli/program.py": {"sys.stdout", "sys.stderr"},  # puts streams in their places that cannot fail
    "bench_core/process_settings.py": {"sys.stdout", "sys.stderr"},  # puts them back after a plugin replaced them
    "bench_core/running/chain_bars.py": {"sys.stderr", "print"},  # several bars print through rich
    "bench_core/running/progress.py": {"sys.stderr", "print"},  # hands stderr to `write`; a bar prints through rich
}


def printing(tree: ast.AST) -> Iterator[str]:
    """What a file does that belongs into output.py."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name in FORBIDDEN:
                yield name
            case ast.Attribute(value=ast.Name(id="sys"), attr=name) if name in STREAMS:
                yield f"sys.{name}"
            case ast.Import(names=names) if {alias.name for alias in names} & MODULES:
                yield "an import"
            case ast.ImportFrom(module=module, names=names):
                if module in MODULES or {alias.name for alias in names} & (FORBIDDEN | STREAMS):
                    yield "an import"


def test_only_the_module_of_output_prints_and_makes_csv() -> None:
    files = [path for root in ("bench_core", "plugins") for path in sorted((ROOT / root).rglob("*.py"))]
    assert len(files) > 100
    found = {}
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        used = set(printing(ast.parse(path.read_text(encoding="utf-8")))) - ALLOWED.get(name, set())
        if used and path != HOME:
            found[name] = used
    assert not found


@pytest.mark.parametrize(
    "source",
    ["print(1)", "click.echo('x')", "click.secho('x')", "from click import echo", "sys.stdout.write('x')",
     "write = sys.stderr.write", "from sys import stdout", "csv.DictWriter(file)", "import csv",
     "from csv import writer",
     "frame.to_csv(path)", "rich.print('x')", "from rich import print", "console.print('x')", "import pprint"],
)  # fmt: skip
def test_each_way_of_printing_is_found(source: str) -> None:
    assert list(printing(ast.parse(source)))
